//! What may be a call in another dialect, until it is known whether it is one of an offered tool. If it is none, it is
//! words after all. Source: tools.md section 7.

use super::{
    Decoder, Flow, MOST_CALL, Raw, State,
    json::OpenJson,
    lex::{Lexed, Local, Role, Tag, lex},
    text::ProbeKind,
};
use crate::chat::emulate::{
    dialects::{
        json::{Peek, calls, peek},
        marks::{Head, bracketed, head},
    },
    fact::Fact,
    found::{Dialect, End},
    json::{Scan, read},
    ladder::{Body, RawCall},
};
use crate::impossible::OrImpossible as _;

const BRACKETED: &str = "[TOOL_CALLS]";
/// Most tags around a call.
const MOST_WRAPPERS: usize = 4;
/// Most blanks between them.
const MOST_GAP: usize = 64;
/// How long JSON is held before it has shown that it is a call. Source: tools.md section 7, D6.
const MOST_UNKNOWN: usize = 64 << 10;
/// JSON is looked at again when it has doubled, and always while it is as short as this.
const SHORT: usize = 256;

/// A possible call.
#[derive(Debug)]
pub(super) struct Probe {
    /// Where it begins, behind the blanks that go with it.
    start: usize,
    kind: ProbeKind,
    /// It stands behind a call: if it is none, the turn is over.
    pub(super) is_after: bool,
    /// It stands in a block of ours (which has or has not a nameless call).
    pub(super) in_block: Option<bool>,
    /// The JSON that it turned out to be, if its name is still unknown.
    json: Option<Json>,
}

#[derive(Debug)]
struct Json {
    /// Behind the probe's beginning.
    from: usize,
    scan: Scan,
    scanned: usize,
    /// Where it ends.
    end: Option<usize>,
    /// How much of it was looked at.
    peeked: usize,
    /// What it calls, once that is known.
    name: Option<String>,
}

/// What the tags at the beginning turn out to be.
enum Opened {
    Call(Tag, usize),
    Json(usize),
    Named(String, usize),
    Bare(String, usize),
    No,
    More,
}

impl Probe {
    pub(super) fn new(start: usize, kind: ProbeKind) -> Self {
        Self {
            start,
            kind,
            is_after: false,
            in_block: None,
            json: None,
        }
    }
}

impl Decoder {
    pub(super) fn probe(&mut self, mut probe: Probe, is_end: bool, out: &mut Vec<Raw>) -> Flow {
        let text = self
            .buffer
            .get(self.at + probe.start..)
            .or_impossible("a probe begins within the buffer");
        if probe.json.is_none() {
            let begin = probe.start;
            match self.opened(text, probe.kind, is_end) {
                Opened::More => return self.wait(State::Probe(probe)),
                Opened::No => return self.reject(&probe, out),
                Opened::Call(tag, at) => {
                    // The name decides, not the form: prose about calls names other tools, or none.
                    if !self.is_offered(&tag) {
                        return self.reject(&probe, out);
                    }
                    self.at += begin + at + tag.length;
                    return self.open_call(tag, out);
                }
                Opened::Bare(name, at) if self.options.offered.find(&name).is_some() => {
                    self.at += begin + at;
                    out.push(Raw::Call(RawCall {
                        dialect: Dialect::Marks,
                        name,
                        body: Body::Args(Vec::new()),
                    }));
                    return self.go(State::After { in_json: true });
                }
                Opened::Named(name, at) if self.options.offered.find(&name).is_some() => {
                    self.at += begin + at;
                    let json = OpenJson::new(Dialect::Marks, name, true, self.at);
                    return self.go(State::Json(json));
                }
                Opened::Bare(..) | Opened::Named(..) => return self.reject(&probe, out),
                Opened::Json(from) => {
                    probe.json = Some(Json {
                        from,
                        scan: Scan::default(),
                        scanned: 0,
                        end: None,
                        peeked: 0,
                        name: None,
                    });
                }
            }
        }
        self.look_at_json(probe, is_end, out)
    }

    fn look_at_json(&mut self, mut probe: Probe, is_end: bool, out: &mut Vec<Raw>) -> Flow {
        let is_bare = matches!(probe.kind, ProbeKind::Bare { .. });
        let text = self
            .buffer
            .get(self.at + probe.start..)
            .or_impossible("a probe begins within the buffer");
        let Some(json) = &mut probe.json else {
            return self.reject(&probe, out);
        };
        let text = text.get(json.from..).unwrap_or_default();
        if json.end.is_none() {
            let new = text.as_bytes().get(json.scanned..).unwrap_or_default();
            let end = json.scan.advance(new);
            json.end = end.map(|end| json.scanned + end);
            json.scanned = text.len();
        }
        let known = json.end.unwrap_or(text.len());
        if json.name.is_none() {
            // Enough is known when all of it is there, when nothing more comes, or when nobody should wait any longer.
            let is_last = json.end.is_some() || is_end || known >= MOST_UNKNOWN;
            // Doubling: to look at growing JSON from its start costs a constant part of its length in all.
            if !is_last && known > SHORT && known < 2 * json.peeked {
                return self.wait(State::Probe(probe));
            }
            json.peeked = known;
            let mut most = known.min(MOST_UNKNOWN);
            // Backwards, at most three bytes: the bound may fall within a character.
            while !text.is_char_boundary(most) {
                most -= 1;
            }
            match peek(
                text.get(..most).unwrap_or_default(),
                &self.options.offered,
                is_bare,
            ) {
                Peek::Call(name) => json.name = Some(name),
                Peek::More if !is_last => return self.wait(State::Probe(probe)),
                Peek::More | Peek::No => return self.reject(&probe, out),
            }
        }
        if is_bare {
            return self.bare(probe, is_end, out);
        }
        let name = json.name.take().unwrap_or_default();
        let dialect = match probe.kind {
            ProbeKind::Bracketed => Dialect::Marks,
            ProbeKind::Tag | ProbeKind::Bare { .. } => Dialect::TaggedJson,
        };
        self.at += probe.start + json.from;
        let json = OpenJson::new(dialect, name, false, self.at);
        self.go(State::Json(json))
    }

    /// JSON that is a call, and the whole answer so far.
    fn bare(&mut self, mut probe: Probe, is_end: bool, out: &mut Vec<Raw>) -> Flow {
        let text = self.buffer.get(self.at + probe.start..).unwrap_or_default();
        let Some(json) = &mut probe.json else {
            return self.reject(&probe, out);
        };
        let text = text.get(json.from..).unwrap_or_default();
        if json.end.unwrap_or(text.len()) > MOST_CALL {
            out.push(Raw::TooLarge);
            return self.wait(State::Done);
        }
        let Some(end) = json.end else {
            if is_end {
                // Whether it is whole is decided as of other JSON.
                let name = json.name.take().unwrap_or_default();
                self.at += probe.start + json.from;
                let mut json = OpenJson::new(Dialect::BareJson, name, false, self.at);
                json.rescan(self.rest());
                return self.wait(State::Json(json));
            }
            return self.wait(State::Probe(probe));
        };
        let (json_text, behind) = text
            .split_at_checked(end)
            .or_impossible("its end is a part of what was scanned");
        let behind = behind.trim_start();
        let behind = match probe.kind {
            // The fence around it, if it opened with one.
            ProbeKind::Bare { json: 1.. } => behind.trim_start_matches(['`', '~']),
            _ => behind,
        };
        if !behind.trim_start().is_empty() {
            // Something stands behind it, so it is not the whole answer: an example in a text.
            return self.reject(&probe, out);
        }
        if !is_end {
            return self.wait(State::Probe(probe));
        }
        let offered = &self.options.offered;
        // Read only at the end: until then it need not even be JSON of the strict kind.
        let found = read(json_text).ok().and_then(|reading| calls(reading.tree));
        let found =
            found.filter(|calls| calls.iter().all(|(name, _)| offered.find(name).is_some()));
        let name = json.name.take().unwrap_or_default();
        match found {
            Some(calls) => out.extend(calls.into_iter().map(|(name, arguments)| {
                Raw::Call(RawCall {
                    dialect: Dialect::BareJson,
                    name,
                    body: Body::Tree(arguments),
                })
            })),
            // It can be read and is no call of ours: an answer in JSON.
            None if read(json_text).is_ok() => return self.reject(&probe, out),
            None => out.push(Raw::Void(Fact::unreadable(
                &name,
                None,
                &"they are not JSON",
            ))),
        }
        self.at = self.buffer.len();
        self.wait(State::Done)
    }

    /// It is no call.
    fn reject(&mut self, probe: &Probe, out: &mut Vec<Raw>) -> Flow {
        if let Some(is_nameless) = probe.in_block {
            self.at += 1;
            return self.go(State::Block { is_nameless });
        }
        if probe.is_after {
            return self.behind(out);
        }
        self.looked = match probe.kind {
            // Its fence, if it has one, is looked at as any other.
            ProbeKind::Bare { .. } => 0,
            ProbeKind::Tag | ProbeKind::Bracketed => probe.start + 1,
        };
        self.place.is_start = false;
        self.go(State::Text)
    }

    fn opened(&self, text: &str, kind: ProbeKind, is_end: bool) -> Opened {
        let nonce = self.options.nonce;
        let nonce = nonce.as_bytes();
        match kind {
            ProbeKind::Bare { json } => Opened::Json(json),
            ProbeKind::Bracketed if !text.starts_with(BRACKETED) => {
                // Only behind a call it is not known to be more than a bracket.
                if BRACKETED.starts_with(text) && !is_end {
                    Opened::More
                } else {
                    Opened::No
                }
            }
            ProbeKind::Bracketed => of_head(bracketed(text, is_end), 0),
            ProbeKind::Tag => tags(text, nonce, is_end),
        }
    }

    /// The end of an answer within JSON. Source: tools.md section 8, step 4: brackets may be missing at a clean end, but
    /// not outside of it, and never the end of a string.
    pub(super) fn end_in_json(&mut self, json: OpenJson, end: End, out: &mut Vec<Raw>) {
        let text = self.buffer.get(json.from()..).unwrap_or_default();
        // Read for its form only: `tell` reads it again, which happens once an answer.
        if end == End::Clean && !json.is_in_string() && json.has_arguments(text) {
            json.tell(text, out);
        } else {
            out.push(Raw::Void(Fact::void(Some(json.name()), None)));
        }
    }
}

fn of_head(head: Head, at: usize) -> Opened {
    match head {
        Head::Named(name, json) => Opened::Named(name, at + json),
        Head::Bare(name, end) => Opened::Bare(name, at + end),
        Head::Json(json) => Opened::Json(at + json),
        Head::No => Opened::No,
        Head::More => Opened::More,
    }
}

/// Reads the tags around a call, up to the call.
fn tags(text: &str, nonce: &[u8], is_end: bool) -> Opened {
    let bytes = text.as_bytes();
    let (mut at, mut may_be_json) = (0, true);
    // `function_calls`, `invoke`, a namespace and one more; deeper nesting is prose.
    for _ in 0..=MOST_WRAPPERS {
        let rest = bytes.get(at..).unwrap_or_default();
        match rest.first() {
            None if is_end => return Opened::No,
            None => return Opened::More,
            Some(b'{' | b'[') if may_be_json => return Opened::Json(at),
            Some(b'<') => {}
            Some(_) => return Opened::No,
        }
        let tag = match lex(rest, nonce, is_end) {
            Lexed::More => return Opened::More,
            Lexed::Nothing => return Opened::No,
            Lexed::Tag(tag) if tag.is_closer => return Opened::No,
            Lexed::Tag(tag) => tag,
        };
        match tag.role() {
            Role::Call if tag.name.is_some() => return Opened::Call(tag, at),
            Role::Mark if tag.local == Local::Begin => {
                let text = text.get(at..).unwrap_or_default();
                return of_head(head(text, nonce, is_end), at);
            }
            Role::Call | Role::Calls | Role::Wrapper if !tag.is_empty => {
                may_be_json = tag.local != Local::Other;
                at += tag.length;
            }
            _ => return Opened::No,
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let mark = rest.trim_ascii_start();
        if may_be_json && !is_end && matches!(mark, b"`" | b"``") {
            // It may become a fence around JSON.
            return Opened::More;
        }
        let gap = gap(rest, may_be_json);
        // Counted in places, so that it makes no difference in which pieces they came.
        if gap > MOST_GAP {
            return Opened::No;
        }
        at += gap;
    }
    Opened::No
}

/// Blanks, and a fence around JSON.
fn gap(bytes: &[u8], may_be_json: bool) -> usize {
    let blanks = |bytes: &[u8]| {
        bytes
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count()
    };
    let mut gap = blanks(bytes);
    let rest = bytes.get(gap..).unwrap_or_default();
    if may_be_json && rest.starts_with(b"```") {
        let word = rest
            .iter()
            .skip(3)
            .take_while(|byte| byte.is_ascii_alphanumeric());
        gap += 3 + word.count();
        gap += blanks(bytes.get(gap..).unwrap_or_default());
    }
    gap
}
