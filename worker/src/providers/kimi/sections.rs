//! Calls of the site's own tools that leak into the answer's text, from `<|tool_calls_section_begin|>` to
//! `<|tool_calls_section_end|>`: dropped, wherever the events cut the markers. Source: `wire/kimi.md` section 6.2.

const BEGIN: &str = "<|tool_calls_section_begin|>";
const END: &str = "<|tool_calls_section_end|>";

/// Holds back what may be a marker.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// The beginning of the marker that is looked for.
    held: String,
    is_inside: bool,
}

impl Sections {
    /// Takes the next text; what of it, and of what was held, is for the client.
    pub(super) fn feed(&mut self, text: String) -> String {
        if self.held.is_empty() && !self.is_inside && !text.contains('<') {
            return text;
        }
        let mut rest = std::mem::take(&mut self.held) + &text;
        let mut clean = String::new();
        loop {
            let marker = if self.is_inside { END } else { BEGIN };
            // What was held is a marker's beginning, which may end here or go on.
            let Some((before, after)) = rest.split_once(marker) else {
                break;
            };
            if !self.is_inside {
                clean.push_str(before);
            }
            self.is_inside = !self.is_inside;
            // The rest is what stands behind the marker, and may hold the next one.
            rest = after.to_owned();
        }
        let marker = if self.is_inside { END } else { BEGIN };
        let held = begun(&rest, marker);
        let (decided, held) = rest
            .split_at_checked(rest.len() - held)
            // `held` is where it begins: the two parts are the text and what is held back.
            .unwrap_or((&rest, ""));
        if !self.is_inside {
            clean.push_str(decided);
        }
        self.held = held.to_owned();
        clean
    }

    /// The answer is over: what was held is no marker, and an unfinished section is dropped.
    pub(super) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        // A section that was never closed is dropped: it held a tool's call.
        if self.is_inside { String::new() } else { held }
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
    fn text_without_markers_is_not_held() {
        let mut sections = Sections::default();
        assert_eq!(sections.feed("a < b".to_owned()), "a < b");
        assert_eq!(sections.feed("<|to".to_owned()), "");
        assert_eq!(sections.feed("p".to_owned()), "<|top");
    }
}
