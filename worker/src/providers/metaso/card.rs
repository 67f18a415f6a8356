//! What Metaso states about itself (wire/metaso.md).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "Metaso (秘塔AI搜索)",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "METASO_TOKEN",
            "metaso.cn, signed in → cookies `uid` and `sid` as `uid-sid`, or the whole `cookie` header",
        ),
        Variable::option("METASO_PROTOCOL"),
        Variable::option("METASO_STRIP_SINGLE"),
        Variable::option("METASO_WEATHER_HINT"),
        Variable::option("METASO_MAX_CONCURRENCY"),
        Variable::option("METASO_MIN_INTERVAL"),
        Variable::option("METASO_TURNS_PER_HOUR"),
        Variable::option("METASO_TURNS_PER_DAY"),
        Variable::site("METASO_BASE_URL", "https://metaso.cn"),
    ],
    copied: &[("METASO_TOKEN", Place::Cookies(&["uid", "sid"]))],
};
