//! One part of a message's content. Clients send far more kinds than this gateway understands (thinking of another
//! model, tool results of another dialect, sound, video): those are kept by name, so that everybody can say what was not
//! understood. Nothing is kept of what is inside of them.

use super::text::Text;

/// One part of an array content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Words.
    Text {
        /// The text.
        text: Text,
    },
    /// An assistant's refusal in the history.
    Refusal {
        /// The text of the refusal.
        refusal: Text,
    },
    /// A picture.
    ImageUrl {
        /// Where it is, or the picture itself.
        image_url: Url,
        /// How closely to look at it.
        detail: Option<Detail>,
    },
    /// A document.
    File {
        /// Where the bytes are: `file_data` or `url`, never neither.
        file: Box<File>,
    },
    /// A document by URL alone, as the *-free-api projects spell it.
    FileUrl {
        /// The URL.
        file_url: Url,
    },
    /// Any other: only an upstream that gets the caller's own body takes it ([`super::Verbatim`]).
    Other {
        /// The dialect's word for it, as the caller wrote it.
        kind: Text,
    },
}

/// How closely a model is to look at a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// As the model likes.
    Auto,
    /// At a glance.
    Low,
    /// Closely.
    High,
}

/// An https URL or a data URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Text);

impl Url {
    /// A URL as the caller wrote it; it is looked at when it is fetched.
    pub fn new(url: impl Into<Text>) -> Self {
        Self(url.into())
    }

    /// The URL as a text.
    pub fn into_text(self) -> Text {
        self.0
    }

    /// The URL itself.
    pub fn url(&self) -> &str {
        &self.0
    }
}

/// A document in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// The bytes, as a data URL or plain base64.
    pub file_data: Option<Text>,
    /// The document's name.
    pub filename: Option<Text>,
    /// Where the document is, if its bytes are not here.
    pub url: Option<Text>,
}

impl Part {
    /// The text of a text part.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text } | Self::Refusal { refusal: text } => Some(text),
            Self::ImageUrl { .. }
            | Self::File { .. }
            | Self::FileUrl { .. }
            | Self::Other { .. } => None,
        }
    }

    /// Whether it is a picture or a document.
    pub fn is_attachment(&self) -> bool {
        match self {
            Self::ImageUrl { .. } | Self::File { .. } | Self::FileUrl { .. } => true,
            Self::Text { .. } | Self::Refusal { .. } | Self::Other { .. } => false,
        }
    }
}
