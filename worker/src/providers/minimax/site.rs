//! Where the service is, and its generations. Source: `wire/minimax.md` sections 1 to 3.

use super::sign::Form;

/// One generation of the private protocol (section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Generation {
    /// A stream.
    Cloud = 0,
    /// The same under an older prefix.
    Archon = 1,
    /// The answer grows in the conversation.
    Matrix = 2,
}

/// The newest first.
pub(super) const ALL: [Generation; 3] = [Generation::Cloud, Generation::Archon, Generation::Matrix];

impl Generation {
    /// What its calls' paths begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Cloud => "/minimax-cloud/api/v1",
            Self::Archon => "/archon/api/v1",
            Self::Matrix => "/matrix/api/v1",
        }
    }

    /// As `MINIMAX_PROTOCOL` and conversations that are gone on with name it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Archon => "archon",
            Self::Matrix => "matrix",
        }
    }

    /// The one of this name.
    pub(super) fn named(word: &str) -> Option<Self> {
        ALL.into_iter().find(|generation| generation.word() == word)
    }
}

/// Where the service is (section 2).
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// `MINIMAX_BASE_URL`.
    pub(super) base_url: String,
    /// `MINIMAX_STREAM_BASE_URL`: of the cloud generations' message call.
    pub(super) stream_base_url: String,
    /// The query of the cloud generations, which differs between the two sites.
    pub(super) form: Form,
}

impl Site {
    /// A site. `stream_base_url`: where it is set.
    pub(super) fn new(base_url: String, stream_base_url: Option<String>) -> Self {
        let host = base_url.split("://").nth(1).unwrap_or(&base_url);
        // Derived only for the two real sites: a stand-in has one host.
        let derived = match host {
            "agent.minimaxi.com" => "https://agent-stream.minimaxi.com",
            "agent.minimax.io" => "https://agent-stream.minimax.io",
            _ => &base_url,
        };
        Self {
            stream_base_url: stream_base_url.unwrap_or_else(|| derived.to_owned()),
            form: if host == "agent.minimax.io" {
                Form::CloudAbroad
            } else {
                Form::Cloud
            },
            base_url,
        }
    }
}
