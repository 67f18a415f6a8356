//! Around the calls: in a block before its first one, and behind each. Source: tools.md section 6, rules 5 to 8.

use super::{
    Decoder, Flavour, Flow, Raw, State,
    fence::MOST_FENCE,
    lex::{Lexed, Local, Own, Role, Tag, lex, own},
    probe::Probe,
    text::ProbeKind,
};
use crate::chat::emulate::{fact::Fact, found::Left};

impl Decoder {
    /// In a block, before its first call: only a call, the block's end and a result count.
    pub(super) fn block(&mut self, is_nameless: bool, is_end: bool, out: &mut Vec<Raw>) -> Flow {
        let rest = self.rest();
        // Only these two can begin anything here; words between the block's opener and its first call are nobody's.
        let Some(found) = memchr::memchr2(b'<', b'{', rest) else {
            self.at = self.buffer.len();
            return self.wait(State::Block { is_nameless });
        };
        self.at += found;
        let rest = self.rest();
        if rest.first() == Some(&b'{') {
            let mut probe = Probe::new(0, ProbeKind::Tag);
            probe.in_block = Some(is_nameless);
            return self.go(State::Probe(probe));
        }
        let nonce = self.options.nonce;
        let tag = match lex(rest, nonce.as_bytes(), is_end) {
            Lexed::More => return self.wait(State::Block { is_nameless }),
            Lexed::Nothing => {
                // A tag of ours that is none was to be a call, or was cut off.
                let is_ours = match own(rest, nonce.as_bytes()) {
                    Own::Yes => true,
                    // At the end a part of the nonce is ours as well: nothing else begins like that.
                    Own::Maybe(of_nonce) => is_end && of_nonce > 0,
                    Own::No => false,
                };
                self.at += 1;
                let is_nameless = is_nameless || is_ours;
                return self.go(State::Block { is_nameless });
            }
            Lexed::Tag(tag) => tag,
        };
        match tag.role() {
            // Another dialect's call only where it names an offered tool: a block may quote markup.
            Role::Call if !tag.is_closer && (tag.is_own() || self.is_offered(&tag)) => {
                self.at += tag.length;
                if tag.name.is_some() {
                    return self.open_call(tag, out);
                }
                // Its arguments may follow, and are nobody's; the model is told so.
                self.go(State::Block { is_nameless: true })
            }
            Role::Calls if tag.is_closer && tag.is_own() => {
                self.at += tag.length;
                self.empty(is_nameless, out);
                self.go(State::After { in_json: false })
            }
            Role::Results if tag.is_own() && !tag.is_closer => {
                self.empty(is_nameless, out);
                self.over(Left::Invented, out)
            }
            role => {
                // One byte on, and not the whole tag: what looked like a tag may hold one.
                self.at += 1;
                // An argument out here belongs to a call whose opener was forgotten or mangled.
                let is_nameless = is_nameless || (role == Role::Arg && !tag.is_closer);
                self.go(State::Block { is_nameless })
            }
        }
    }

    fn empty(&self, is_nameless: bool, out: &mut Vec<Raw>) {
        out.push(if is_nameless {
            Raw::Void(Fact::nameless())
        } else {
            Raw::Empty
        });
    }

    /// Behind a call. Another one may follow; anything else ends the turn.
    pub(super) fn after(&mut self, in_json: bool, is_end: bool, out: &mut Vec<Raw>) -> Flow {
        let after = State::After { in_json };
        let rest = self.rest();
        let Some(found) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            self.at = self.buffer.len();
            return self.wait(after);
        };
        self.at += found;
        let rest = self.rest();
        // Blanks behind a call are nothing; the first other byte decides what the turn is.
        match rest.first() {
            Some(b'<') => {}
            // The fence around a block vanishes with it: its marks, and a language behind them.
            Some(&mark @ (b'`' | b'~')) => {
                let marks = rest.iter().take_while(|byte| **byte == mark).count();
                let word = rest.iter().skip(marks);
                let word = word.take_while(|byte| byte.is_ascii_alphanumeric()).count();
                let is_long = marks + word > MOST_FENCE;
                // The word may go on, as may the marks: neither is settled before another byte is there.
                if marks + word == rest.len() && !is_end && !is_long {
                    return self.wait(after);
                }
                // One or two are code within a line: words behind the calls, which end the turn.
                if marks < 3 || is_long {
                    return self.behind(out);
                }
                self.at += marks + word;
                return self.go(after);
            }
            Some(b',' | b';') if in_json => {
                self.at += 1;
                return self.go(after);
            }
            Some(b'{') if in_json => {
                let mut probe = Probe::new(0, ProbeKind::Tag);
                probe.is_after = true;
                return self.go(State::Probe(probe));
            }
            // A list of calls of another template behind one of ours.
            Some(b'[') => {
                let mut probe = Probe::new(0, ProbeKind::Bracketed);
                probe.is_after = true;
                return self.go(State::Probe(probe));
            }
            _ => return self.behind(out),
        }
        let nonce = self.options.nonce;
        let nonce = nonce.as_bytes();
        let tag = match lex(rest, nonce, is_end) {
            Lexed::More => return self.wait(after),
            // Our nonce, but no tag that can be read: a further call was meant.
            Lexed::Nothing if own(rest, nonce) == Own::Yes => {
                self.at += 1;
                return self.go(State::Block { is_nameless: true });
            }
            // The end cut a tag off: nothing of ours may be seen, and nothing is lost.
            Lexed::Nothing if is_end => return self.wait(State::Done),
            Lexed::Nothing => return self.behind(out),
            Lexed::Tag(tag) => tag,
        };
        self.behind_tag(tag, in_json, out)
    }

    fn behind_tag(&mut self, tag: Tag, in_json: bool, out: &mut Vec<Raw>) -> Flow {
        match tag.role() {
            Role::Results => match self.options.flavour {
                Flavour::Answer => self.over(Left::Invented, out),
                Flavour::Thoughts => self.behind(out),
            },
            Role::Call | Role::Calls | Role::Wrapper | Role::Arg if tag.is_closer => {
                self.at += tag.length;
                // Behind the closer of a call the tags around it are still open.
                self.go(State::After { in_json })
            }
            // Marks of a template have no common closer: between two of them JSON may go on.
            Role::Mark if tag.local == Local::End => {
                self.at += tag.length;
                self.go(State::After { in_json: true })
            }
            // With our nonce it is a call whatever stood before it, so no probe is needed.
            Role::Call | Role::Calls | Role::Arg if tag.is_own() => self.open(Some(tag), out),
            Role::Call | Role::Calls | Role::Wrapper | Role::Mark
                if !tag.has_attributes || tag.name.is_some() =>
            {
                let mut probe = Probe::new(0, ProbeKind::Tag);
                probe.is_after = true;
                self.go(State::Probe(probe))
            }
            _ => self.behind(out),
        }
    }

    /// Something stands behind the calls that is none. It is decoration or an invented result. Source: tools.md section 6,
    /// rule 6.
    pub(super) fn behind(&mut self, out: &mut Vec<Raw>) -> Flow {
        match self.options.flavour {
            Flavour::Answer => self.over(Left::Decoration, out),
            Flavour::Thoughts => {
                // Thoughts go on as a text in the middle of a line, so that no fence or indent is taken over from
                // before the call.
                self.place.indent = None;
                self.place.fence = None;
                self.looked = 0;
                self.joint.cut();
                self.go(State::Text)
            }
        }
    }
}
