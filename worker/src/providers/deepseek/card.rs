//! What DeepSeek states about itself (wire/deepseek.md).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "DeepSeek",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "DEEPSEEK_TOKEN",
            "chat.deepseek.com → developer tools → Network → any request, header `authorization` after `Bearer`; or Local Storage, `userToken`",
        ),
        // A login without its password is told by the worker itself.
        Variable::credential(
            "DEEPSEEK_EMAIL",
            "with DEEPSEEK_PASSWORD; a login is refused from most devices",
        ),
        Variable::credential("DEEPSEEK_MOBILE", "as well"),
        Variable::part("DEEPSEEK_AREA_CODE", &["DEEPSEEK_MOBILE"]),
        Variable::part("DEEPSEEK_PASSWORD", &["DEEPSEEK_EMAIL", "DEEPSEEK_MOBILE"]),
        Variable::part("DEEPSEEK_LOGIN_DEVICE_ID", &[]),
        Variable::option("DEEPSEEK_MAX_CONCURRENCY"),
        Variable::option("DEEPSEEK_MIN_INTERVAL"),
        Variable::option("DEEPSEEK_TURNS_PER_HOUR"),
        Variable::option("DEEPSEEK_TURNS_PER_DAY"),
        Variable::option("DEEPSEEK_PAUSE_SECONDS"),
        Variable::option("DEEPSEEK_USER_AGENT"),
        Variable::option("DEEPSEEK_CLIENT_VERSION"),
        Variable::option("DEEPSEEK_CLIENT_PLATFORM"),
        Variable::option("DEEPSEEK_CLIENT_LOCALE"),
        Variable::site("DEEPSEEK_BASE_URL", super::identity::SITE),
        Variable::part("DEEPSEEK_DEVICE_ID", &[]),
        Variable::option("DEEPSEEK_CHECK_DEVICE"),
        Variable::address("DEEPSEEK_HIF_BASE_URL", "https://hif-leim.deepseek.com"),
        Variable::address(
            "DEEPSEEK_HIF_DLIQ_BASE_URL",
            "https://hif-dliq.deepseek.com",
        ),
    ],
    copied: &[("DEEPSEEK_TOKEN", Place::Header("authorization"))],
};
