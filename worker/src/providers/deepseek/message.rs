//! The upstream message as far as a reader must know it: which text stands in which fragment, and how much of it has
//! been passed on. Texts themselves are not kept, so memory does not grow with the answer.
//! Source: `wire/deepseek.md` section 6.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::{ChatEvent, ProviderError};

/// More fragments than any answer has; a stream that goes on pushing is no answer.
const MOST_FRAGMENTS: usize = 10_000;
/// More sources than any search gives.
const MOST_SOURCES: usize = 1_000;
/// The filter's excuse is one sentence.
const MOST_TEMPLATE_BYTES: usize = 16 << 10;

/// Whether a text is replaced or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// SET: this is the whole text.
    Set,
    /// APPEND: this comes after it.
    Append,
}

/// What a fragment is; types that are not named here carry no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum FragmentKind {
    /// Thinking.
    Think,
    /// The answer.
    Response,
    /// What the content filter says instead.
    TemplateResponse,
    /// A search, its results the sources.
    ToolSearch,
    /// No text, as the wire page says: a page that was opened, a hint, a question.
    #[default]
    #[serde(rename = "TOOL_OPEN", alias = "TIP", alias = "REQUEST")]
    Silent,
    /// The wire page does not know it.
    #[serde(other)]
    Unknown,
}

/// How much of a growing text the service has said, and how much of it the client has. Both count Unicode scalar
/// values. They differ after a continuation, whose snapshot may repeat more or less than what was passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    said: usize,
    passed: usize,
}

impl Progress {
    /// The part of a piece that has not been passed on.
    fn advance<'a>(&mut self, write: Write, piece: &'a str) -> Option<&'a str> {
        if write == Write::Set {
            self.said = 0;
        }
        // What was passed on beyond what the service has said: a snapshot may repeat more than a continuation had.
        let skip = self.passed - self.said.min(self.passed);
        self.said += piece.chars().count();
        let new = if skip == 0 {
            piece
        } else {
            // In characters: what was passed on ends at one, and a byte count would end within one.
            let (at, _) = piece.char_indices().nth(skip)?;
            piece.get(at..)?
        };
        self.passed = self.passed.max(self.said);
        Some(new).filter(|new| !new.is_empty())
    }
}

#[derive(Debug, Default)]
struct Fragment {
    id: Option<i64>,
    kind: FragmentKind,
    progress: Progress,
    sources: Vec<Source>,
}

/// A page that a search found.
#[derive(Clone, Debug, Default, Deserialize)]
struct Source {
    #[serde(default)]
    url: String,
    #[serde(default)]
    title: Option<String>,
}

/// A fragment on the wire (section 6). Everything may be missing or null.
#[derive(Deserialize)]
struct FragmentForm<'a> {
    id: Option<i64>,
    #[serde(rename = "type", default)]
    kind: FragmentKind,
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    results: Option<&'a RawValue>,
}

/// The texts of a message.
#[derive(Debug, Default)]
pub(super) struct Message {
    fragments: Vec<Fragment>,
    /// Of the legacy generation: `thinking_content`, and `content`.
    thinking: Progress,
    content: Progress,
    /// Which of the two spoke last.
    is_thinking: bool,
    /// Sources of the choices generation.
    sources: Vec<Source>,
    template: String,
}

impl Message {
    /// The fragment that a path's index names; negative ones count from the end.
    pub(super) fn index(&self, segment: &str) -> Option<usize> {
        let index: i64 = segment.parse().ok()?;
        let at = if index < 0 {
            self.fragments
                // `-1` is the last one (section 6), and an index beyond the list names nothing.
                .len()
                .checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
        } else {
            usize::try_from(index).ok()?
        };
        (at < self.fragments.len()).then_some(at)
    }

    /// A piece of a fragment's content.
    pub(super) fn text(
        &mut self,
        at: usize,
        write: Write,
        piece: &str,
        events: &mut Vec<ChatEvent>,
    ) {
        let Some(fragment) = self.fragments.get_mut(at) else {
            return;
        };
        match fragment.kind {
            FragmentKind::Think => {
                let new = fragment.progress.advance(write, piece);
                events.extend(new.map(|new| ChatEvent::Reasoning(new.to_owned())));
            }
            FragmentKind::Response => {
                let new = fragment.progress.advance(write, piece);
                events.extend(new.map(|new| ChatEvent::Text(new.to_owned())));
            }
            FragmentKind::TemplateResponse => {
                // A SET takes back what the filter said before, not what the answer said.
                if write == Write::Set {
                    self.template.clear();
                }
                // Beyond the bound it is no excuse but a stream that goes on.
                if self.template.len() + piece.len() <= MOST_TEMPLATE_BYTES {
                    self.template.push_str(piece);
                }
            }
            FragmentKind::ToolSearch | FragmentKind::Silent | FragmentKind::Unknown => {}
        }
    }

    /// A piece of the legacy generation's `thinking_content` or `content`.
    pub(super) fn legacy_text(
        &mut self,
        is_thinking: bool,
        write: Write,
        piece: &str,
        events: &mut Vec<ChatEvent>,
    ) {
        // Kept, as a piece may come without saying which of the two it belongs to.
        self.is_thinking = is_thinking;
        events.extend(if is_thinking {
            let new = self.thinking.advance(write, piece);
            new.map(|new| ChatEvent::Reasoning(new.to_owned()))
        } else {
            let new = self.content.advance(write, piece);
            new.map(|new| ChatEvent::Text(new.to_owned()))
        });
    }

    /// A string that came without saying where it belongs: goes on with what spoke last.
    pub(super) fn stray_text(&mut self, piece: &str, events: &mut Vec<ChatEvent>) {
        let speaks = |fragment: &Fragment| {
            matches!(fragment.kind, FragmentKind::Think | FragmentKind::Response)
        };
        // The last that speaks: fragments before it are finished.
        if let Some(at) = self.fragments.iter().rposition(speaks) {
            self.text(at, Write::Append, piece, events);
        } else if self.thinking.said + self.content.said > 0 {
            self.legacy_text(self.is_thinking, Write::Append, piece, events);
        }
    }

    /// New fragments at the end; their content counts.
    ///
    /// # Errors
    /// More than any answer has.
    pub(super) fn push(
        &mut self,
        list: &RawValue,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        for form in forms(list) {
            // A stream of fragments without end would grow in memory.
            if self.fragments.len() >= MOST_FRAGMENTS {
                return Err(ProviderError::malformed("list of fragments"));
            }
            self.fragments.push(Fragment {
                id: form.id,
                kind: form.kind,
                ..Fragment::default()
            });
            // Its content counts: the snapshot's first fragment begins with text (section 9).
            self.fill(self.fragments.len() - 1, form, events);
        }
        Ok(())
    }

    /// All fragments anew. One that is known goes on where it was: a continuation repeats everything (section 8).
    ///
    /// # Errors
    /// More than any answer has.
    pub(super) fn replace(
        &mut self,
        list: &RawValue,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // Taken out: what is known is moved over one by one, so that its progress stays.
        let mut known = std::mem::take(&mut self.fragments);
        for (at, form) in forms(list).into_iter().enumerate() {
            if at >= MOST_FRAGMENTS {
                return Err(ProviderError::malformed("list of fragments"));
            }
            // By id and kind: a continuation may renumber what is no text.
            let is_same =
                |fragment: &Fragment| fragment.id == form.id && fragment.kind == form.kind;
            let same = known
                .get(at)
                .is_some_and(is_same)
                .then_some(at)
                // Where the place holds another one: the list may have lost an entry.
                .or_else(|| known.iter().position(is_same));
            let mut fragment = same
                .and_then(|same| known.get_mut(same))
                .map(std::mem::take)
                .unwrap_or_default();
            (fragment.id, fragment.kind) = (form.id, form.kind);
            self.fragments.push(fragment);
            self.fill(at, form, events);
        }
        Ok(())
    }

    /// One fragment anew.
    pub(super) fn replace_one(&mut self, at: usize, form: &RawValue, events: &mut Vec<ChatEvent>) {
        let form = serde_json::from_str::<FragmentForm<'_>>(form.get());
        if let (Ok(form), Some(fragment)) = (form, self.fragments.get_mut(at)) {
            (fragment.id, fragment.kind) = (form.id, form.kind);
            self.fill(at, form, events);
        }
    }

    fn fill(&mut self, at: usize, form: FragmentForm<'_>, events: &mut Vec<ChatEvent>) {
        // Told once, however many the list has: the notice is by place.
        if form.kind == FragmentKind::Unknown {
            events.push(ChatEvent::Unknown("fragment"));
        }
        if let Some(content) = form.content {
            // SET: the whole text is repeated, and only what is new of it is passed on.
            self.text(at, Write::Set, &content, events);
        }
        if let Some(results) = form.results {
            self.results(at, Write::Set, results);
        }
    }

    /// What a search found.
    pub(super) fn results(&mut self, at: usize, write: Write, list: &RawValue) {
        // Other fragments have `results` of their own kind.
        let is_search = |fragment: &&mut Fragment| fragment.kind == FragmentKind::ToolSearch;
        if let Some(fragment) = self.fragments.get_mut(at).filter(is_search) {
            add(&mut fragment.sources, write, list);
        }
    }

    /// What a search of the choices generation found.
    pub(super) fn choice_results(&mut self, list: &RawValue) {
        add(&mut self.sources, Write::Append, list);
    }

    /// The sources in the order in which they were found, numbered from 1.
    pub(super) fn citations(&self) -> impl Iterator<Item = ChatEvent> {
        let found = self.fragments.iter().flat_map(|fragment| &fragment.sources);
        (1..)
            .zip(found.chain(&self.sources))
            .map(|(index, source)| ChatEvent::Citation {
                index,
                url: source.url.clone(),
                title: source.title.clone().unwrap_or_default(),
            })
    }

    /// What the content filter says instead of an answer.
    pub(super) fn take_template(&mut self) -> String {
        std::mem::take(&mut self.template)
    }
}

/// A list of fragments, or a single one; what is neither is none.
fn forms(list: &RawValue) -> Vec<FragmentForm<'_>> {
    serde_json::from_str(list.get())
        // A batch may carry one of them alone (section 6).
        .or_else(|_| serde_json::from_str(list.get()).map(|one| vec![one]))
        .unwrap_or_default()
}

fn add(sources: &mut Vec<Source>, write: Write, list: &RawValue) {
    let new: Vec<Source> = serde_json::from_str(list.get()).unwrap_or_default();
    if write == Write::Set {
        sources.clear();
    }
    let room = MOST_SOURCES.saturating_sub(sources.len());
    let has_address = |source: &Source| !source.url.is_empty();
    sources.extend(new.into_iter().filter(has_address).take(room));
}
