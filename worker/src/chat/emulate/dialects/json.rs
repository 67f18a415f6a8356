//! Calls as JSON: `{"name": …, "arguments": {…}}` in its variants, one or a list (D3, D6).

use super::super::{
    json::{Scan, is_of_word, string},
    schema::Offered,
    tree::Tree,
};

const NAMES: [&str; 5] = ["name", "tool", "function", "tool_name", "function_name"];
const ARGUMENTS: [&str; 6] = [
    "arguments",
    "parameters",
    "args",
    "input",
    "params",
    "tool_input",
];
const LISTS: [&str; 3] = ["tool_calls", "function_calls", "calls"];
/// What else stands beside a name; ids of the model's own are worth nothing.
const BESIDE: [&str; 5] = ["id", "type", "index", "call_id", "tool_call_id"];
/// `{"tool_calls":[{"function":{…}}]}`
const MOST_LEVELS: usize = 4;

/// What the beginning of some JSON tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Peek {
    /// It is a call of this tool, which is offered.
    Call(String),
    /// It is none.
    No,
    /// It ends too early to know.
    More,
}

/// Whether JSON that began is a call of an offered tool. What is known of a beginning stays so, whatever follows. If the
/// JSON stands `alone`, the name is not enough: arguments must come as well, and nothing that a call has not.
pub(in super::super) fn peek(json: &str, offered: &Offered, alone: bool) -> Peek {
    let mut peeker = Peeker {
        json,
        at: 0,
        offered,
        alone,
    };
    // What ends early waits; each answer about a beginning must hold for all that could follow.
    peeker.value(0).unwrap_or(Peek::More)
}

struct Peeker<'a> {
    json: &'a str,
    at: usize,
    offered: &'a Offered,
    alone: bool,
}

impl Peeker<'_> {
    /// `None`: the JSON ended.
    fn value(&mut self, level: usize) -> Option<Peek> {
        if level > MOST_LEVELS {
            return Some(Peek::No);
        }
        match self.next()? {
            b'[' => {
                self.at += 1;
                self.value(level + 1)
            }
            b'{' => {
                self.at += 1;
                self.members(level)
            }
            _ => Some(Peek::No),
        }
    }

    fn members(&mut self, level: usize) -> Option<Peek> {
        let (mut found, mut has_arguments) = (None, false);
        loop {
            // Commas are passed in any number: mending them is the reader's business.
            while self.next()? == b',' {
                self.at += 1;
            }
            if self.next()? == b'}' {
                return Some(Peek::No);
            }
            let Some(key) = self.text()? else {
                return Some(Peek::No);
            };
            if self.next()? != b':' {
                return Some(Peek::No);
            }
            self.at += 1;
            let begin = self.next()?;
            // `{"function":{"name":…}}`: the name is inside.
            if LISTS.contains(&key.as_str()) || (begin == b'{' && NAMES.contains(&key.as_str())) {
                return self.value(level + 1);
            }
            if NAMES.contains(&key.as_str()) {
                let name = self
                    .text()?
                    .filter(|name| self.offered.find(name).is_some());
                let Some(name) = name else {
                    return Some(Peek::No);
                };
                found = Some(name);
            } else if ARGUMENTS.contains(&key.as_str()) {
                has_arguments = true;
                // Only as far as it is needed: with a name, that arguments have begun is enough.
                if found.is_none() {
                    self.skip(begin)?;
                }
            } else if BESIDE.contains(&key.as_str()) {
                self.skip(begin)?;
            } else {
                // A member that calls do not have: an object of data with a `name`.
                return Some(Peek::No);
            }
            if let Some(name) = found.take_if(|_| has_arguments || !self.alone) {
                return Some(Peek::Call(name));
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.json.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<u8> {
        let blanks = self
            .rest()
            .iter()
            .position(|byte| !byte.is_ascii_whitespace());
        self.at += blanks?;
        self.rest().first().copied()
    }

    /// A string, or a word without quotes; `Some(None)`: neither.
    fn text(&mut self) -> Option<Option<String>> {
        match string(self.json, self.at) {
            Some(Ok((text, end))) => {
                self.at = end;
                Some(Some(text))
            }
            // It is not closed, so it may go on.
            Some(Err(_)) => None,
            None => {
                let length = self.rest().iter().position(|&byte| !is_of_word(byte))?;
                let word = self.json.get(self.at..self.at + length).unwrap_or_default();
                self.at += length;
                Some((length > 0).then(|| word.to_owned()))
            }
        }
    }

    /// Passes a value.
    fn skip(&mut self, begin: u8) -> Option<()> {
        if matches!(begin, b'{' | b'[') {
            // The value must be whole to be passed, so an early end waits.
            self.at += Scan::default().advance(self.rest())?;
            return Some(());
        }
        if string(self.json, self.at).is_some() {
            return self.text().map(|_| ());
        }
        let end = self
            .rest()
            .iter()
            .position(|byte| matches!(byte, b',' | b'}'))?;
        self.at += end;
        Some(())
    }
}

/// The calls that a value is: their names, and their arguments as they are. `None`: it is something else.
pub(in super::super) fn calls(tree: Tree) -> Option<Vec<(String, Tree)>> {
    let mut calls = Vec::new();
    gather(tree, &mut calls, 0)?;
    (!calls.is_empty()).then_some(calls)
}

fn gather(tree: Tree, calls: &mut Vec<(String, Tree)>, level: usize) -> Option<()> {
    if level > MOST_LEVELS {
        return None;
    }
    let members = match tree {
        Tree::List(elements) => {
            return elements
                .into_iter()
                .try_for_each(|element| gather(element, calls, level + 1));
        }
        Tree::Object(members) => members,
        _ => return None,
    };
    let (mut name, mut arguments) = (None, Tree::Null);
    for (key, value) in members {
        let is_nested = matches!(value, Tree::Object(_) | Tree::List(_));
        if LISTS.contains(&key.as_str()) || (is_nested && NAMES.contains(&key.as_str())) {
            return gather(value, calls, level + 1);
        }
        match value {
            Tree::Text(value) if name.is_none() && NAMES.contains(&key.as_str()) => {
                name = Some(value)
            }
            value if ARGUMENTS.contains(&key.as_str()) => arguments = value,
            _ => {}
        }
    }
    calls.push((name?, arguments));
    Some(())
}
