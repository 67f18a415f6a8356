//! What ERNIE states about itself (wire/ernie.md).

use crate::providers::card::{Card, Variable};

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
        Variable::site("ERNIE_BASE_URL", super::wire::SITE),
    ],
};

const COOKIE: &[&str] = &["BAIDU_ACCOUNT_#_COOKIE"];
