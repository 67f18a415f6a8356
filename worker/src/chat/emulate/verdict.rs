//! Whether a value fits a JSON Schema. The schema is compiled once per worker thread; nothing is fetched, and patterns
//! run in linear time. Source: tools.md section 9.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    rc::Rc,
};

use jsonschema::{PatternOptions, error::ValidationErrorKind};
use serde_json::Value;

use super::tree::Tree;

/// How many schemas a worker's thread keeps compiled. Source: tools.md section 9.
const MOST_KEPT: usize = 512;
/// What a compiled schema may take besides its text; a bound on the regexes of strangers.
const MOST_PATTERN_BYTES: usize = 1 << 20;
/// How many complaints one answer gets. Source: tools.md section 13.
pub const MOST_COMPLAINTS: usize = 3;
/// Longest complaint, in characters: several have to fit into one fact.
const MOST_COMPLAINT: usize = 100;

thread_local! {
    static COMPILED: RefCell<Compiled> = RefCell::default();
}

/// A compiled schema.
#[derive(Clone)]
pub struct Validator(Rc<jsonschema::Validator>);

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Validator")
    }
}

impl Validator {
    /// The one of this schema; `None` if it is no valid JSON Schema, or leads to another document.
    pub fn of(schema: &str) -> Option<Self> {
        // A thread's own: validators are not to be locked while they work, and every thread meets the same few schemas.
        COMPILED.with_borrow_mut(|compiled| compiled.of(schema))
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
    fn of(&mut self, schema: &str) -> Option<Validator> {
        self.now += 1;
        let hash = self.hasher.hash_one(schema);
        // Compared as a whole: whoever finds two schemas of one hash must not be judged by another's.
        if let Some(entry) = self.known.get_mut(&hash)
            && *entry.schema == *schema
        {
            entry.used = self.now;
            return entry.validator.clone();
        }
        if self.known.len() >= MOST_KEPT {
            // Looking through all costs less than one compilation, and happens with each new schema only.
            let oldest = self.known.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(hash) = oldest.map(|(hash, _)| *hash) {
                self.known.remove(&hash);
            }
        }
        // What is invalid is remembered as well: it would be compiled again for each request.
        let validator = compile(schema);
        let entry = Entry {
            schema: schema.into(),
            validator: validator.clone(),
            used: self.now,
        };
        self.known.insert(hash, entry);
        validator
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
    Some(Validator(Rc::new(validator)))
}

/// As the validator wants it. Numbers that no double holds are null there, and so fit no number's schema.
fn plain(tree: &Tree) -> Value {
    match tree {
        Tree::Null => Value::Null,
        Tree::Bool(is_true) => Value::Bool(*is_true),
        Tree::Number(digits) => serde_json::from_str(digits).unwrap_or_default(),
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
        for at in 0..MOST_KEPT + 3 {
            assert!(compiled.of("{}").is_some());
            assert!(compiled.of(&format!(r#"{{"maximum":{at}}}"#)).is_some());
        }
        assert_eq!(compiled.known.len(), MOST_KEPT);
        let hash = compiled.hasher.hash_one("{}");
        assert!(compiled.known.contains_key(&hash), "the one in use stays");
    }
}
