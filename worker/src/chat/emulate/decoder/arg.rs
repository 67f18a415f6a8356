//! An argument of a call in tags: where it begins, and which closer ends it. Source: tools.md section 6, rules 4 and 5.

use super::{
    Decoder, Flow, MOST_CALL, Raw, State,
    call::OpenCall,
    lex::{Lexed, Local, Mark, Prefix, Role, Tag, lex},
};
use crate::chat::emulate::{
    ladder::{RawArg, Said, is_argument},
    schema::OfferedTool,
};

/// An argument whose opener has come. Places are in the buffer.
#[derive(Debug)]
pub(super) struct OpenArg {
    pub(super) name: String,
    local: Local,
    prefix: Prefix,
    mark: Mark,
    said: Said,
    from: usize,
    looked: usize,
    closer: Option<Closer>,
}

/// What may end an argument, and waits for what follows it.
#[derive(Debug)]
struct Closer {
    /// Where the value would end.
    value_end: usize,
    /// Where the call would go on: behind an argument's own closer, else before the tag that implies it.
    resume: usize,
    /// Up to here only blanks follow the tag.
    follow: usize,
    kind: CloserKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloserKind {
    Arg,
    /// An argument's closer of ours without our nonce: only what has it may follow.
    Mangled,
    Call,
    Calls,
}

impl OpenArg {
    pub(super) fn moved(&mut self, by: usize) {
        self.from -= by;
        self.looked -= by;
        if let Some(closer) = &mut self.closer {
            closer.value_end -= by;
            closer.resume -= by;
            closer.follow -= by;
        }
    }
}

impl Decoder {
    pub(super) fn open_arg(&mut self, mut call: Box<OpenCall>, tag: Tag) -> Flow {
        call.is_stray = false;
        let Some(name) = tag.name else {
            call.is_broken = true;
            return self.go(State::Call(call));
        };
        let said = match tag.is_text {
            None => Said::Nothing,
            Some(true) => Said::Text,
            Some(false) => Said::Json,
        };
        if tag.is_empty {
            call.args.push(RawArg {
                name,
                value: String::new(),
                said,
            });
            return self.go(State::Call(call));
        }
        let arg = OpenArg {
            name,
            local: tag.local,
            prefix: tag.prefix,
            mark: tag.mark,
            said,
            from: self.at,
            looked: self.at,
            closer: None,
        };
        self.go(State::Arg(call, arg))
    }

    /// Within an argument.
    pub(super) fn arg(
        &mut self,
        call: Box<OpenCall>,
        mut arg: OpenArg,
        is_end: bool,
        out: &mut Vec<Raw>,
    ) -> Flow {
        let nonce = self.options.nonce;
        let nonce = nonce.as_bytes();
        let bytes = self.buffer.as_bytes();
        // Borrows the buffer only: `arg` and `call` belong to nobody else while it runs.
        let found = loop {
            if let Some(closer) = &mut arg.closer {
                let after = bytes.get(closer.follow..).unwrap_or_default();
                let blanks = after.iter().position(|byte| !byte.is_ascii_whitespace());
                // Kept, so that many blanks behind a closer are passed once, however the pieces fall.
                closer.follow += blanks.unwrap_or(after.len());
                let after = bytes.get(closer.follow..).unwrap_or_default();
                let counts = match after.first() {
                    // The end of the answer follows.
                    None if is_end => closer.kind != CloserKind::Mangled,
                    None => break None,
                    Some(b'<') => match lex(after, nonce, is_end) {
                        Lexed::More => break None,
                        Lexed::Nothing => false,
                        Lexed::Tag(tag) => may_follow(closer.kind, &tag, &call, &arg),
                    },
                    Some(_) => false,
                };
                if counts {
                    break arg.closer.take();
                }
                // It was content: the search goes on behind it, where `looked` stands.
                arg.closer = None;
            }
            let rest = bytes.get(arg.looked..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'<', rest) else {
                arg.looked = bytes.len();
                break None;
            };
            let at = arg.looked + found;
            // Up to here all is content, also where the tag is still torn: it is looked at again from here.
            arg.looked = at;
            let rest = bytes.get(at..).unwrap_or_default();
            match lex(rest, nonce, is_end) {
                Lexed::More => break None,
                Lexed::Nothing => arg.looked = at + 1,
                Lexed::Tag(tag) => {
                    arg.looked = at + 1;
                    let starts_line = || starts_line(bytes.get(arg.from..at).unwrap_or_default());
                    let tool = call.tool.and_then(|at| self.options.offered.tools.get(at));
                    // The search runs backwards within the value only, and only for tags that could imply its end.
                    if is_implied(&tag, &call, &arg, tool, &starts_line)
                        && (tag.role() != Role::Call || tag.is_own() || self.is_offered(&tag))
                    {
                        break Some(Closer {
                            value_end: at,
                            resume: at,
                            follow: at,
                            kind: CloserKind::Arg,
                        });
                    }
                    arg.closer = closer_kind(&tag, &call, &arg).map(|kind| Closer {
                        value_end: at,
                        resume: match kind {
                            CloserKind::Arg | CloserKind::Mangled => at + tag.length,
                            CloserKind::Call | CloserKind::Calls => at,
                        },
                        follow: at + tag.length,
                        kind,
                    });
                }
            }
        };
        // What a waiting closer has behind it counts as well: blanks could go on for ever.
        let size = found.as_ref().map_or(bytes.len(), |closer| closer.follow) - arg.from;
        if call.bytes + size > MOST_CALL {
            out.push(Raw::TooLarge);
            return self.wait(State::Done);
        }
        match found {
            None => self.wait(State::Arg(call, arg)),
            Some(closer) => self.close_arg(call, arg, &closer),
        }
    }

    fn close_arg(&mut self, mut call: Box<OpenCall>, arg: OpenArg, closer: &Closer) -> Flow {
        let value = self
            .buffer
            .get(arg.from..closer.value_end)
            .unwrap_or_default();
        call.args.push(RawArg {
            name: arg.name,
            value: value.to_owned(),
            said: arg.said,
        });
        call.bytes += closer.resume - arg.from;
        self.at = closer.resume;
        self.go(State::Call(call))
    }
}

/// Whether what follows these bytes of a value starts a line. In front of the value stands its opener; whether that is still
/// in the buffer depends on the pieces, so it is not looked at.
fn starts_line(value: &[u8]) -> bool {
    // Backwards over blanks only: the last line of the value, not all of it.
    let mut blanks = value
        .iter()
        .rev()
        .skip_while(|byte| matches!(byte, b' ' | b'\t'));
    blanks.next() == Some(&b'\n')
}

/// Whether a tag ends an open argument by itself: the opener of a call, or of an argument that is not given yet.
fn is_implied(
    tag: &Tag,
    call: &OpenCall,
    arg: &OpenArg,
    tool: Option<&OfferedTool>,
    starts_line: &dyn Fn() -> bool,
) -> bool {
    let Some(name) = tag.name.as_deref().filter(|_| !tag.is_closer) else {
        return false;
    };
    match tag.role() {
        // With our nonce it can be nothing else; in another dialect it may be content, unless it stands like a call.
        Role::Call => {
            tag.local == call.local
                && tag.prefix == call.prefix
                && call.has_mark_of(tag)
                && (tag.is_own() || starts_line())
        }
        Role::Arg => {
            tag.local == arg.local
                && tag.prefix == arg.prefix
                && (tag.mark == arg.mark || tag.is_own())
                // Twice the same name is content: values are told once.
                && name != arg.name
                && call.args.iter().all(|given| given.name != name)
                && starts_line()
                // An unknown name is more likely markup in a text than an argument.
                && tool.is_some_and(|tool| is_argument(name, &tool.params))
        }
        _ => false,
    }
}

/// What kind of closer a tag within an argument is, if it is one at all.
fn closer_kind(tag: &Tag, call: &OpenCall, arg: &OpenArg) -> Option<CloserKind> {
    if !tag.is_closer {
        return None;
    }
    if tag.local.is_argument() {
        let is_alike = tag.local == arg.local && tag.prefix == arg.prefix;
        if is_alike && (tag.mark == arg.mark || tag.is_own()) {
            // A mark that another call uses is no mark of this one, unless it is ours.
            return Some(CloserKind::Arg);
        }
        return (is_alike && arg.mark == Mark::Own).then_some(CloserKind::Mangled);
    }
    if tag.prefix != call.prefix || !call.has_mark_of(tag) {
        return None;
    }
    if tag.local == call.local {
        return Some(CloserKind::Call);
    }
    (tag.role() == Role::Calls || is_xtml_tools(tag)).then_some(CloserKind::Calls)
}

fn is_xtml_tools(tag: &Tag) -> bool {
    tag.local == Local::Tools && tag.prefix == Prefix::Xtml
}

/// Whether a tag may follow a closer, so that the closer counts. Source: tools.md section 6, rule 4.
fn may_follow(kind: CloserKind, tag: &Tag, call: &OpenCall, arg: &OpenArg) -> bool {
    let is_own_kind = tag.prefix == call.prefix
        && match arg.mark {
            // A closer with our nonce is no content, so what follows it may be mangled.
            Mark::Own if kind == CloserKind::Arg => true,
            _ => call.has_mark_of(tag) || tag.mark == arg.mark,
        };
    if !is_own_kind || (kind == CloserKind::Mangled && !tag.is_own()) {
        return false;
    }
    // Models close a call of ours with the plain name now and then.
    let is_call = tag.local == call.local || (arg.mark == Mark::Own && tag.local == Local::Call);
    let is_calls = tag.role() == Role::Calls || is_xtml_tools(tag);
    let opens_call = is_call && !tag.is_closer && tag.name.is_some();
    let closes_calls = is_calls && tag.is_closer && !is_call;
    let opens_calls = is_calls && !tag.is_closer && !is_call;
    match kind {
        CloserKind::Arg | CloserKind::Mangled => {
            let opens_arg = tag.local.is_argument() && !tag.is_closer && tag.name.is_some();
            opens_arg || (is_call && tag.is_closer) || opens_call || closes_calls
        }
        CloserKind::Call => opens_call || closes_calls || opens_calls,
        CloserKind::Calls => opens_calls,
    }
}
