//! Marks in an answer where the page shows a panel: `[(deep_think)]`, `[(multimodal_chat_think_N)]`, with the line feeds
//! behind them. They are no text. Source: `wire/qwen.md` section 11.8.

use std::borrow::Cow;

const DEEP: &str = "[(deep_think)]";
const NUMBERED: &str = "[(multimodal_chat_think_";
const END: &str = ")]";

/// The text without its markers.
pub(super) fn without(content: &str) -> Cow<'_, str> {
    let mut text: Option<String> = None;
    let mut rest = content;
    while let Some((before, from)) = rest
        // All beginnings are tried: a Markdown link has `[(` as well.
        .match_indices("[(")
        .find_map(|(at, _)| Some((rest.get(..at)?, behind(rest.get(at..)?)?)))
    {
        // Nearly no event has a marker, so nothing is copied until there is one.
        text.get_or_insert_default().push_str(before);
        // The page puts the panel there, and the line feeds set it off.
        rest = from.trim_start_matches('\n');
    }
    match text {
        None => Cow::Borrowed(content),
        Some(text) => Cow::Owned(text + rest),
    }
}

/// What is behind the marker that the text begins with.
fn behind(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix(DEEP) {
        return Some(rest);
    }
    let number = text.strip_prefix(NUMBERED)?;
    let rest = number.trim_start_matches(|c: char| c.is_ascii_digit());
    // A marker has a number; without one it is text.
    (rest.len() < number.len()).then(|| rest.strip_prefix(END))?
}

/// The text up to a marker that is only begun at its end.
pub(super) fn before_begun(text: &str) -> &str {
    // The last bracket is enough: a marker has one, at its start.
    let Some((before, tail)) = text.rfind('[').and_then(|at| text.split_at_checked(at)) else {
        return text;
    };
    // Sent and then completed to a marker, it would stand in the client's text for good.
    let is_begun = DEEP.starts_with(tail)
        || NUMBERED.starts_with(tail)
        || tail.strip_prefix(NUMBERED).is_some_and(|number| {
            let rest = number.trim_start_matches(|c: char| c.is_ascii_digit());
            rest.is_empty() || (rest.len() < number.len() && rest == ")")
        });
    if is_begun { before } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_and_the_line_feeds_behind_them_are_no_text() {
        for (content, text) in [
            ("[(deep_think)]\n\n晴，2", "晴，2"),
            ("[(deep_think)]", ""),
            ("a[(multimodal_chat_think_12)]\nb[(deep_think)]c", "abc"),
            ("[(multimodal_chat_think_)]", "[(multimodal_chat_think_)]"),
            ("x[(1,2)][0]\n", "x[(1,2)][0]\n"),
            ("[([(deep_think)]", "[("),
            ("", ""),
        ] {
            assert_eq!(without(content), text, "{content}");
        }
    }

    #[test]
    fn a_begun_marker_is_held_back() {
        for marker in ["[(deep_think)]", "[(multimodal_chat_think_12)]"] {
            for cut in 1..marker.len() {
                let begun = marker.get(..cut).unwrap();
                assert_eq!(before_begun(begun), "", "{begun}");
                assert_eq!(before_begun(&format!("晴{begun}")), "晴", "{begun}");
            }
        }
        for text in ["", "晴", "a[0]", "[x", "[(deepest", "[(deep_think)] x"] {
            assert_eq!(before_begun(text), text);
        }
    }
}
