//! What Qwen's international site states about itself (wire/qwen_intl.md).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "Qwen (international)",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "INTL_AUTHORIZATION",
            "chat.qwen.ai, signed in → developer tools → Network → any request, header `authorization`",
        ),
        Variable::credential(
            "INTL_COOKIE",
            "header `cookie` of the same request, whole; enough alone with its `token=`",
        ),
        Variable::part(
            "INTL_BX_UA",
            &["INTL_AUTHORIZATION", "INTL_COOKIE", "INTL_EMAIL"],
        ),
        // A login without its password is told by the worker itself.
        Variable::credential("INTL_EMAIL", "with INTL_PASSWORD"),
        Variable::part("INTL_PASSWORD", &["INTL_EMAIL"]),
        Variable::option("QWEN_INTL_MAX_CONCURRENCY"),
        Variable::option("QWEN_INTL_MIN_INTERVAL"),
        Variable::option("QWEN_INTL_TURNS_PER_HOUR"),
        Variable::option("QWEN_INTL_TURNS_PER_DAY"),
        Variable::option("QWEN_INTL_IMAGE_MODEL"),
        Variable::option("QWEN_INTL_VIDEO_MODEL"),
        Variable::option("QWEN_INTL_POLL_INTERVAL_MS"),
        Variable::option("QWEN_INTL_POLL_TIMEOUT_S"),
        Variable::option("QWEN_INTL_WEB_VERSION"),
        Variable::option("QWEN_INTL_BX_V"),
        Variable::option("QWEN_INTL_OSS_SIGNATURE"),
        Variable::option("QWEN_INTL_DEVICE_COOKIES"),
        Variable::site("QWEN_INTL_BASE_URL", super::site::SITE),
        Variable::address("QWEN_INTL_AUTH_BASE_URL", ""),
        Variable::address("QWEN_INTL_UPLOAD_BASE_URL", ""),
        Variable::address("QWEN_INTL_CDN_BASE_URL", super::site::CDN),
    ],
    copied: &[
        ("INTL_COOKIE", Place::AnyCookie(&["token"])),
        ("INTL_AUTHORIZATION", Place::Header("authorization")),
        ("INTL_BX_UA", Place::Header("bx-ua")),
    ],
};
