//! Whether a value fits a JSON Schema. A schema is compiled once, as a request is prepared; nothing is fetched, and patterns
//! run in linear time. Source: tools.md section 9.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::{PatternOptions, error::ValidationErrorKind};
use serde_json::Value;

use super::tree::Tree;

/// How many schemas a worker keeps compiled. Source: tools.md section 9.
const MOST_KEPT: usize = 512;
/// What a compiled schema may take besides its text; a bound on the regexes of strangers.
const MOST_PATTERN_BYTES: usize = 1 << 20;
/// How many complaints one answer gets. Source: tools.md section 13.
pub const MOST_COMPLAINTS: usize = 3;
/// Longest complaint, in characters: several have to fit into one fact.
const MOST_COMPLAINT: usize = 100;

static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);

/// A compiled schema.
#[derive(Clone)]
pub struct Validator(Arc<jsonschema::Validator>);

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Validator")
    }
}

impl Validator {
    /// The one of this schema; `None` if it is no valid JSON Schema, or leads to another document. To compile a long one
    /// takes a while: whoever asks for it first does so where that holds nobody up, and keeps what he gets.
    pub fn of(schema: &str) -> Option<Self> {
        let compiled = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = compiled().find(schema);
        known.unwrap_or_else(|| {
            // Without the lock: others need not wait for it, and that two compile the same is no harm.
            let validator = compile(schema);
            // What is invalid is remembered as well: it would be compiled again for each request.
            compiled().keep(schema, validator.clone());
            validator
        })
    }

    /// What is wrong with a value, in at most [`MOST_COMPLAINTS`] complaints, each a JSON pointer and what is wanted
    /// there; empty if it fits.
    pub fn complaints(&self, value: &Tree) -> Vec<String> {
        let value = plain(value);
        if self.0.is_valid(&value) {
            return Vec::new();
        }
        let errors = self.0.iter_errors(&value).take(MOST_COMPLAINTS);
        errors.map(|error| complaint(&error)).collect()
    }
}

/// Least recently used goes first.
#[derive(Default)]
struct Compiled {
    hasher: RandomState,
    /// By the schema's hash, with the schema, as two may have one hash.
    known: HashMap<u64, Entry>,
    now: u64,
}

struct Entry {
    schema: Box<str>,
    validator: Option<Validator>,
    used: u64,
}

impl Compiled {
    /// `None`: it was not compiled yet.
    fn find(&mut self, schema: &str) -> Option<Option<Validator>> {
        self.now += 1;
        let entry = self.known.get_mut(&self.hasher.hash_one(schema))?;
        // Compared as a whole: whoever finds two schemas of one hash must not be judged by another's.
        if *entry.schema != *schema {
            return None;
        }
        entry.used = self.now;
        Some(entry.validator.clone())
    }

    fn keep(&mut self, schema: &str, validator: Option<Validator>) {
        if self.known.len() >= MOST_KEPT {
            // Looking through all costs less than one compilation, and happens with each new schema only.
            let oldest = self.known.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(hash) = oldest.map(|(hash, _)| *hash) {
                self.known.remove(&hash);
            }
        }
        let entry = Entry {
            schema: schema.into(),
            validator,
            used: self.now,
        };
        self.known.insert(self.hasher.hash_one(schema), entry);
    }
}

fn compile(schema: &str) -> Option<Validator> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    // `regex` and not backtracking: patterns are strangers', and run on texts of strangers.
    let patterns = PatternOptions::regex()
        .size_limit(MOST_PATTERN_BYTES)
        .dfa_size_limit(MOST_PATTERN_BYTES);
    let options = jsonschema::options()
        .with_pattern_options(patterns)
        // No reference is fetched, whatever it names.
        .offline();
    let validator = options.build(&schema).ok()?;
    Some(Validator(Arc::new(validator)))
}

/// As the validator wants it. A number beyond all doubles is the largest of its sign there: it is a number, and above or
/// below every bound that a schema can name.
fn plain(tree: &Tree) -> Value {
    match tree {
        Tree::Null => Value::Null,
        Tree::Bool(is_true) => Value::Bool(*is_true),
        Tree::Number(digits) => serde_json::from_str(digits).unwrap_or_else(|_| {
            let largest = if digits.starts_with('-') {
                f64::MIN
            } else {
                f64::MAX
            };
            largest.into()
        }),
        Tree::Text(text) => Value::from(text.as_str()),
        Tree::List(elements) => elements.iter().map(plain).collect(),
        Tree::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect()
        }
    }
}

fn complaint(error: &jsonschema::ValidationError<'_>) -> String {
    let at = error.instance_path().as_str();
    let at = if at.is_empty() { "the whole" } else { at };
    let wanted = match error.kind() {
        ValidationErrorKind::Required { property } => format!("lacks {property}"),
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            format!("may not have {}", unexpected.join(", "))
        }
        ValidationErrorKind::Enum { options } => format!("must be one of {options}"),
        ValidationErrorKind::Constant { expected_value } => format!("must be {expected_value}"),
        // What was found is the model's own, and may be long; what is wanted says enough.
        _ => error.masked_with("what was given").to_string(),
    };
    shortened(format!("{at}: {wanted}"), MOST_COMPLAINT)
}

/// At most so many characters.
pub(super) fn shortened(mut text: String, most: usize) -> String {
    if let Some((cut, _)) = text.char_indices().nth(most) {
        text.truncate(cut);
        // The cut is behind `most` characters, and the ellipsis is one of them.
        text.pop();
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::json::read_exact;
    use super::*;

    fn complaints(schema: &str, value: &str) -> Vec<String> {
        let validator = Validator::of(schema).unwrap();
        validator.complaints(&read_exact(value).unwrap())
    }

    #[test]
    fn says_where_and_what() {
        let schema = r#"{"type":"object","properties":{"a":{"type":"integer"},"c":{"enum":["x","y"]}},
            "required":["a"],"additionalProperties":false}"#;
        assert_eq!(complaints(schema, r#"{"a":1,"c":"x"}"#), [""; 0]);
        assert_eq!(complaints(schema, r#"{"a":1.0}"#), [""; 0]);
        for (value, expected) in [
            (
                r#"{"a":"x"}"#,
                r#"/a: what was given is not of type "integer""#,
            ),
            ("{}", r#"the whole: lacks "a""#),
            (r#"{"a":1,"c":"z"}"#, r#"/c: must be one of ["x","y"]"#),
            (r#"{"a":1,"d":2}"#, "the whole: may not have d"),
        ] {
            assert_eq!(complaints(schema, value), [expected], "{value}");
        }
    }

    #[test]
    fn numbers_beyond_all_doubles_are_numbers() {
        let integer = r#"{"type":"integer"}"#;
        for number in ["18446744073709551616", "-1e999", "1e999"] {
            assert_eq!(complaints(integer, number), [""; 0], "{number}");
        }
        assert_eq!(complaints(r#"{"maximum":5}"#, "1e999").len(), 1);
        assert_eq!(complaints(r#"{"minimum":5}"#, "-1e999").len(), 1);
        assert_eq!(complaints(r#"{"minimum":5}"#, "1e999"), [""; 0]);
        assert_eq!(complaints(r#"{"type":"null"}"#, "1e999").len(), 1);
    }

    #[test]
    fn nothing_leads_elsewhere() {
        for schema in [
            r#"{"$ref":"https://example.com/a.json"}"#,
            r#"{"$ref":"file:///etc/hosts"}"#,
            r#"{"type":"nothing"}"#,
            "5",
            "{",
        ] {
            assert!(Validator::of(schema).is_none(), "{schema}");
        }
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut compiled = Compiled::default();
        compiled.keep("{}", compile("{}"));
        for at in 0..MOST_KEPT + 3 {
            assert!(compiled.find("{}").flatten().is_some());
            let schema = format!(r#"{{"maximum":{at}}}"#);
            assert!(compiled.find(&schema).is_none());
            compiled.keep(&schema, compile(&schema));
            assert!(compiled.find(&schema).flatten().is_some());
        }
        assert_eq!(compiled.known.len(), MOST_KEPT);
        let hash = compiled.hasher.hash_one("{}");
        assert!(compiled.known.contains_key(&hash), "the one in use stays");
    }
}
