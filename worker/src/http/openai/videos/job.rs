//! What an id holds, and a video as clients see it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::told;
use crate::chat::media::{Ticket, VideoState, VideoStatus};

/// What an id holds. Short names, as all of it travels with each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    /// The provider's name.
    #[serde(rename = "p")]
    pub(super) provider: String,
    /// What it knows the video by.
    #[serde(rename = "t")]
    pub(super) ticket: Ticket,
    /// The model as the caller wrote it.
    #[serde(rename = "m")]
    pub(super) model: String,
    /// When it was asked for, in Unix seconds.
    #[serde(rename = "c")]
    pub(super) created: u64,
    /// The milliseconds beyond, for the order of a list.
    #[serde(rename = "f", default, skip_serializing_if = "is_zero")]
    pub(super) millis: u16,
    /// How long it is to be, where the provider was told.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<u32>,
    /// How large, likewise.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<String>,
}

fn is_zero(millis: &u16) -> bool {
    *millis == 0
}

impl Job {
    /// The object that clients see.
    pub(super) fn shown(&self, id: &str, state: &VideoState) -> Map<String, Value> {
        // Clients expect texts; what nobody knows is empty.
        let seconds = state.seconds.or(self.seconds);
        let seconds = seconds.map(|seconds| seconds.to_string());
        let size = state.size.map(|size| size.to_string());
        let error = state.error.clone().map(told).map(|error| {
            let code = error.code.unwrap_or_else(|| error.kind.to_owned());
            json!({"code": code, "message": error.message})
        });
        // Of its end this look is the first sign, unless the list has one ([`super::index::settled`]).
        let is_over = is_over(state.status);
        let object = json!({
            "id": id,
            "object": "video",
            "model": self.model,
            "status": state.status,
            "progress": state.progress,
            "created_at": self.created,
            "completed_at": if is_over { json!(super::unix_seconds()) } else { Value::Null },
            "expires_at": null,
            "seconds": seconds.unwrap_or_default(),
            "size": size.or_else(|| self.size.clone()).unwrap_or_default(),
            "prompt": null,
            "remixed_from_video_id": null,
            "error": error,
        });
        match object {
            Value::Object(members) => members,
            // `json!` of braces is an object.
            _ => Map::new(),
        }
    }
}

/// Whether nothing more comes of it.
pub(super) fn is_over(status: VideoStatus) -> bool {
    matches!(status, VideoStatus::Completed | VideoStatus::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Kind, ProviderError};

    fn job() -> Job {
        Job {
            provider: "zhipu".to_owned(),
            ticket: Ticket {
                account: "0123".to_owned(),
                model: "cogvideox".to_owned(),
                task: "t".to_owned(),
            },
            model: "zhipu/cogvideox".to_owned(),
            created: 1_767_780_000,
            millis: 7,
            seconds: None,
            size: None,
        }
    }

    #[test]
    fn a_failure_tells_why_and_a_video_how_far_it_is() {
        let error = ProviderError::new(Kind::Moderated, "no");
        let shown = job().shown("video_x", &VideoState::failed(error));
        assert_eq!(shown["status"], "failed");
        assert_eq!(shown["error"]["code"], "content_policy_violation");
        let state = VideoState::running(VideoStatus::InProgress, 40);
        let shown = job().shown("video_x", &state);
        assert_eq!(
            (&shown["status"], &shown["progress"], &shown["error"]),
            (&json!("in_progress"), &json!(40), &Value::Null)
        );
        assert_eq!(shown["model"], "zhipu/cogvideox");
        assert!(shown["completed_at"].is_null());
    }

    #[test]
    fn an_id_gives_back_the_whole_job() {
        let text = serde_json::to_string(&job()).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job());
    }
}
