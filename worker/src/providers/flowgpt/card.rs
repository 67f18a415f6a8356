//! What FlowGPT states about itself (wire/flowgpt.md).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "FlowGPT",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "FLOWGPT_BEARER_TOKEN",
            "flowgpt.com, signed in → developer tools → Network → send a message → request `chat`, header `authorization`",
        ),
        Variable::part("FLOWGPT_DEVICE_ID", TOKEN),
        Variable::part("FLOWGPT_WAF_TOKEN", TOKEN),
        Variable::option("FLOWGPT_SIGNATURE_MODE"),
        Variable::option("FLOWGPT_MODEL_MAP"),
        Variable::option("FLOWGPT_STALL_TIMEOUT_S"),
        Variable::option("FLOWGPT_MAX_CONCURRENCY"),
        Variable::option("FLOWGPT_MIN_INTERVAL"),
        Variable::option("FLOWGPT_TURNS_PER_HOUR"),
        Variable::option("FLOWGPT_TURNS_PER_DAY"),
        Variable::site("FLOWGPT_BASE_URL", "https://prod-backend-k8s.flowgpt.com"),
    ],
    copied: &[
        ("FLOWGPT_BEARER_TOKEN", Place::Header("authorization")),
        ("FLOWGPT_DEVICE_ID", Place::Header("x-flow-device-id")),
        ("FLOWGPT_WAF_TOKEN", Place::Header("x-aws-waf-token")),
    ],
};

const TOKEN: &[&str] = &["FLOWGPT_BEARER_TOKEN"];
