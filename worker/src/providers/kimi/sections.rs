//! Calls of tools that get into the answer's text, from `<|tool_calls_section_begin|>` to `<|tool_calls_section_end|>`. Those of
//! the site's own tools are dropped, wherever the events cut the markers. Source: `wire/kimi.md` section 6.2. The model writes
//! calls of the client's tools in the same way when it forgets how it was asked to write them: those stay, for whoever takes
//! calls out of texts. Source: tools.md section 7, D5.

use std::sync::Arc;

use crate::chat::emulate::schema::Offered;

const BEGIN: &str = "<|tool_calls_section_begin|>";
const END: &str = "<|tool_calls_section_end|>";
/// What stands between a call's name and its arguments.
const ARGUMENTS: &str = "<|tool_call_argument_begin|>";
const CALL: &str = "<|tool_call_begin|>";
/// No name stands farther from the beginning of its section.
const MOST_HEAD: usize = 512;

/// Holds back what may be a marker.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// The tools whose calls stay.
    offered: Option<Arc<Offered>>,
    /// What is not decided: the beginning of a marker, or of a section.
    held: String,
    state: State,
    /// What was passed on last ends a line, or nothing was.
    is_in_line: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Outside,
    /// In a section whose first call has not said its name.
    Nameless,
    /// In a section that is dropped.
    Dropped,
    /// In a section that stays.
    Kept,
}

impl Sections {
    /// Calls of these tools stay.
    pub(super) fn keeping(offered: Option<Arc<Offered>>) -> Self {
        Self {
            offered,
            ..Self::default()
        }
    }

    /// Takes the next text; what of it, and of what was held, is for the client.
    pub(super) fn feed(&mut self, text: String) -> String {
        if self.held.is_empty() && self.state == State::Outside && !text.contains('<') {
            self.note(&text);
            return text;
        }
        let mut rest = std::mem::take(&mut self.held) + &text;
        let mut clean = String::new();
        loop {
            if self.state == State::Nameless {
                let Some(is_kept) = self.is_kept(&rest) else {
                    self.held = rest;
                    break;
                };
                if is_kept {
                    // A call begins a line of its own, wherever the model put it.
                    if self.is_in_line(&clean) {
                        clean.push('\n');
                    }
                    clean.push_str(BEGIN);
                }
                self.state = if is_kept { State::Kept } else { State::Dropped };
            }
            let marker = if self.state == State::Outside {
                BEGIN
            } else {
                END
            };
            // What was held is a marker's beginning, which may end here or go on.
            let (decided, next) = match rest.split_once(marker) {
                Some((before, after)) => (before, Some(after.to_owned())),
                None => {
                    let held = begun(&rest, marker);
                    // `held` is where it begins: the two parts are the text and what is held back.
                    let (decided, held) = rest
                        .split_at_checked(rest.len() - held)
                        .unwrap_or((&rest, ""));
                    self.held = held.to_owned();
                    (decided, None)
                }
            };
            if self.state != State::Dropped {
                clean.push_str(decided);
            }
            let Some(next) = next else {
                break;
            };
            if self.state == State::Kept {
                clean.push_str(END);
            }
            self.state = if self.state == State::Outside {
                State::Nameless
            } else {
                State::Outside
            };
            // The rest is what stands behind the marker, and may hold the next one.
            rest = next;
        }
        self.note(&clean);
        clean
    }

    /// The answer is over: what was held is no marker, and an unfinished section that is not kept is dropped.
    pub(super) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        // A section that was never closed is dropped: it held a call of the site's own.
        match self.state {
            State::Outside | State::Kept => held,
            State::Nameless | State::Dropped => String::new(),
        }
    }

    /// Whether the section that begins so calls one of the tools; `None`: it has not said.
    fn is_kept(&self, section: &str) -> Option<bool> {
        let Some(offered) = &self.offered else {
            return Some(false);
        };
        let head = section.find(ARGUMENTS).or_else(|| section.find(END));
        let head = match head {
            Some(head) if head <= MOST_HEAD => section.get(..head).unwrap_or_default(),
            None if section.len() < MOST_HEAD + ARGUMENTS.len() => return None,
            Some(_) | None => return Some(false),
        };
        let (_, name) = head.rsplit_once(CALL).unwrap_or(("", head));
        // `functions.read:0`
        let name = name.trim();
        let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
        Some(offered.find(name).is_some())
    }

    fn note(&mut self, told: &str) {
        if let Some(last) = told.chars().next_back() {
            self.is_in_line = last != '\n';
        }
    }

    fn is_in_line(&self, told: &str) -> bool {
        told.chars()
            .next_back()
            .map_or(self.is_in_line, |last| last != '\n')
    }
}

/// How many bytes at the end of a text are the beginning of the marker.
fn begun(text: &str, marker: &str) -> usize {
    (1..marker.len())
        .rev()
        .find(|&count| {
            marker
                .as_bytes()
                .get(..count)
                .is_some_and(|head| text.as_bytes().ends_with(head))
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
        let mut sections = Sections::default();
        let mut text: String = pieces
            .into_iter()
            .map(|piece| sections.feed(piece.to_owned()))
            .collect();
        text += &sections.finish();
        text
    }

    #[test]
    fn drops_sections_however_they_are_cut() {
        let inner = "<|tool_call_begin|>functions.ipython:0<|tool_call_argument_begin|>{\"code\": \"<1\"}<|tool_call_end|>";
        for (text, expected) in [
            (format!("a{BEGIN}{inner}{END}b"), "ab"),
            (format!("{BEGIN}{END}{BEGIN}x{END}"), ""),
            (format!("a<b {BEGIN}{inner}"), "a<b "),
            (
                format!("你<{BEGIN}x{END}好<|tool_calls"),
                "你<好<|tool_calls",
            ),
            (
                "a < b <|x|> <<|tool_calls_section_begi".to_owned(),
                "a < b <|x|> <<|tool_calls_section_begi",
            ),
            (format!("a{END}b"), &*format!("a{END}b").leak()),
        ] {
            assert_eq!(clean([text.as_str()]), expected);
            for (at, _) in text.char_indices() {
                let (head, tail) = text.split_at(at);
                assert_eq!(clean([head, tail]), expected, "{text} split at {at}");
            }
            let chars: Vec<String> = text.chars().map(String::from).collect();
            assert_eq!(clean(chars.iter().map(String::as_str)), expected);
        }
    }

    #[test]
    fn calls_of_the_clients_tools_stay() {
        let tool = |name: &str| crate::chat::Tool::function(name, "", None);
        let request = crate::chat::ChatRequest {
            tools: vec![tool("read")],
            ..crate::chat::ChatRequest::new("m", Vec::new())
        };
        let offered = Arc::new(Offered::new(&request).unwrap());
        let section = |name: &str| {
            format!("{BEGIN}{CALL}{name}{ARGUMENTS}{{\"a\": \"<1\"}}<|tool_call_end|>{END}")
        };
        let (own, theirs) = (section("functions.read:0"), section("functions.ipython:0"));
        let cut = own.get(..own.len() - 40).unwrap().to_owned();
        for (text, expected) in [
            (format!("a {own}"), format!("a \n{own}")),
            (format!("a\n{own}b{theirs}"), format!("a\n{own}b")),
            (format!("{theirs}{own}"), own),
            (cut.clone(), cut),
            (format!("{BEGIN}{CALL}functions.re"), String::new()),
            (
                format!("a{BEGIN}{}", "x".repeat(MOST_HEAD + 50)),
                "a".to_owned(),
            ),
        ] {
            let kept = |pieces: &[&str]| {
                let mut sections = Sections::keeping(Some(Arc::clone(&offered)));
                let mut told: String = pieces
                    .iter()
                    .map(|piece| sections.feed((*piece).to_owned()))
                    .collect();
                told += &sections.finish();
                told
            };
            assert_eq!(kept(&[&text]), expected);
            for (at, _) in text.char_indices() {
                let (head, tail) = text.split_at(at);
                assert_eq!(kept(&[head, tail]), expected, "{text} split at {at}");
            }
        }
    }

    #[test]
    fn text_without_markers_is_not_held() {
        let mut sections = Sections::default();
        assert_eq!(sections.feed("a < b".to_owned()), "a < b");
        assert_eq!(sections.feed("<|to".to_owned()), "");
        assert_eq!(sections.feed("p".to_owned()), "<|top");
    }
}
