//! What Doubao states about itself (wire/doubao.md).

use crate::providers::card::{Card, Place, Variable};

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
        Variable::option("DOUBAO_MIN_INTERVAL"),
        Variable::option("DOUBAO_TURNS_PER_HOUR"),
        Variable::option("DOUBAO_TURNS_PER_DAY"),
        Variable::site("DOUBAO_BASE_URL", "https://www.doubao.com"),
        Variable::address("DOUBAO_UPLOAD_BASE_URL", ""),
        Variable::address("DOUBAO_IMAGEX_BASE_URL", ""),
    ],
    copied: &[(
        "DOUBAO_TOKEN",
        Place::AnyCookie(&["sessionid", "sessionid_ss"]),
    )],
};

const TOKEN: &[&str] = &["DOUBAO_TOKEN"];
