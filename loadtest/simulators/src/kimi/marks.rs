//! What gets into the text and is none: citation marks in private-use characters, tool sections.
//! Source: wire/kimi.md §5.3, §6.2, §6.5.

use crate::prompt::Answer;

/// Opens a mark.
pub(super) const MARK: char = '\u{e3a0}';
const MARK_REF: char = '\u{e3a3}';
const MARK_END: char = '\u{e3a8}';

/// A call of a tool of the site's own, as it was seen in text.
pub(super) const TOOL_SECTION: [&str; 5] = [
    "<|tool_calls_sec",
    "tion_begin|><|tool_call_begin|>functions.ipython:0<|tool_call_argu",
    "ment_begin|>{\"code\":\"print(1)\"}",
    "<|tool_call_end|><|tool_calls_section_e",
    "nd|>",
];

/// How the page behind a mark is called.
pub(super) fn reference(at: usize) -> String {
    format!("web_search:1#{at}")
}

/// The text, with one mark for all sources after its first piece, cut as in sample B.
pub(super) fn marked(answer: &Answer) -> Vec<String> {
    let mut text = answer.text.clone();
    if answer.citations.is_empty() || text.is_empty() {
        return text;
    }
    let sources = answer.citations.len();
    if answer.quirk("old_marks") {
        text.extend((1..=sources).map(|n| format!("[^{n}^]")));
        return text;
    }
    let mut head = text.remove(0);
    head.push(MARK);
    head.push_str("ci");
    let mut marked = vec![head, "te".to_owned()];
    for at in 0..sources {
        if let Some(last) = marked.last_mut() {
            last.push(MARK_REF);
        }
        let piece = reference(at);
        match marked.last_mut() {
            Some(first) if at == 0 => first.push_str(&piece),
            _ => marked.push(piece),
        }
    }
    let after = if text.is_empty() {
        String::new()
    } else {
        text.remove(0)
    };
    if let Some(last) = marked.last_mut() {
        last.push(MARK_END);
        last.push_str(&after);
    }
    marked.extend(text);
    marked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Citation;

    fn answer(pieces: &[&str], citations: usize) -> Answer {
        let citation = |n| Citation::new(&format!("https://example.org/{n}"), "T");
        let mut answer = Answer::default();
        answer.text = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        answer.citations = (0..citations).map(citation).collect();
        answer
    }

    #[test]
    fn marks_are_cut_as_in_sample_b() {
        assert_eq!(
            marked(&answer(&["A", "B"], 2)),
            [
                "A\u{e3a0}ci",
                "te\u{e3a3}web_search:1#0\u{e3a3}",
                "web_search:1#1\u{e3a8}B"
            ]
        );
        assert_eq!(
            marked(&answer(&["A"], 1)).concat(),
            "A\u{e3a0}cite\u{e3a3}web_search:1#0\u{e3a8}"
        );
        assert_eq!(marked(&answer(&["A"], 0)), ["A"]);
    }
}
