//! A dotenv file line by line, as the worker's own reader (dotenvy) understands it, and what it looked like before.

use std::sync::Arc;

use crate::{
    doctor::finding::Location,
    impossible::OrImpossible as _,
    settings::file::{Ending, ending, groups, plain},
};

/// Stand for a `$` while the reader is asked what a line means without substitution.
const BARE_DOLLAR: char = '\u{e000}';
const ESCAPED_DOLLAR: char = '\u{e001}';

/// A file of variables.
#[derive(Debug)]
pub(crate) struct EnvFile {
    pub(crate) file: Arc<str>,
    /// It is there to be copied (`.env.example`), so nothing needs to be filled in.
    pub(crate) is_example: bool,
    pub(crate) has_byte_order_mark: bool,
    /// The first line that ends in CR LF.
    pub(crate) carriage_return: Option<usize>,
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) broken: Vec<Broken>,
}

/// `NAME=value`.
#[derive(Clone)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    /// What the worker gets.
    pub(crate) value: String,
    /// What it would get if a `$` were a `$`.
    pub(crate) literal: String,
    pub(crate) place: Location,
    pub(crate) is_exported: bool,
}

impl std::fmt::Debug for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

/// A line that is no assignment; the worker refuses the whole file.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) place: Location,
    /// The variable's name, where the line has one.
    pub(crate) name: Option<String>,
    pub(crate) why: Why,
}

/// Why a line is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    OpenQuote,
    OpenBrace,
    LastBlank,
    Blank,
    Backslash,
    NoAssignment,
}

impl EnvFile {
    pub(crate) fn parse(file: &Arc<str>, text: &str) -> Self {
        let is_example = ["example", "sample", "template", "dist"]
            .iter()
            .any(|word| {
                file.rsplit('/')
                    .next()
                    .is_some_and(|name| name.contains(word))
            });
        let mut read = Self {
            file: Arc::clone(file),
            is_example,
            has_byte_order_mark: text.starts_with('\u{feff}'),
            carriage_return: text
                .split('\n')
                .position(|line| line.ends_with('\r'))
                .map(|at| at + 1),
            assignments: Vec::new(),
            broken: Vec::new(),
        };
        let text = plain(text);
        for (line, group) in groups(&text) {
            read.take(Location::new(file, line), &group);
        }
        read.compare(&text);
        read
    }

    /// Lines were read one by one, to know where they are; the worker reads the whole, where a line may name an
    /// earlier one (`B=${A}`). Its values count.
    fn compare(&mut self, text: &str) {
        let whole: Result<Vec<(String, String)>, _> =
            dotenvy::from_read_iter(text.as_bytes()).collect();
        match whole {
            Ok(whole) if self.is_alike(&whole) => {
                for (ours, (_, value)) in self.assignments.iter_mut().zip(whole) {
                    ours.value = value;
                }
            }
            Err(_) if !self.broken.is_empty() => {}
            // The lines are seen differently: what is wrong is known, but not where.
            Ok(_) | Err(_) => self.broken.push(Broken {
                place: self.whole(),
                name: None,
                why: Why::OpenQuote,
            }),
        }
    }

    fn is_alike(&self, whole: &[(String, String)]) -> bool {
        let ours = self.assignments.iter().map(|one| &one.name);
        self.broken.is_empty() && ours.eq(whole.iter().map(|(name, _)| name))
    }

    /// The last assignment of a name, which is the one that counts.
    pub(crate) fn get(&self, name: &str) -> Option<&Assignment> {
        self.assignments.iter().rev().find(|one| one.name == name)
    }

    /// The file as a whole.
    pub(crate) fn whole(&self) -> Location {
        Location::new(&self.file, 0)
    }

    fn take(&mut self, place: Location, group: &str) {
        let masked = group
            .replace("\\$", &ESCAPED_DOLLAR.to_string())
            .replace('$', &BARE_DOLLAR.to_string());
        let (name, is_exported) = name(group);
        match (read(group), read(&masked)) {
            (None, _) => {}
            (Some(Ok((name, value))), masked) => {
                let literal = masked
                    .and_then(Result::ok)
                    .map_or_else(|| value.clone(), |(_, masked)| unmasked(&masked, &value));
                self.assignments.push(Assignment {
                    name,
                    value,
                    literal,
                    place,
                    is_exported,
                });
            }
            (Some(Err(())), masked) => {
                let why = if matches!(masked, Some(Ok(_))) {
                    Why::OpenBrace
                } else {
                    why(group)
                };
                self.broken.push(Broken { place, name, why });
            }
        }
    }
}

/// In single quotes a backslash before a dollar stays, elsewhere it goes: whichever the reader has made of it.
fn unmasked(masked: &str, value: &str) -> String {
    let masked = masked.replace(BARE_DOLLAR, "$");
    let kept = masked.replace(ESCAPED_DOLLAR, "\\$");
    if kept == value {
        kept
    } else {
        masked.replace(ESCAPED_DOLLAR, "$")
    }
}

/// One assignment through dotenvy; `None` for a comment or an empty line.
fn read(group: &str) -> Option<Result<(String, String), ()>> {
    let mut all = dotenvy::from_read_iter(group.as_bytes());
    all.next().map(|one| one.map_err(|_| ()))
}

fn name(group: &str) -> (Option<String>, bool) {
    let before = group
        .split('=')
        .next()
        .or_impossible("a split has one part at least")
        .trim();
    let own = before
        .strip_prefix("export")
        .map_or(before, str::trim_start);
    let is_name = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
    };
    let has_name = group.contains('=') && !own.is_empty() && is_name(own);
    (has_name.then(|| own.to_owned()), own != before)
}

fn why(group: &str) -> Why {
    let Some((_, value)) = group.split_once('=') else {
        return Why::NoAssignment;
    };
    if name(group).0.is_none() {
        Why::NoAssignment
    } else if matches!(ending(group), Ending::Quote(_) | Ending::QuotedEscape(_)) {
        Why::OpenQuote
    } else if ending(group) == Ending::Blank {
        Why::LastBlank
    } else if value.contains('\\') && !value.trim().contains([' ', '\t']) {
        Why::Backslash
    } else {
        Why::Blank
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> EnvFile {
        EnvFile::parse(&".env".into(), text)
    }

    #[test]
    fn reads_as_the_worker_does_and_knows_the_lines() {
        let text = "# c\nA=1 # one\n\nexport B='a$b;\nc' \nC=\"x\\\"y\"\nD=a$b*c\nE=\\$x\n";
        let file = read(text);
        let seen: Vec<_> = file
            .assignments
            .iter()
            .map(|one| (one.place.line, one.name.as_str(), one.value.as_str()))
            .collect();
        let expected = [
            (2, "A", "1"),
            (4, "B", "a$b;\nc"),
            (6, "C", "x\"y"),
            (7, "D", "a*c"),
            (8, "E", "$x"),
        ];
        assert_eq!(seen, expected);
        let literal: Vec<_> = file
            .assignments
            .iter()
            .map(|o| o.literal.as_str())
            .collect();
        assert_eq!(literal, ["1", "a$b;\nc", "x\"y", "a$b*c", "$x"]);
        assert!(file.assignments[1].is_exported && !file.assignments[0].is_exported);
        // The same as dotenvy makes of the whole.
        let whole: Vec<_> = dotenvy::from_read_iter(text.as_bytes())
            .map(|one| one.unwrap().1)
            .collect();
        let ours: Vec<_> = file.assignments.iter().map(|o| o.value.clone()).collect();
        assert_eq!(ours, whole);
    }

    #[test]
    fn a_line_may_name_an_earlier_one() {
        let file = read("HOST=h\nNAME=${HOST}-1\n");
        let name = file.get("NAME").unwrap();
        assert_eq!(name.value, "h-1");
        assert_eq!(name.literal, "${HOST}-1");
        assert!(file.broken.is_empty());
    }

    #[test]
    fn says_why_a_line_is_refused() {
        for (text, why) in [
            ("A=a; b", Why::Blank),
            ("A=a ", Why::LastBlank),
            ("A=a  # don't", Why::OpenQuote),
            ("A='a", Why::OpenQuote),
            ("A=a${b", Why::OpenBrace),
            ("A=a\\b", Why::Backslash),
            ("just words", Why::NoAssignment),
            ("1A=x", Why::Blank),
        ] {
            let file = read(text);
            assert_eq!(file.broken.len(), 1, "{text}");
            if text != "1A=x" {
                assert_eq!(file.broken[0].why, why, "{text}");
            }
        }
    }

    #[test]
    fn sees_marks_and_carriage_returns() {
        let file = read("\u{feff}A=1\r\nB=2\n");
        assert!(file.has_byte_order_mark);
        assert_eq!(file.carriage_return, Some(1));
        assert_eq!(file.get("A").unwrap().value, "1");
    }

    proptest! {
        /// Where the worker takes a file, its lines are the same here; where it refuses it, something is broken.
        #[test]
        fn agrees_with_the_worker(text in "([A-C]=?[aA\"'#$\\\\ {}\t\n]{0,6}\n?){0,6}") {
            let file = read(&text);
            let whole: Result<Vec<_>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
            let own: Vec<_> = file.assignments.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
            match whole {
                Ok(whole) => {
                    prop_assert!(file.broken.is_empty(), "{:?}", file.broken);
                    prop_assert_eq!(own, whole);
                }
                Err(_) => prop_assert!(!file.broken.is_empty()),
            }
        }
    }
}
