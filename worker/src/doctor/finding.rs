//! What doctor has found, and how it says so. A finding names variables and directives, never a credential's value.

use std::{fmt::Write as _, sync::Arc};

use serde::Serialize;

use crate::impossible::OrImpossible as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It will not work, or it gives something away.
    Error,
    /// It works until it does not.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A line of a file; line 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The path as the user named it.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
}

impl Location {
    /// A line of a file.
    pub fn new(file: &Arc<str>, line: usize) -> Self {
        Self {
            file: Arc::clone(file),
            line,
        }
    }
}

/// Something that doctor looks for.
#[derive(Debug)]
pub struct Rule {
    /// Stable, for scripts.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
}

impl Rule {
    /// An error.
    pub const fn error(code: &'static str, why: &'static str, fix: &'static str) -> Self {
        Self::new(code, Severity::Error, why, fix)
    }

    /// A warning.
    pub const fn warning(code: &'static str, why: &'static str, fix: &'static str) -> Self {
        Self::new(code, Severity::Warning, why, fix)
    }

    /// A note.
    pub const fn note(code: &'static str, why: &'static str, fix: &'static str) -> Self {
        Self::new(code, Severity::Note, why, fix)
    }

    const fn new(
        code: &'static str,
        severity: Severity,
        why: &'static str,
        fix: &'static str,
    ) -> Self {
        Self {
            code,
            severity,
            why,
            fix,
        }
    }

    /// This rule, broken in a place.
    pub fn at(&self, place: &Location, what: impl Into<String>) -> Finding {
        Finding {
            file: place.file.to_string(),
            line: place.line,
            severity: self.severity,
            code: self.code,
            what: what.into(),
            why: self.why,
            fix: self.fix,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, 0 for the whole file.
    pub line: usize,
    /// How bad it is.
    pub severity: Severity,
    /// The rule's code.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
}

impl Finding {
    /// The same, less or more grave than its rule says.
    #[must_use]
    pub fn as_severe_as(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

/// Everything found, by file and line.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// How many files were read.
    pub files: usize,
    /// Sorted.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Sorts the findings and leaves out what was found twice.
    pub fn new(files: usize, mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| {
            (&a.file, a.line, a.severity, a.code, &a.what)
                .cmp(&(&b.file, b.line, b.severity, b.code, &b.what))
        });
        findings.dedup();
        Self { files, findings }
    }

    /// How many there are of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        let is_of = |finding: &&Finding| finding.severity == severity;
        self.findings.iter().filter(is_of).count()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let line = match finding.line {
                0 => String::new(),
                line => format!(":{line}"),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{}{line}: {}[{}] {}\n    why: {}\n    do:  {}",
                finding.file,
                finding.severity.word(),
                finding.code,
                finding.what,
                finding.why,
                finding.fix
            );
        }
        let counted = |severity: Severity| match self.count(severity) {
            1 => format!("1 {}", severity.word()),
            many => format!("{many} {}s", severity.word()),
        };
        let _ = writeln!(
            text,
            "{}, {}, {} in {} {}",
            counted(Severity::Error),
            counted(Severity::Warning),
            counted(Severity::Note),
            self.files,
            if self.files == 1 { "file" } else { "files" }
        );
        text
    }

    /// For machines: one JSON object.
    pub fn json(&self) -> String {
        let mut json =
            serde_json::to_string_pretty(self).or_impossible("strings and numbers serialise");
        json.push('\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule::warning("some-rule", "why.", "do.");

    #[test]
    fn sorts_by_file_and_line_and_says_each_thing_once() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let found = vec![
            RULE.at(&Location::new(&b, 1), "three"),
            RULE.at(&Location::new(&a, 2), "two"),
            RULE.at(&Location::new(&a, 2), "two"),
            RULE.at(&Location::new(&a, 0), "one")
                .as_severe_as(Severity::Error),
        ];
        let report = Report::new(2, found);
        let order: Vec<&str> = report.findings.iter().map(|f| f.what.as_str()).collect();
        assert_eq!(order, ["one", "two", "three"]);
        let text = report.text();
        assert!(
            text.starts_with(
                "a: error[some-rule] one\n    why: why.\n    do:  do.\na:2: warning[some-rule] two"
            ),
            "{text}"
        );
        assert!(
            text.ends_with("1 error, 2 warnings, 0 notes in 2 files\n"),
            "{text}"
        );
    }
}
