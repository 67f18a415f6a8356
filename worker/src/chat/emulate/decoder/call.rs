//! A call in tags, between its arguments. Source: tools.md section 6, rule 5, and the table of ends.

use super::{
    Decoder, Flow, MOST_ARGUMENTS, MOST_CALL, Raw, State,
    lex::{Lexed, Local, Mark, Prefix, Role, Tag, lex},
};
use crate::chat::emulate::{
    fact::Fact,
    found::{Dialect, End},
    json::Scan,
    ladder::{Body, RawArg, RawCall},
};
use crate::impossible::OrImpossible as _;

/// A call whose opener has come.
#[derive(Debug)]
pub(super) struct OpenCall {
    pub(super) name: String,
    dialect: Dialect,
    pub(super) local: Local,
    pub(super) prefix: Prefix,
    mark: Mark,
    /// Its tool's place, if it is offered.
    pub(super) tool: Option<usize>,
    pub(super) args: Vec<RawArg>,
    /// An object as its body, in place of arguments.
    json: Option<String>,
    /// Such an object, while it comes.
    scan: Option<Scan>,
    /// How many bytes it has had up to the place in the buffer.
    pub(super) bytes: usize,
    /// It has an argument without a name.
    pub(super) is_broken: bool,
    /// It has had words outside its arguments: what comes behind them is no body.
    has_words: bool,
    /// It has had some since its last argument: a closer behind them ends an argument whose opener is lost.
    pub(super) is_stray: bool,
}

impl OpenCall {
    fn void(&self) -> Raw {
        Raw::Void(Fact::void(Some(&self.name), None))
    }

    pub(super) fn has_mark_of(&self, tag: &Tag) -> bool {
        tag.mark == self.mark || tag.is_own()
    }
}

impl Decoder {
    /// Begins the call of a tag that has a name, behind the tag.
    pub(super) fn open_call(&mut self, tag: Tag, out: &mut Vec<Raw>) -> Flow {
        let name = tag.name.unwrap_or_default();
        let dialect = match (tag.local, tag.mark, tag.prefix) {
            (_, _, Prefix::Xtml) => Dialect::Marks,
            (Local::Call, Mark::Own, _) => Dialect::Canonical,
            (Local::Call, _, Prefix::Plain) => Dialect::Unmarked,
            (Local::Function, ..) => Dialect::Function,
            _ => Dialect::Invoke,
        };
        let call = Box::new(OpenCall {
            tool: self.options.offered.find(&name),
            name,
            dialect,
            local: tag.local,
            prefix: tag.prefix,
            mark: tag.mark,
            args: Vec::new(),
            json: None,
            scan: None,
            bytes: tag.length,
            is_broken: false,
            has_words: false,
            is_stray: false,
        });
        if tag.is_empty {
            return self.close_call(*call, out);
        }
        self.go(State::Call(call))
    }

    /// Between the arguments of a call.
    pub(super) fn call(
        &mut self,
        mut call: Box<OpenCall>,
        is_end: bool,
        out: &mut Vec<Raw>,
    ) -> Flow {
        // Before anything is read: a call that never ends must not fill the memory.
        if call.bytes > MOST_CALL || call.args.len() > MOST_ARGUMENTS {
            out.push(Raw::TooLarge);
            return self.wait(State::Done);
        }
        if call.scan.is_some() {
            return self.body(call);
        }
        let rest = self.rest();
        let Some(found) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            let blanks = rest.len();
            self.pass_in_call(&mut call, blanks);
            return self.wait(State::Call(call));
        };
        self.pass_in_call(&mut call, found);
        let rest = self.rest();
        match rest.first() {
            Some(b'<') => {}
            // Once, and first: braces behind arguments or words are part of something else.
            Some(b'{') if call.args.is_empty() && call.json.is_none() && !call.has_words => {
                call.scan = Some(Scan::default());
                call.json = Some(String::new());
                return self.go(State::Call(call));
            }
            // Between arguments nothing counts but tags.
            // Passed as a whole up to the next tag, so that a stretch of junk costs one search.
            _ => {
                call.has_words = true;
                call.is_stray = true;
                let junk = memchr::memchr(b'<', rest).unwrap_or(rest.len());
                self.pass_in_call(&mut call, junk);
                return self.go(State::Call(call));
            }
        }
        let tag = match lex(rest, self.options.nonce.as_bytes(), is_end) {
            Lexed::More => return self.wait(State::Call(call)),
            // At the end: the call was cut off within a tag.
            // A tag that has neither its end nor a line's: it was going to be one.
            Lexed::Nothing if is_end && memchr::memchr2(b'>', b'\n', rest).is_none() => {
                return self.wait(State::Call(call));
            }
            Lexed::Nothing => {
                self.pass_in_call(&mut call, 1);
                return self.go(State::Call(call));
            }
            Lexed::Tag(tag) => tag,
        };
        match tag.role() {
            Role::Arg if !tag.is_closer => {
                self.pass_in_call(&mut call, tag.length);
                self.open_arg(call, tag)
            }
            Role::Arg => {
                call.is_broken |= call.is_stray;
                self.pass_in_call(&mut call, tag.length);
                self.go(State::Call(call))
            }
            // Out here no tag is content, so any call's closer is this one's.
            Role::Call | Role::Calls
                if tag.is_closer && tag.local != Local::Calls && is_call(&tag, &call) =>
            {
                self.at += tag.length;
                self.close_call(*call, out)
            }
            // Openers out here mean that the closer was forgotten; they are read again behind it.
            Role::Call | Role::Calls | Role::Results | Role::Mark => self.close_call(*call, out),
            Role::Wrapper => {
                self.pass_in_call(&mut call, 1);
                self.go(State::Call(call))
            }
        }
    }

    /// An object in place of arguments. Source: tools.md section 6, rule 5.
    fn body(&mut self, mut call: Box<OpenCall>) -> Flow {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some(scan) = &mut call.scan else {
            return self.go(State::Call(call));
        };
        let end = scan.advance(rest.as_bytes());
        let length = end.unwrap_or(rest.len());
        if let Some(json) = &mut call.json {
            json.push_str(
                rest.get(..length)
                    .or_impossible("a scan reads no further than it was given"),
            );
        }
        self.pass_in_call(&mut call, length);
        if end.is_none() {
            // Back to `call`, which has the one place for saying that it is too large.
            if call.bytes > MOST_CALL {
                return self.go(State::Call(call));
            }
            return self.wait(State::Call(call));
        }
        call.scan = None;
        self.go(State::Call(call))
    }

    fn pass_in_call(&mut self, call: &mut OpenCall, length: usize) {
        self.at += length;
        call.bytes += length;
    }

    /// The call is complete.
    fn close_call(&mut self, call: OpenCall, out: &mut Vec<Raw>) -> Flow {
        if call.is_broken {
            out.push(Raw::Void(Fact::unreadable(
                &call.name,
                None,
                &"an argument has no name",
            )));
            return self.go(State::After { in_json: false });
        }
        let body = match call.json {
            Some(json) => Body::Json(json),
            None => Body::Args(call.args),
        };
        out.push(Raw::Call(RawCall {
            dialect: call.dialect,
            name: call.name,
            body,
        }));
        self.go(State::After { in_json: false })
    }

    /// The answer ended behind a call's opener, outside its arguments. Source: tools.md section 6, the table of ends.
    pub(super) fn end_in_call(&mut self, call: OpenCall, end: End, out: &mut Vec<Raw>) {
        let is_in_tag = !self.rest().is_empty();
        let is_in_body = call.scan.is_some();
        let lacks = self.lacks_required(&call);
        let is_complete = match end {
            // Behind an argument it may lack what it likes: that is for the client to see.
            End::Clean => !call.args.is_empty() || call.json.is_some() || !lacks,
            End::Cut => false,
            End::Broken => !lacks,
        };
        if is_in_tag || is_in_body || !is_complete {
            out.push(call.void());
        } else {
            self.close_call(call, out);
            self.state = State::Done;
        }
    }

    /// Whether an argument is missing that must be there; a body of JSON is not looked into.
    fn lacks_required(&self, call: &OpenCall) -> bool {
        let tool = call.tool.and_then(|at| self.options.offered.tools.get(at));
        let mut required = tool
            .into_iter()
            .flat_map(|tool| &tool.params.props)
            .filter(|prop| prop.is_required);
        let is_given = |name: &str| {
            // A path into it is a part of it: `edits[0].new_text` gives `edits`.
            let is_it = |arg: &RawArg| arg.name == name || arg.name.starts_with(name);
            call.args.iter().any(is_it)
        };
        call.json.is_none() && required.any(|prop| !is_given(&prop.name))
    }

    /// Whether a tag names a tool that is offered.
    pub(super) fn is_offered(&self, tag: &Tag) -> bool {
        let name = tag.name.as_deref();
        name.is_some_and(|name| self.options.offered.find(name).is_some())
    }
}

/// Whether a tag is one of a call's own level, as the call is written.
fn is_call(tag: &Tag, call: &OpenCall) -> bool {
    tag.local == call.local || (tag.role() == Role::Call && tag.prefix == call.prefix)
}
