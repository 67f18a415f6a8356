//! A JSON value as a model or a schema wrote it: members keep their order and numbers their digits, so that what needs no
//! repair leaves as it came.

/// A JSON value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tree {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, in the digits that it was written with.
    Number(Box<str>),
    /// A string, without quotes and escapes.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object. A name may stand twice: the last one counts, as for most readers of JSON.
    Object(Vec<(String, Self)>),
}

impl Tree {
    /// The member of this name, if this is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        // From the end: of two of a name the last counts.
        let found = members.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements; none if this is no list.
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::List(elements) => elements,
            _ => &[],
        }
    }

    /// The members; none if this is no object.
    pub fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// A number that counts something.
    pub fn number(number: usize) -> Self {
        Self::Number(number.to_string().into())
    }

    /// What JSON Schema calls its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The value as JSON without blanks.
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        self.write(&mut json);
        json
    }

    /// Adds the value as JSON without blanks. Recurses no deeper than whoever made the value let it grow.
    pub fn write(&self, json: &mut String) {
        match self {
            Self::Null => json.push_str("null"),
            Self::Bool(is_true) => json.push_str(if *is_true { "true" } else { "false" }),
            Self::Number(digits) => json.push_str(digits),
            Self::Text(text) => write_string(text, json),
            Self::List(elements) => {
                json.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    element.write(json);
                }
                json.push(']');
            }
            Self::Object(members) => {
                json.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    write_string(name, json);
                    json.push(':');
                    value.write(json);
                }
                json.push('}');
            }
        }
    }
}

/// Adds a text as a JSON string. In stretches, as whole files go through here.
pub fn write_string(text: &str, json: &mut String) {
    json.reserve(text.len() + 2);
    json.push('"');
    let (bytes, mut copied) = (text.as_bytes(), 0);
    for (at, &byte) in bytes.iter().enumerate() {
        // By a table of all bytes: a comparison for each kind of character would cost more than the copy.
        if !MUST_BE_ESCAPED[usize::from(byte)] {
            continue;
        }
        // Bytes that are escaped are whole characters, so both ends lie between characters.
        json.push_str(text.get(copied..at).unwrap_or_default());
        copied = at + 1;
        match byte {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            b'\n' => json.push_str("\\n"),
            b'\r' => json.push_str("\\r"),
            b'\t' => json.push_str("\\t"),
            _ => {
                json.push_str("\\u00");
                json.push(char::from(HEX[usize::from(byte >> 4)]));
                json.push(char::from(HEX[usize::from(byte & 0xf)]));
            }
        }
    }
    json.push_str(text.get(copied..).unwrap_or_default());
    json.push('"');
}

const HEX: &[u8; 16] = b"0123456789abcdef";

const MUST_BE_ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_string_is_written_as_serde_reads_it(text in "(\\PC|[\u{0}-\u{1f}\"\\\\你])*") {
            let mut json = String::new();
            write_string(&text, &mut json);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
