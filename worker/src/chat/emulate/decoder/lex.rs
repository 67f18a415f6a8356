//! One tag, in any of the forms that models give it. Source: tools.md sections 4, 6 (rule 3) and 7.
//!
//! ```text
//! <call-k7q2 name="read">   </arg-k7q2>   < CALL-K7Q2 NAME='ping' />        ours, and D1
//! <invoke name="read">   <｜DSML｜parameter name="a" string="false">         D2
//! <function=read>   <parameter=path>                                        D4
//! <|open|>call tool="read" index="1"<|sep|>   <|close|>call<|sep|>          D5, Kimi's
//! <｜tool▁calls▁begin｜>   <|tool_call_end|>                                 D5, marks
//! ```

use super::cursor::Cursor;

/// Longest tag in bytes; what is longer is none. A name has 128 characters, and a path some more.
pub(in super::super) const MOST_TAG: usize = 512;
/// Most blanks, slashes and bars before it.
const MOST_PREFIX: usize = 8;
/// Longest local name that is read before it is known whether it is one.
const MOST_LOCAL: usize = 48;

/// What stands at a `<`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Lexed {
    Tag(Tag),
    /// No tag that anybody asks for.
    Nothing,
    /// More bytes must come before it is known.
    More,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Tag {
    pub(in super::super) local: Local,
    pub(in super::super) prefix: Prefix,
    /// Of ours and D1.
    pub(in super::super) mark: Mark,
    pub(in super::super) is_closer: bool,
    /// Opens and closes at once (`/>`).
    pub(in super::super) is_empty: bool,
    /// Its `name` (or what stands for it).
    pub(in super::super) name: Option<String>,
    /// It has other attributes, or a name.
    pub(in super::super) has_attributes: bool,
    /// What `string=` or `type=` says: whether the value is text.
    pub(in super::super) is_text: Option<bool>,
    /// In bytes.
    pub(in super::super) length: usize,
}

/// The nonce in a tag's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Mark {
    None,
    /// The conversation's own.
    Own,
    /// Another one: its first bytes, in lower case.
    Other([u8; 8]),
}

/// What stands before the local name. Parts of a call have the same: a plain `</parameter>` inside a marked call is content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Prefix {
    Plain,
    /// A namespace, bars or `DSML`.
    Marked,
    /// Kimi's `<|open|>` in place of the bracket.
    Xtml,
}

/// The local names that somebody gives a meaning to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Local {
    Calls,
    Call,
    Arg,
    Results,
    Result,
    FunctionCalls,
    ToolCalls,
    Tools,
    ToolCall,
    FunctionCall,
    Function,
    Invoke,
    Tool,
    ToolUse,
    Parameter,
    Param,
    Argument,
    ToolResponse,
    /// A mark of a template that begins something (`tool_call_begin`).
    Begin,
    /// One that separates or ends something.
    End,
    /// Any other name, which may be a wrapper's.
    Other,
}

/// What a tag may be a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Role {
    Calls,
    Call,
    Arg,
    Results,
    Mark,
    Wrapper,
}

impl Local {
    fn named(name: &[u8]) -> Self {
        let known = NAMES
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map_or(Self::Other, |(_, local)| *local)
    }

    /// Whether a call of the contract has it, so that it may have a nonce.
    fn may_have_mark(self) -> bool {
        matches!(
            self,
            Self::Calls | Self::Call | Self::Arg | Self::Results | Self::Result
        )
    }

    pub(in super::super) fn is_argument(self) -> bool {
        matches!(
            self,
            Self::Arg | Self::Argument | Self::Parameter | Self::Param
        )
    }
}

const NAMES: [(&[u8], Local); 24] = [
    (b"calls", Local::Calls),
    (b"call", Local::Call),
    (b"arg", Local::Arg),
    (b"results", Local::Results),
    (b"result", Local::Result),
    (b"function_calls", Local::FunctionCalls),
    (b"tool_calls", Local::ToolCalls),
    (b"toolcalls", Local::ToolCalls),
    (b"tools", Local::Tools),
    (b"tool_call", Local::ToolCall),
    (b"toolcall", Local::ToolCall),
    (b"function_call", Local::FunctionCall),
    (b"functioncall", Local::FunctionCall),
    (b"function", Local::Function),
    (b"invoke", Local::Invoke),
    (b"tool", Local::Tool),
    (b"tool_use", Local::ToolUse),
    (b"parameter", Local::Parameter),
    (b"param", Local::Param),
    (b"argument", Local::Argument),
    (b"tool_response", Local::ToolResponse),
    (b"tool_result", Local::ToolResponse),
    (b"tool_outputs_begin", Local::ToolResponse),
    (b"tool_output_begin", Local::ToolResponse),
];

impl Tag {
    pub(in super::super) fn role(&self) -> Role {
        match self.local {
            Local::Calls | Local::FunctionCalls | Local::ToolCalls => Role::Calls,
            Local::Call | Local::Invoke => Role::Call,
            Local::ToolCall
            | Local::FunctionCall
            | Local::Function
            | Local::Tool
            | Local::ToolUse => {
                // With a name it is the call, without one it is around it.
                if self.name.is_some() {
                    Role::Call
                } else {
                    Role::Calls
                }
            }
            Local::Arg | Local::Argument | Local::Parameter | Local::Param => Role::Arg,
            Local::Results | Local::Result | Local::ToolResponse => Role::Results,
            Local::Begin | Local::End => Role::Mark,
            Local::Tools | Local::Other => Role::Wrapper,
        }
    }

    /// A part of the contract's own grammar, with the conversation's own nonce.
    pub(in super::super) fn is_own(&self) -> bool {
        self.mark == Mark::Own
    }
}

/// Reads the tag at the beginning of `bytes`, which is a `<`. With `is_end` nothing comes behind `bytes`.
pub(in super::super) fn lex(bytes: &[u8], nonce: &[u8], is_end: bool) -> Lexed {
    // Cut at the longest tag, so that a `<` in prose is waited for no longer than that.
    let bounded = bytes.get(..MOST_TAG).unwrap_or(bytes);
    let mut cursor = Cursor::new(bounded);
    match tag(&mut cursor, nonce) {
        Some(Ok(tag)) => Lexed::Tag(tag),
        Some(Err(NoTag)) => Lexed::Nothing,
        // As long as any tag and still not over: it is none.
        None if is_end || bounded.len() == MOST_TAG => Lexed::Nothing,
        None => Lexed::More,
    }
}

pub(in super::super) struct NoTag;

/// `None`: the bytes ended.
fn tag(cursor: &mut Cursor<'_>, nonce: &[u8]) -> Option<Result<Tag, NoTag>> {
    if !cursor.passes(b"<") {
        return Some(Err(NoTag));
    }
    let xtml = cursor.xtml_bracket()?;
    let mut is_closer = xtml == Some(true);
    let mut prefix = if xtml.is_some() {
        Prefix::Xtml
    } else {
        Prefix::Plain
    };
    if xtml.is_none() {
        cursor.skip_blanks();
        is_closer = cursor.slash()?;
        cursor.skip_blanks();
        if cursor.skip_prefix()? {
            prefix = Prefix::Marked;
        }
    }
    cursor.skip_blanks();
    let local_name = cursor.local(MOST_LOCAL)?;
    // A name that fills all the room is longer than any that somebody gives a meaning to.
    if local_name.is_empty() || local_name.len() >= MOST_LOCAL {
        return Some(Err(NoTag));
    }
    let mut local = Local::named(&local_name);
    let is_of_tools = memchr::memmem::find(&local_name, b"tool").is_some();
    // Only between bars or behind a namespace: `<toolbox_begin>` in prose is none.
    if local == Local::Other && prefix == Prefix::Marked && is_of_tools {
        if local_name.ends_with(b"_begin") {
            local = Local::Begin;
        } else if local_name.ends_with(b"_end") || local_name.ends_with(b"_sep") {
            local = Local::End;
        }
    }
    let mut tag = Tag {
        local,
        prefix,
        mark: Mark::None,
        is_closer,
        is_empty: false,
        name: None,
        has_attributes: false,
        is_text: None,
        length: 0,
    };
    // Marks are ours alone, also behind bars; in Kimi's form `-k7q2` would be part of a name.
    if local.may_have_mark() && prefix != Prefix::Xtml {
        tag.mark = cursor.mark(nonce)?;
    }
    match cursor.peek()? {
        b'=' if !is_closer && local != Local::Other => {
            cursor.pass(1);
            tag.name = Some(cursor.bare_name()?);
            tag.has_attributes = true;
        }
        // The name goes on: another one than it looked like.
        // `<call-ing>`, `<args>`: names that merely begin like ours.
        byte if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'.') => {
            return Some(Err(NoTag));
        }
        _ => {}
    }
    attributes(cursor, tag)
}

fn attributes(cursor: &mut Cursor<'_>, mut tag: Tag) -> Option<Result<Tag, NoTag>> {
    loop {
        cursor.skip_blanks();
        if let Some(end) = cursor.tag_end(tag.prefix == Prefix::Xtml)? {
            tag.is_empty = end.is_empty;
            tag.length = cursor.at();
            return Some(Ok(tag));
        }
        // The bracket was left out: forgiven where the tag has all that it needs.
        // A new tag begins where this one should have ended.
        if cursor.peek()? == b'<' && tag.prefix != Prefix::Xtml {
            let is_whole = tag.is_closer || tag.name.is_some();
            tag.length = cursor.at();
            return Some(if is_whole && tag.local != Local::Other {
                Ok(tag)
            } else {
                Err(NoTag)
            });
        }
        // Prose and other markup: nobody wants it, so nobody waits for its end.
        if tag.local == Local::Other {
            return Some(Err(NoTag));
        }
        let Some((key, value)) = cursor.attribute()? else {
            return Some(Err(NoTag));
        };
        tag.has_attributes = true;
        match key.as_slice() {
            // The first counts, as with any attribute that comes twice.
            b"name" | b"tool" | b"key" | b"function" if tag.name.is_none() => {
                tag.name = Some(value)
            }
            // DeepSeek's `string="false"` and Qwen's `type=` say the same.
            b"string" => tag.is_text = Some(value.eq_ignore_ascii_case("true")),
            b"type" => tag.is_text = Some(value.eq_ignore_ascii_case("string")),
            _ => {}
        }
    }
}

/// Whether `bytes` begins with a tag of the conversation's own, as far as its nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Own {
    Yes,
    No,
    /// It may become one; so many characters of the nonce are there.
    Maybe(usize),
}

/// What stands behind the slash, the blanks and the bars at the beginning of a tag; `None`: nothing yet.
fn behind_prefix(mut rest: &[u8]) -> Option<&[u8]> {
    const WIDE_BAR: &[u8] = "｜".as_bytes();
    // Not so many that prose would wait for long.
    for _ in 0..MOST_PREFIX {
        rest = match rest {
            [] => return None,
            [byte, after @ ..]
                if byte.is_ascii_whitespace() || matches!(byte, b'/' | b'\\' | b'|') =>
            {
                after
            }
            _ if rest.len() < WIDE_BAR.len() && WIDE_BAR.starts_with(rest) => return None,
            _ => match rest.strip_prefix(WIDE_BAR) {
                Some(after) => after,
                None => break,
            },
        };
    }
    (!rest.is_empty()).then_some(rest)
}

/// Looks for a tag with the conversation's nonce at the beginning of `bytes`, which is a `<`. With `is_end` nothing comes
/// behind `bytes`.
pub(in super::super) fn own(bytes: &[u8], nonce: &[u8]) -> Own {
    let Some(rest) = behind_prefix(bytes.get(1..).unwrap_or_default()) else {
        return Own::Maybe(0);
    };
    for name in [&b"calls-"[..], b"call-", b"arg-", b"results-", b"result-"] {
        let common = rest.len().min(name.len());
        let (head, rest) = rest.split_at(common);
        if !name
            .get(..common)
            .is_some_and(|name| head.eq_ignore_ascii_case(name))
        {
            continue;
        }
        // The name is still torn: any of them may become one of ours.
        if common < name.len() {
            return Own::Maybe(0);
        }
        let common = rest.len().min(nonce.len());
        let (head, rest) = rest.split_at(common);
        if !nonce
            .get(..common)
            .is_some_and(|nonce| head.eq_ignore_ascii_case(nonce))
        {
            return Own::No;
        }
        return match rest.first() {
            None => Own::Maybe(common),
            // The nonce is part of a longer word.
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') => Own::No,
            Some(_) => Own::Yes,
        };
    }
    Own::No
}
