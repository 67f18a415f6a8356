//! What Xinghuo states about itself (wire/xinghuo.md).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "Xinghuo",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "XINGHUO_COOKIE",
            "spark.xfyun.cn → developer tools → Network → send a message → request `chat`, header `cookie`",
        ),
        Variable::part("GT_TOKEN", &["XINGHUO_COOKIE"]),
        Variable::option("XINGHUO_FORM"),
        Variable::option("XINGHUO_MAX_CONCURRENCY"),
        Variable::option("XINGHUO_MIN_INTERVAL"),
        Variable::option("XINGHUO_TURNS_PER_HOUR"),
        Variable::option("XINGHUO_TURNS_PER_DAY"),
        Variable::site("XINGHUO_BASE_URL", super::wire::SITE),
    ],
    copied: &[("XINGHUO_COOKIE", Place::AnyCookie(&["ssoSessionId"]))],
};
