//! What a lane of any OpenAI-compatible API states about itself (an API of the dialect that the doors speak).

use crate::providers::card::{Card, Place, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: "openai",
    title: "Any OpenAI-compatible API",
    configure: super::configure,
    variables: &[
        Variable::credential_with(
            "OPENAI_COMPAT_#_API_KEY",
            "the API's own key",
            &["OPENAI_COMPAT_#_BASE_URL"],
        ),
        Variable::option_with("OPENAI_COMPAT_#_BASE_URL", &["OPENAI_COMPAT_#_API_KEY"]),
        Variable::option_with("OPENAI_COMPAT_#_NAME", &["OPENAI_COMPAT_#_BASE_URL"]),
        Variable::option_with("OPENAI_COMPAT_#_MODELS", &["OPENAI_COMPAT_#_BASE_URL"]),
        Variable::option_with("OPENAI_COMPAT_#_KIND", &["OPENAI_COMPAT_#_BASE_URL"]),
    ],
    copied: &[
        ("OPENAI_COMPAT_#_API_KEY", Place::Header("authorization")),
        ("OPENAI_COMPAT_#_API_KEY", Place::Header("x-api-key")),
    ],
};
