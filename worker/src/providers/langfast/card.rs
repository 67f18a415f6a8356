//! What langfast states about itself (wire/langfast.md).

use crate::providers::card::{Card, Variable};

/// See [`Card`].
pub const CARD: Card = Card {
    name: super::NAME,
    title: "langfast",
    configure: super::configure,
    variables: &[
        Variable::credential(
            "LANGFAST_ANON_KEY",
            "the publishable key that langfa.st sends as `apikey`",
        ),
        Variable::part("LANGFAST_SESSION", &["LANGFAST_ANON_KEY"]),
        Variable::option("LANGFAST_ANONYMOUS"),
        Variable::option("MIN_CREDENTIALS"),
        Variable::option("MAX_CREDENTIALS"),
        Variable::option("LANGFAST_SIGNUPS_PER_HOUR"),
        Variable::option("LANGFAST_STALL_TIMEOUT_S"),
        Variable::option("LANGFAST_PROMPT_ID"),
        Variable::site(
            "LANGFAST_BASE_URL",
            "https://yzaaxwkjukajpwqflndu.supabase.co",
        ),
        Variable::address(
            "LANGFAST_SOCKET_BASE_URL",
            "wss://langfast-prompt-runner-35808038077.us-central1.run.app",
        ),
    ],
    copied: &[],
};
