//! What Qwen states about itself (wire/qwen.md).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "Qwen",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "CN_ACCOUNT_#_COOKIE",
            "www.qianwen.com → developer tools → Network → send a message → request `chat`, header `cookie`",
        ),
        Variable::part("CN_ACCOUNT_#_XSRF_TOKEN", &["CN_ACCOUNT_#_COOKIE"]),
        Variable::credential(
            "QWEN_TOKEN",
            "the same cookie, or its `tongyi_sso_ticket` alone",
        ),
        Variable::option("MODEL_TO_ACCOUNT_MAP"),
        Variable::option("QWEN_ACCOUNT_POLICY"),
        Variable::option("QWEN_PROTOCOL"),
        Variable::option("QWEN_MAX_CONCURRENCY"),
        Variable::option("QWEN_MIN_INTERVAL"),
        Variable::option("QWEN_TURNS_PER_HOUR"),
        Variable::option("QWEN_TURNS_PER_DAY"),
        Variable::option("QWEN_PAUSE_MS"),
        Variable::part("QWEN_DEVICE_ID", &[]),
        Variable::option("QWEN_WEB_VERSION"),
        Variable::option("QWEN_USER_AGENT"),
        Variable::option("QWEN_DELETE_SESSION"),
        Variable::option("QWEN_PREWARM"),
        Variable::address("QWEN_BASE_URL", "https://api.tongyi.com"),
        Variable::address("QWEN_UPLOAD_BASE_URL", ""),
        Variable::site("QWEN_CHAT_BASE_URL", "https://chat2.qianwen.com"),
        Variable::address("QWEN_API_BASE_URL", "https://chat2-api.qianwen.com"),
        Variable::address("QWEN_SECURITY_BASE_URL", "https://sec.qianwen.com"),
        Variable::address(
            "QWEN_WORKSPACE_BASE_URL",
            "https://workspace-res.qianwen.com",
        ),
    ],
    copied: &[
        (
            "CN_ACCOUNT_#_COOKIE",
            Place::AnyCookie(&["tongyi_sso_ticket"]),
        ),
        ("CN_ACCOUNT_#_XSRF_TOKEN", Place::Header("x-xsrf-token")),
    ],
};
