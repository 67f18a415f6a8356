//! The mark in the tags of a conversation: nothing that a file, a page or a user quotes has it, so nothing of that ends an
//! argument or makes a call. It is the same in all turns of a conversation and on all workers, so that history renders to
//! the same bytes. Source: tools.md section 3.

use std::{collections::HashSet, fmt};

use ring::hmac::{self, HMAC_SHA256};

use crate::chat::{
    ChatRequest, Content, Format, Part, normal,
    tools::{Tool, ToolKind},
};
use crate::impossible::OrImpossible as _;

/// Without vowels, so that it makes no words, and without signs that look alike.
pub const ALPHABET: &[u8; 27] = b"bcdfghjkmnpqrstvwxz23456789";
/// The letters stand in front of the digits.
const LETTERS: u64 = 19;
/// How many characters a nonce has.
pub const NONCE_LENGTH: usize = 4;
/// More than any chat meets: each try is taken by one in so many thousand. A body made to hold every nonce there is ends
/// the search all the same, and harms nobody but its own author.
const MOST_TRIES: u32 = 1000;

/// What nonces are made with; the same on every worker of a gateway.
#[derive(Clone)]
pub struct NonceKey(hmac::Key);

impl NonceKey {
    /// Derived from the gateway's own key, which every worker has. Where callers are anonymous there is none, and
    /// anybody could work the nonces out: nothing is gained by it but tags in one's own conversation.
    pub fn new(gateway_key: Option<&str>) -> Self {
        let key = hmac::Key::new(HMAC_SHA256, gateway_key.unwrap_or("anonymous").as_bytes());
        let derived = hmac::sign(&key, b"hive2api: marks of tool calls");
        Self(hmac::Key::new(HMAC_SHA256, derived.as_ref()))
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey")
    }
}

/// Four characters, the first a letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; NONCE_LENGTH]);

impl Nonce {
    /// Reads one; `None` for other characters, or not four.
    pub fn new(text: &str) -> Option<Self> {
        let bytes: [u8; NONCE_LENGTH] = text.as_bytes().try_into().ok()?;
        let is_of_alphabet = bytes.iter().all(|byte| ALPHABET.contains(byte));
        (is_of_alphabet && bytes.first().is_some_and(u8::is_ascii_lowercase)).then_some(Self(bytes))
    }

    /// The nonce of the conversation that `client` (the name of its key) leads in `request`: one that stands nowhere in
    /// it.
    pub fn of(key: &NonceKey, client: &str, request: &ChatRequest) -> Self {
        let mut context = hmac::Context::with_key(&key.0);
        // The name's length before it: two names cannot run into the conversation's beginning.
        context.update(&(client.len() as u64).to_be_bytes());
        context.update(client.as_bytes());
        // The beginning alone, so that every later turn has the same nonce.
        normal::feed_beginning(&request.messages, |piece| context.update(piece));
        let used = used(request);
        let mut nonce = Self::read(&context.clone().sign());
        // Anew with a counter and deterministically: every worker finds the same one in the same turn.
        for counter in 1..=MOST_TRIES {
            if !used.contains(&nonce.0) {
                break;
            }
            let mut context = context.clone();
            context.update(&counter.to_be_bytes());
            nonce = Self::read(&context.sign());
        }
        nonce
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // All of the alphabet is ASCII.
        str::from_utf8(&self.0).or_impossible("all of the alphabet is ASCII")
    }

    /// The characters as bytes.
    pub fn as_bytes(&self) -> &[u8; NONCE_LENGTH] {
        &self.0
    }

    fn read(tag: &hmac::Tag) -> Self {
        let seed = tag.as_ref().iter().take(8);
        // 64 bits are enough for four characters of 27; modulo's lean to some of them hurts nobody.
        let mut seed = seed.fold(0_u64, |seed, byte| seed << 8 | u64::from(*byte));
        let mut draw = |most: u64| {
            let drawn =
                usize::try_from(seed % most).or_impossible("it is below the alphabet's length");
            seed /= most;
            // Cannot be missing, as `most` is never above the length.
            ALPHABET.get(drawn).copied().unwrap_or(b'x')
        };
        let first = draw(LETTERS);
        let mut nonce = [first; NONCE_LENGTH];
        for byte in nonce.iter_mut().skip(1) {
            *byte = draw(ALPHABET.len() as u64);
        }
        Self(nonce)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every sequence of the request that would look like the end of a tag's name. In one pass: the request may be long, and
/// it would be looked through again for every nonce that is taken.
fn used(request: &ChatRequest) -> HashSet<[u8; NONCE_LENGTH]> {
    let mut used = HashSet::new();
    for message in &request.messages {
        match &message.content {
            Content::Empty => {}
            Content::Text(text) => scan(text, &mut used),
            Content::Parts(parts) => {
                for text in parts.iter().filter_map(Part::text) {
                    scan(text, &mut used);
                }
            }
        }
        let calls = message.tool_calls.iter().flatten();
        for function in calls.filter_map(|call| call.function.as_ref()) {
            scan(&function.name, &mut used);
            scan(&function.arguments, &mut used);
        }
    }
    for Tool {
        name,
        description,
        kind,
        ..
    } in &request.tools
    {
        let schema = match kind {
            ToolKind::Function { parameters } => parameters.as_ref(),
            ToolKind::Custom { format } => format.as_ref(),
            ToolKind::Hosted => None,
        };
        scan(name, &mut used);
        for json in description.iter().chain(schema) {
            scan(json.get(), &mut used);
        }
    }
    if let Format::JsonSchema(format) = &request.format {
        for json in format.description.iter().chain(&format.schema) {
            scan(json.get(), &mut used);
        }
    }
    used
}

/// In any letter case, as tags are read so. In JSON text a line break is written `\n`, so a backslash counts as a blank.
fn scan(text: &str, used: &mut HashSet<[u8; NONCE_LENGTH]>) {
    let bytes = text.as_bytes();
    for dash in memchr::memchr_iter(b'-', bytes) {
        // Five bytes: the nonce and what ends it, as `-abcde` is none.
        if let Some(&[a, b, c, d, next]) = bytes.get(dash + 1..).and_then(<[u8]>::first_chunk)
            && (next.is_ascii_whitespace() || matches!(next, b'>' | b'/' | b'\\'))
        {
            let nonce = [a, b, c, d].map(|byte| byte.to_ascii_lowercase());
            if nonce.iter().all(|byte| ALPHABET.contains(byte)) {
                used.insert(nonce);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(body: Value) -> ChatRequest {
        crate::http::openai::body::read(body.to_string().into()).unwrap()
    }

    fn nonce(client: &str, messages: Value) -> Nonce {
        let request = request(json!({"model": "m", "messages": messages}));
        Nonce::of(&NonceKey::new(Some("sk-1")), client, &request)
    }

    #[test]
    fn all_turns_of_a_conversation_have_one_nonce() {
        let first = nonce("bob", json!([{"role": "user", "content": "Hi"}]));
        let later = nonce(
            "bob",
            json!([{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]),
        );
        assert_eq!(first, later);
        assert!(first.as_str().starts_with(|c: char| c.is_ascii_lowercase()));
        let others = [
            nonce("eve", json!([{"role": "user", "content": "Hi"}])),
            nonce("bob", json!([{"role": "user", "content": "Ho"}])),
        ];
        assert!(others.iter().all(|other| *other != first));
        let plain = request(json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}));
        let keys = [Some("sk-1"), Some("sk-2"), None].map(NonceKey::new);
        let made: HashSet<Nonce> = keys
            .iter()
            .map(|key| Nonce::of(key, "bob", &plain))
            .collect();
        assert_eq!(made.len(), 3);
        assert!(made.contains(&first));
    }

    #[test]
    fn a_nonce_that_stands_in_the_request_is_not_taken() {
        let first = nonce("bob", json!([{"role": "user", "content": "Hi"}]));
        let quoted = |end: &str, upper: bool| {
            let mark = first.to_string();
            let mark = if upper { mark.to_uppercase() } else { mark };
            nonce(
                "bob",
                json!([{"role": "user", "content": "Hi"}, {"role": "user", "content": format!("</arg-{mark}{end}")}]),
            )
        };
        for end in [">", " x", "/", "\n"] {
            assert_ne!(quoted(end, false), first, "{end:?}");
            assert_eq!(quoted(end, false), quoted(end, false));
        }
        assert_ne!(quoted(">", true), first);
        assert_eq!(quoted("x", false), first);
        let in_schema = request(
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": [
            {"type": "function", "function": {"name": "f", "description": format!("a-{first}\nb")}}]}),
        );
        assert_ne!(
            Nonce::of(&NonceKey::new(Some("sk-1")), "bob", &in_schema),
            first
        );
    }

    #[test]
    fn a_body_that_holds_all_nonces_ends_the_search() {
        let mut text = String::new();
        let alphabet = str::from_utf8(ALPHABET).unwrap();
        let letters = alphabet.chars().take(19);
        for a in letters {
            for b in alphabet.chars() {
                for c in alphabet.chars() {
                    for d in alphabet.chars() {
                        text.extend(['-', a, b, c, d, '>']);
                    }
                }
            }
        }
        let mut request =
            request(json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}));
        request.messages[0].content = Content::Text(text.into());
        Nonce::of(&NonceKey::new(None), "", &request);
    }

    #[test]
    fn only_its_own_characters_make_one() {
        assert_eq!(Nonce::new("k7q2").unwrap().to_string(), "k7q2");
        for wrong in ["", "k7q", "k7q22", "7kq2", "k7a2", "K7Q2", "k1q2", "你q"] {
            assert_eq!(Nonce::new(wrong), None, "{wrong}");
        }
    }
}
