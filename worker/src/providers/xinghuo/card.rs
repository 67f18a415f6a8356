//! What Xinghuo states about itself (wire/xinghuo.md).

use crate::providers::card::{Card, Variable};

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
        Variable::site("XINGHUO_BASE_URL", super::wire::SITE),
    ],
};
