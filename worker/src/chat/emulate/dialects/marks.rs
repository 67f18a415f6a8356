//! Calls between the marks of a service's own template (D5): DeepSeek's, Kimi's, Mistral's. The arguments are JSON; before
//! them stands the tool's name, in one way or another. Ids are the model's own, and worth nothing.
//!
//! ```text
//! <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>read⏎```json⏎{…}⏎```<｜tool▁call▁end｜>
//! <|tool_call_begin|>functions.read:0<|tool_call_argument_begin|>{…}<|tool_call_end|>
//! [TOOL_CALLS]read[CALL_ID]x[ARGS]{…}        [TOOL_CALLS][{"name":"read","arguments":{…}}]
//! ```

use super::super::decoder::lex::{Lexed, Role, lex};

/// Longest head of a call, up to its arguments.
const MOST_HEAD: usize = 512;

/// What stands before the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Head {
    /// The name, and where the arguments begin.
    Named(String, usize),
    /// A call without arguments, and where it ends.
    Bare(String, usize),
    /// JSON that has the names in it begins here.
    Json(usize),
    /// No call.
    No,
    /// It ends too early to know.
    More,
}

/// Reads the head that begins with a mark.
pub(in super::super) fn head(text: &str, nonce: &[u8], is_end: bool) -> Head {
    let bytes = text.as_bytes();
    let (mut at, mut name) = (0, None);
    loop {
        if at > MOST_HEAD {
            return Head::No;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        match rest.first() {
            None if is_end => return Head::No,
            None => return Head::More,
            Some(b'{') => return name.map_or(Head::Json(at), |name| Head::Named(name, at)),
            Some(b'[') => return name.map_or(Head::Json(at), |_| Head::No),
            Some(b'<') => match lex(rest, nonce, is_end) {
                Lexed::More => return Head::More,
                Lexed::Tag(tag) if tag.role() == Role::Mark => {
                    let mark = rest.get(..tag.length).unwrap_or_default();
                    let ends = memchr::memmem::find(mark, b"end").is_some();
                    // An end's mark behind a name: a call that has no arguments.
                    if let Some(name) = name.take_if(|_| ends) {
                        return Head::Bare(name, at);
                    }
                    at += tag.length;
                }
                _ => return Head::No,
            },
            Some(_) => {
                let is_end_of_words = |byte: &u8| matches!(byte, b'<' | b'{' | b'[');
                let length = rest.iter().position(is_end_of_words);
                // Without an end in sight within the longest head it is no head.
                if length.is_none() && rest.len() <= MOST_HEAD && !is_end {
                    return Head::More;
                }
                let length = length.unwrap_or(rest.len());
                // Of several words between marks the last one is the name; DeepSeek's first is the kind of the call.
                let words = text.get(at..at + length).unwrap_or_default();
                name = named(words).or(name);
                at += length;
            }
        }
    }
}

/// Reads the head behind Mistral's `[TOOL_CALLS]`, which `text` begins with.
pub(in super::super) fn bracketed(text: &str, is_end: bool) -> Head {
    let Some((_, rest)) = text.split_once(']') else {
        return if is_end { Head::No } else { Head::More };
    };
    let behind = text.len() - rest.len();
    let begin = rest.find(|c: char| !c.is_whitespace());
    let begin = begin.unwrap_or(rest.len());
    if rest
        .get(begin..)
        .is_some_and(|rest| rest.starts_with(['[', '{']))
    {
        return Head::Json(behind + begin);
    }
    match (rest.find('{'), rest.find(['[', '{'])) {
        (Some(json), Some(end)) if json <= MOST_HEAD => {
            let name = named(rest.get(..end).unwrap_or_default());
            name.map_or(Head::No, |name| Head::Named(name, behind + json))
        }
        (None, _) if rest.len() <= MOST_HEAD && !is_end => Head::More,
        _ => Head::No,
    }
}

/// `functions.read:0` as `functions.read`; of several lines the first.
fn named(words: &str) -> Option<String> {
    let line = words.trim().lines().next()?.trim();
    // `:0` is Kimi's count of calls; a namespace of one's own has no digits behind its colon.
    let name = match line.rsplit_once(':') {
        Some((name, id)) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => line,
    };
    (!name.is_empty() && !name.starts_with("```")).then(|| name.to_owned())
}
