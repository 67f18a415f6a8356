//! What MiniMax states about itself (wire/minimax.md).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "MiniMax",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "MINIMAX_TOKEN",
            "agent.minimaxi.com, signed in → Local Storage, `_token`",
        ),
        Variable::option("MINIMAX_PROTOCOL"),
        Variable::option("MINIMAX_MAX_CONCURRENCY"),
        Variable::option("MINIMAX_MIN_INTERVAL"),
        Variable::option("MINIMAX_TURNS_PER_HOUR"),
        Variable::option("MINIMAX_TURNS_PER_DAY"),
        Variable::option("MINIMAX_DELETE_CHAT"),
        Variable::option("MINIMAX_TIMEOUT_S"),
        Variable::option("MINIMAX_STALL_TIMEOUT_S"),
        Variable::option("MINIMAX_POLL_INTERVAL_MS"),
        Variable::site("MINIMAX_BASE_URL", "https://agent.minimaxi.com"),
        Variable::address("MINIMAX_STREAM_BASE_URL", ""),
    ],
    copied: &[
        ("MINIMAX_TOKEN", Place::AnyCookie(&["_token"])),
        ("MINIMAX_TOKEN", Place::Header("token")),
    ],
};
