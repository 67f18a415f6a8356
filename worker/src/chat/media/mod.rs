//! Pictures, videos and speech, in nobody's dialect: what a caller asks for, and what a service has made of it. The doors
//! (`http::openai::images` and its like) read their bodies into these; the providers' traits
//! ([`crate::providers::Images`], [`crate::providers::Videos`], [`crate::providers::Speech`]) answer them. Source:
//! design.md section 12.

mod size;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use serde::{Deserialize, Serialize};

use super::ProviderError;
pub use size::Size;

/// Most pictures that one request may ask for, as OpenAI's own limit.
pub const MOST_PICTURES: u32 = 10;
/// Longest prompt in bytes: what the most patient of the services reads (OpenAI's limit is 32 000 characters).
pub const MOST_PROMPT_BYTES: usize = 128 << 10;

/// What a model is there for: most talk. Says nothing of what else it can do (models that talk may also draw).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Makes {
    /// Answers in words.
    #[default]
    Text,
    /// Pictures.
    Image,
    /// Videos.
    Video,
    /// Sound.
    Speech,
}

/// A picture (or a video, or a sound) that comes with a request. A turn makes a file of it, whichever it is:
/// [`crate::providers::Turn::input`].
#[derive(Clone, PartialEq, Eq)]
pub enum Input {
    /// A file of a multipart form.
    File {
        /// As the caller calls it; not to be trusted with anything.
        name: String,
        /// As the caller says; what the bytes say counts.
        mime: String,
        /// The file.
        bytes: Bytes,
    },
    /// A data URL, or an https URL that is fetched behind the guard.
    Url(Arc<str>),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { bytes, .. } => write!(f, "File({} bytes)", bytes.len()),
            Self::Url(url) => write!(f, "Url({} bytes)", url.len()),
        }
    }
}

/// What a caller asks of `POST /v1/images/generations` and `/edits`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    /// The model exactly as the caller wrote it.
    pub model: String,
    /// What is to be drawn; never empty.
    pub prompt: String,
    /// How many pictures are wanted: 1 to [`MOST_PICTURES`] of the caller. A provider is handed the share of one turn: 1 to
    /// [`Draws::per_turn`].
    pub n: u32,
    /// The size that is wanted. A provider is handed one of [`Draws::sizes`] (or the caller's own where that is
    /// [`Sizes::Any`] or [`Sizes::Shapes`]). `None`: as the service does by itself.
    pub size: Option<Size>,
    /// `low`, `medium`, `high`, `standard`, `hd`; not checked.
    pub quality: Option<String>,
    /// `vivid`, `natural`; not checked.
    pub style: Option<String>,
    /// The pictures to be changed, in their order; empty: a new picture is drawn.
    pub images: Vec<Input>,
    /// Where the first of them may be changed.
    pub mask: Option<Input>,
    /// The end user's id.
    pub user: Option<String>,
    /// How long the request is as its caller wrote it.
    pub bytes: usize,
}

impl ImageRequest {
    /// One picture, of which nothing is said but what is on it.
    pub fn new(model: impl Into<String>, prompt: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            prompt: prompt.into(),
            n: 1,
            size: None,
            quality: None,
            style: None,
            images: Vec::new(),
            mask: None,
            user: None,
            bytes: 0,
        }
    }

    /// Whether given pictures are to be changed.
    pub fn is_edit(&self) -> bool {
        !self.images.is_empty()
    }
}

/// Which sizes a model can draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Nobody asks: each picture has the size that the service likes.
    Own,
    /// These and no others. Where the service knows shapes only, ratios (`Size::of(2, 3)`).
    Only(&'static [Size]),
    /// Whatever shape is asked; how many pixels it has is the service's to say.
    Shapes,
    /// Whatever is asked.
    Any,
}

/// What a model does with an [`ImageRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// Most pictures of one turn; a request for more is shared among several.
    pub per_turn: u32,
    /// Most pictures of one request: [`MOST_PICTURES`] or less.
    pub most: u32,
    /// Most turns of one request at a time.
    pub at_once: u32,
    /// Which sizes.
    pub sizes: Sizes,
    /// Whether a size can be asked for as well where pictures are given along.
    pub resizes: bool,
    /// Most pictures that may be given along; 0: it changes none.
    pub inputs: usize,
    /// Whether it can be told where to change a picture.
    pub mask: bool,
    /// Whether quality and style reach the service; else they are told as ignored.
    pub finish: bool,
}

impl Draws {
    /// One picture a turn, of the service's own size, from words alone; four turns of a request at a time.
    pub const PLAIN: Self = Self {
        per_turn: 1,
        most: MOST_PICTURES,
        at_once: 4,
        sizes: Sizes::Own,
        resizes: true,
        inputs: 0,
        mask: false,
        finish: false,
    };

    /// Which sizes can be asked for in this request.
    pub fn sizes_for(&self, request: &ImageRequest) -> Sizes {
        if request.is_edit() && !self.resizes {
            Sizes::Own
        } else {
            self.sizes
        }
    }
}

/// Where something that was made is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// A link of the service.
    Link {
        /// https, or http to the owner's own hosts. Whoever fetches it goes through the guard
        /// ([`crate::providers::Turn::download`]).
        url: String,
        /// Whether a client can open it: no cookie, no header. Where it cannot, the gateway fetches it and hands on bytes.
        is_public: bool,
    },
    /// Here, as a file.
    Bytes(Bytes),
}

impl fmt::Debug for Place {
    /// A link's query may be its key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { is_public, .. } => write!(f, "Link(is_public: {is_public})"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
        }
    }
}

/// A picture that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Where it is.
    pub place: Place,
    /// Its type where the service says it; what the bytes say counts.
    pub mime: Option<String>,
    /// The prompt as the service rewrote it.
    pub revised_prompt: Option<String>,
}

impl Picture {
    /// A picture behind a link that any client can open.
    pub fn public(url: impl Into<String>) -> Self {
        Self {
            place: Place::Link {
                url: url.into(),
                is_public: true,
            },
            mime: None,
            revised_prompt: None,
        }
    }
}

/// What a caller asks of `POST /v1/videos`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoRequest {
    /// The model exactly as the caller wrote it.
    pub model: String,
    /// What is to be seen; never empty.
    pub prompt: String,
    /// How long it is to last. `None`: as the service does by itself.
    pub seconds: Option<u32>,
    /// As [`ImageRequest::size`].
    pub size: Option<Size>,
    /// The picture that it begins with.
    pub input_reference: Option<Input>,
    /// The end user's id.
    pub user: Option<String>,
    /// How long the request is as its caller wrote it.
    pub bytes: usize,
}

impl VideoRequest {
    /// A video of which nothing is said but what is to be seen.
    pub fn new(model: impl Into<String>, prompt: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            prompt: prompt.into(),
            seconds: None,
            size: None,
            input_reference: None,
            user: None,
            bytes: 0,
        }
    }
}

/// What a model does with a [`VideoRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Films {
    /// The lengths in seconds that can be asked for; empty: the service's own.
    pub seconds: &'static [u32],
    /// Which sizes.
    pub sizes: Sizes,
    /// Whether it takes a picture to begin with.
    pub input: bool,
}

/// A video that a provider has begun to make: all that another worker needs to ask for it again. Opaque to everybody but the
/// provider. It is no secret, but who has it can ask for the video: doors seal it into the id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The account that has it: [`crate::accounts::Fingerprint`] of its credential, so that a changed setting is never asked
    /// for another's video.
    pub account: String,
    /// The model's id on our side, for metrics and answers.
    pub model: String,
    /// What the provider needs besides; short (it travels in the id).
    pub task: String,
}

/// How far a video is, in OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoStatus {
    /// Not begun.
    Queued,
    /// Being made.
    InProgress,
    /// There.
    Completed,
    /// Never to be there.
    Failed,
}

/// What a look at a video finds.
#[derive(Clone, Debug)]
pub struct VideoState {
    /// How far it is.
    pub status: VideoStatus,
    /// 0 to 100. Of a service that tells nothing: [`VideoState::guessed`], and 100 when it is there.
    pub progress: u8,
    /// Why it failed: [`super::Kind::Moderated`], [`super::Kind::QuotaSpent`] … With [`VideoStatus::Failed`] only.
    pub error: Option<ProviderError>,
    /// Where it is, with [`VideoStatus::Completed`].
    pub file: Option<Place>,
    /// How long it is and how large, where the service says so.
    pub seconds: Option<u32>,
    /// See `seconds`.
    pub size: Option<Size>,
}

/// Half of the videos of services are there by then, about.
const USUAL_SECONDS: u64 = 120;

impl VideoState {
    /// Not there yet.
    pub fn running(status: VideoStatus, progress: u8) -> Self {
        Self {
            status,
            // There is more to come, whatever the service says.
            progress: progress.min(99),
            error: None,
            file: None,
            seconds: None,
            size: None,
        }
    }

    /// Not there yet, of a service that does not tell how far it is, and has been at work for so long: half of it by the time
    /// that most videos take, and never all of it.
    pub fn guessed(status: VideoStatus, seconds: u64) -> Self {
        let share = seconds.saturating_mul(100) / seconds.saturating_add(USUAL_SECONDS);
        Self::running(status, u8::try_from(share).unwrap_or(99))
    }

    /// There.
    pub fn completed(file: Place) -> Self {
        Self {
            status: VideoStatus::Completed,
            progress: 100,
            error: None,
            file: Some(file),
            seconds: None,
            size: None,
        }
    }

    /// Never to be there.
    pub fn failed(error: ProviderError) -> Self {
        Self {
            error: Some(error),
            ..Self::running(VideoStatus::Failed, 0)
        }
    }
}

/// What a caller asks of `POST /v1/audio/speech`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeechRequest {
    /// The model exactly as the caller wrote it.
    pub model: String,
    /// What is to be said; never empty.
    pub input: String,
    /// Whose voice; not checked.
    pub voice: String,
    /// `mp3`, `opus`, `aac`, `flac`, `wav`, `pcm`. `None`: mp3.
    pub format: Option<String>,
    /// 0.25 to 4.
    pub speed: Option<f64>,
    /// How it is to be said.
    pub instructions: Option<String>,
    /// The end user's id.
    pub user: Option<String>,
    /// How long the request is as its caller wrote it.
    pub bytes: usize,
}

/// A sound on its way, with what keeps it coming: whatever must live as long as the stream (a lease, an answer) is moved into
/// it, as the turn is over by then.
pub struct Sound {
    /// `audio/mpeg` …
    pub mime: String,
    /// The file, piece by piece. An error ends it.
    pub bytes: LocalBoxStream<'static, Result<Bytes, ProviderError>>,
}

impl fmt::Debug for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sound")
            .field("mime", &self.mime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_rises_and_is_never_all() {
        let of = |seconds| VideoState::guessed(VideoStatus::InProgress, seconds).progress;
        assert_eq!((of(0), of(120), of(600)), (0, 50, 83));
        assert_eq!((of(u64::MAX), of(1 << 40)), (1, 99));
    }

    #[test]
    fn a_video_that_is_not_there_is_never_at_a_hundred() {
        assert_eq!(
            VideoState::running(VideoStatus::InProgress, 100).progress,
            99
        );
    }
}
