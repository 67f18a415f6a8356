//! What ERNIE states about itself (wire/ernie.md).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "ERNIE (文心一言)",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "BAIDU_ACCOUNT_#_COOKIE",
            "ernie.baidu.com, signed in → developer tools → Network → send a message → request `conversation/v2`, header `cookie`",
        ),
        Variable::part("BAIDU_ACCOUNT_#_ACS_TOKEN", COOKIE),
        Variable::part("BAIDU_ACCOUNT_#_SIGN", COOKIE),
        Variable::part("BAIDU_ACCOUNT_#_JT", COOKIE),
        Variable::option("ERNIE_MAX_CONCURRENCY"),
        Variable::option("ERNIE_MIN_INTERVAL"),
        Variable::option("ERNIE_TURNS_PER_HOUR"),
        Variable::option("ERNIE_TURNS_PER_DAY"),
        Variable::site("ERNIE_BASE_URL", super::wire::SITE),
    ],
    copied: &[
        (
            "BAIDU_ACCOUNT_#_COOKIE",
            Place::AnyCookie(&["BDUSS_BFESS", "BDUSS"]),
        ),
        ("BAIDU_ACCOUNT_#_ACS_TOKEN", Place::Header("acs-token")),
    ],
};

const COOKIE: &[&str] = &["BAIDU_ACCOUNT_#_COOKIE"];
