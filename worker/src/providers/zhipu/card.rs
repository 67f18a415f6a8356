//! What Zhipu states about itself (wire/zhipu.md).

use super::wire;
use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "Zhipu",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "ZHIPU_TOKEN",
            "chatglm.cn, signed in → Cookies, `chatglm_refresh_token`",
        ),
        Variable::option("ZHIPU_MAX_CONCURRENCY"),
        Variable::option("ZHIPU_MIN_INTERVAL"),
        Variable::option("ZHIPU_TURNS_PER_HOUR"),
        Variable::option("ZHIPU_TURNS_PER_DAY"),
        Variable::option("ZHIPU_DELETE_CONVERSATIONS"),
        Variable::option("ZHIPU_SIGN_SECRET"),
        Variable::site("ZHIPU_BASE_URL", wire::SITE),
    ],
    copied: &[
        ("ZHIPU_TOKEN", Place::AnyCookie(&["chatglm_refresh_token"])),
        ("ZHIPU_TOKEN", Place::Header("authorization")),
    ],
};
