//! What Doubao states about itself (wire/doubao.md).

use crate::providers::card::{Card, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "Doubao (豆包)",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "DOUBAO_TOKEN",
            "www.doubao.com, signed in → cookie `sessionid`, or the whole `cookie` header",
        ),
        Variable::part("DOUBAO_DEVICE_ID", TOKEN),
        Variable::part("DOUBAO_WEB_ID", TOKEN),
        Variable::part("DOUBAO_TEA_UUID", TOKEN),
        Variable::part("DOUBAO_FP", TOKEN),
        Variable::option("DOUBAO_PROTOCOL"),
        Variable::option("DOUBAO_DELETE_CONVERSATIONS"),
        Variable::option("DOUBAO_MAX_CONCURRENCY"),
        Variable::site("DOUBAO_BASE_URL", "https://www.doubao.com"),
        Variable::address("DOUBAO_UPLOAD_BASE_URL", ""),
        Variable::address("DOUBAO_IMAGEX_BASE_URL", ""),
    ],
};

const TOKEN: &[&str] = &["DOUBAO_TOKEN"];
