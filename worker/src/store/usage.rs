//! What keys used of models: sums of hours, the requests one by one, and the form in which stores keep those.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::engine::{MS_A_MINUTE, MS_AN_HOUR};
use crate::impossible::OrImpossible as _;

/// Most lines that a store keeps as one text.
const PACKED: usize = 100;

/// What one key used of one model in one hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// Hours since the Unix epoch.
    pub hour: u64,
    /// The caller's key, by name.
    pub key: String,
    /// The provider; empty for a request that reached none.
    pub provider: String,
    /// The model as listed; empty for one that is not.
    pub model: String,
    /// What became of the requests: `ok` or a kind of error.
    pub outcome: String,
}

/// Sums of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many.
    pub requests: u64,
    /// Tokens of conversations that were sent.
    pub prompt_tokens: u64,
    /// Tokens of answers, thinking included.
    pub completion_tokens: u64,
    /// Those of them that were thinking.
    pub reasoning_tokens: u64,
    /// Milliseconds to the first output, together.
    pub first_ms: u64,
    /// How many requests had output.
    pub with_output: u64,
}

impl Usage {
    /// Its members in the order in which stores keep them.
    pub fn members(self) -> [u64; 6] {
        [
            self.requests,
            self.prompt_tokens,
            self.completion_tokens,
            self.reasoning_tokens,
            self.first_ms,
            self.with_output,
        ]
    }

    /// What [`Usage::members`] has taken apart.
    pub fn of_members(members: [u64; 6]) -> Self {
        let [
            requests,
            prompt_tokens,
            completion_tokens,
            reasoning_tokens,
            first_ms,
            with_output,
        ] = members;
        Self {
            requests,
            prompt_tokens,
            completion_tokens,
            reasoning_tokens,
            first_ms,
            with_output,
        }
    }

    /// Adds another sum.
    pub fn add(&mut self, other: Self) {
        let mut members = self.members();
        for (member, more) in members.iter_mut().zip(other.members()) {
            // A sum that has reached the end of its type stays there: a wrapped one would be a small, false number.
            *member = member.saturating_add(more);
        }
        *self = Self::of_members(members);
    }
}

/// One request, for those who want to look closely. No content, ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageLine {
    /// The request's id.
    pub request: String,
    /// When it ended, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The caller's key, by name.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    pub key: Arc<str>,
    /// The provider; empty for a request that reached none.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    pub provider: Arc<str>,
    /// The model as listed; empty for one that is not.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    pub model: Arc<str>,
    /// What became of it: `ok` or a kind of error.
    pub outcome: Cow<'static, str>,
    /// Tokens of the conversation that was sent.
    pub prompt_tokens: u64,
    /// Tokens of the answer, thinking included.
    pub completion_tokens: u64,
    /// Those of them that were thinking.
    pub reasoning_tokens: u64,
    /// Milliseconds to the first output.
    pub first_ms: Option<u64>,
}

fn as_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn of_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

impl UsageLine {
    /// As it is kept: its members in their order, which are read as the same by the derived reader. Their names would be more
    /// than half of what is written for a request.
    fn kept(&self) -> impl Serialize {
        (
            &*self.request,
            self.at_ms,
            &*self.key,
            &*self.provider,
            &*self.model,
            &*self.outcome,
            self.prompt_tokens,
            self.completion_tokens,
            self.reasoning_tokens,
            self.first_ms,
        )
    }

    /// Which sum it belongs to.
    pub fn sum(&self) -> UsageKey {
        UsageKey {
            hour: self.at_ms / MS_AN_HOUR,
            key: (*self.key).to_owned(),
            provider: (*self.provider).to_owned(),
            model: (*self.model).to_owned(),
            outcome: (*self.outcome).to_owned(),
        }
    }

    /// Whether it belongs to that sum.
    pub fn is_of(&self, sum: &UsageKey) -> bool {
        self.at_ms / MS_AN_HOUR == sum.hour
            && *self.key == sum.key
            && *self.provider == sum.provider
            && *self.model == sum.model
            && self.outcome == sum.outcome
    }

    /// What it adds to its sum.
    pub fn usage(&self) -> Usage {
        Usage {
            requests: 1,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            reasoning_tokens: self.reasoning_tokens,
            // Nothing where nothing was said: `with_output` beside it says how many the sum is of.
            first_ms: self.first_ms.unwrap_or_default(),
            with_output: self.first_ms.is_some().into(),
        }
    }
}

/// Lines in the form in which stores keep them, many in one text: a row or an element each would cost more than all else that
/// is done to count a request. Each text has the time of its first line; all of its lines are of the same minute.
pub(super) fn packed(lines: &[UsageLine]) -> impl Iterator<Item = (u64, String)> {
    lines
        .chunk_by(|one, next| one.at_ms / MS_A_MINUTE == next.at_ms / MS_A_MINUTE)
        .flat_map(|minute| minute.chunks(PACKED))
        .filter_map(|pack| {
            let first = pack.iter().map(|line| line.at_ms).min()?;
            let kept: Vec<_> = pack.iter().map(UsageLine::kept).collect();
            let text = serde_json::to_string(&kept);
            Some((first, text.or_impossible("lines are of texts and numbers")))
        })
}

/// What [`packed`] has put together; lines with their members' names and a single line, as earlier versions wrote them, as
/// well. What cannot be read was written by another version, and the sums have it.
pub(super) fn unpacked(text: &str) -> Vec<UsageLine> {
    if text.starts_with('[') {
        serde_json::from_str(text).unwrap_or_default()
    } else {
        serde_json::from_str(text).into_iter().collect()
    }
}

/// A batch of usage, as one worker has gathered it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageBatch {
    /// Its own name: a batch that is written twice, since nobody heard that the first writing went well, counts once.
    pub id: String,
    /// What was used, in sums.
    pub sums: Vec<(UsageKey, Usage)>,
    /// The same, request by request; fewer where there were too many to keep.
    pub lines: Vec<UsageLine>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_earlier_versions_are_read_as_well() {
        let one = r#"{"request":"r","at_ms":61000,"key":"k","provider":"p","model":"m","outcome":"ok","prompt_tokens":1,"completion_tokens":2,"reasoning_tokens":0,"first_ms":null}"#;
        let [line] = unpacked(one).try_into().unwrap();
        assert_eq!(unpacked(&format!("[{one}]")), std::slice::from_ref(&line));
        assert_eq!(
            (&*line.key, &*line.outcome, line.at_ms),
            ("k", "ok", 61_000)
        );
        for unreadable in ["", "{}", "[{}]", "x"] {
            assert_eq!(unpacked(unreadable), []);
        }
        let mut later = line.clone();
        later.at_ms = 121_000;
        let lines = [vec![line; PACKED + 1], vec![later]].concat();
        let packs: Vec<(u64, String)> = packed(&lines).collect();
        assert!(packs.iter().all(|(_, text)| !text.contains("tokens")));
        let moments: Vec<u64> = packs.iter().map(|(at_ms, _)| *at_ms).collect();
        // One text is full, and none goes over a minute.
        assert_eq!(moments, [61_000, 61_000, 121_000]);
        let read: Vec<UsageLine> = packs.iter().flat_map(|(_, text)| unpacked(text)).collect();
        assert_eq!(read, lines);
    }
}
