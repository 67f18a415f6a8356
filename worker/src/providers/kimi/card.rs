//! What Kimi states about itself (wire/kimi.md).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "Kimi",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "KIMI_TOKEN",
            "www.kimi.com, signed in → Local Storage, `refresh_token`; an access token or the cookie `kimi-auth` ends within minutes",
        ),
        Variable::option("KIMI_TRANSPORT"),
        Variable::option("KIMI_KEEP_CHATS"),
        Variable::option("KIMI_FREE_FALLBACK"),
        Variable::option("KIMI_MAX_CONCURRENCY"),
        Variable::option("KIMI_MIN_INTERVAL"),
        Variable::option("KIMI_TURNS_PER_HOUR"),
        Variable::option("KIMI_TURNS_PER_DAY"),
        Variable::site("KIMI_BASE_URL", "https://www.kimi.com"),
        Variable::address("KIMI_AUTH_BASE_URL", "https://auth.kimi.com"),
        Variable::address("KIMI_UPLOAD_BASE_URL", ""),
        Variable::address("KIMI_WS_BASE_URL", ""),
    ],
    copied: &[
        ("KIMI_TOKEN", Place::AnyCookie(&["kimi-auth"])),
        ("KIMI_TOKEN", Place::Header("authorization")),
    ],
};
