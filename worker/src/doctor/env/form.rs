//! How the file is written: what the reader makes of it, and what other readers would.

use super::file::{Assignment, EnvFile, Why};
use crate::doctor::{
    finding::{Finding, Rule},
    names,
};

const BAD_LINE: Rule = Rule::error(
    "bad-line",
    "The worker refuses a file with such a line as a whole, at start and on renewal.",
    "Write NAME='value' in single quotes; nothing is special between them.",
);
const DOLLAR: Rule = Rule::error(
    "dollar-eaten",
    "Outside single quotes, this worker and compose take `$name` for a variable and cut it out, so the service sees a broken credential.",
    "Put the value in single quotes: NAME='a$b'. In `environment:` of a compose file write `$$`.",
);
const QUOTES: Rule = Rule::note(
    "quotes-in-value",
    "The worker takes them off; other tools that read the same file make them part of the value.",
    "Keep one pair of plain quotes around the whole value, or none.",
);
const BYTE_ORDER_MARK: Rule = Rule::warning(
    "byte-order-mark",
    "The worker reads over it; shells and `docker run --env-file` make the invisible mark part of the first name.",
    "Save the file as UTF-8 without BOM.",
);
const CARRIAGE_RETURN: Rule = Rule::warning(
    "carriage-return",
    "The worker copes, but shells and `docker run --env-file` make the CR part of every value: keys then never match.",
    "Save the file with Unix line ends: sed -i 's/\\r$//' FILE.",
);
const DUPLICATE: Rule = Rule::warning(
    "duplicate-name",
    "The last one wins without a word; other readers take the first.",
    "Delete one of the two lines.",
);
const EXPORT: Rule = Rule::note(
    "export",
    "The worker and compose skip the word; `docker run --env-file` and systemd refuse it or make it part of the name.",
    "Leave out `export`.",
);
const TRAILING_BLANK: Rule = Rule::note(
    "blank-in-quotes",
    "The worker cuts them off; other tools that read the same file send them along, and the service refuses the cookie.",
    "Delete the blanks before the closing quote.",
);

/// All of the above.
pub(super) fn check(file: &EnvFile, found: &mut Vec<Finding>) {
    marks(file, found);
    broken(file, found);
    for one in &file.assignments {
        dollar(file, one, found);
        quotes(one, found);
        blanks(one, found);
        if one.is_exported {
            let what = format!("{} has `export` before it", names::shown(&one.name));
            found.push(EXPORT.at(&one.place, what));
        }
    }
    duplicates(file, found);
}

fn marks(file: &EnvFile, found: &mut Vec<Finding>) {
    let place = |line| crate::doctor::finding::Location::new(&file.file, line);
    if file.has_byte_order_mark {
        found.push(BYTE_ORDER_MARK.at(&place(1), "the file begins with a byte order mark"));
    }
    if let Some(line) = file.carriage_return {
        found.push(CARRIAGE_RETURN.at(&place(line), "lines end in CR LF"));
    }
}

fn broken(file: &EnvFile, found: &mut Vec<Finding>) {
    for line in &file.broken {
        let name = line.name.as_deref().map_or("this line", names::shown);
        let (rule, what) = match line.why {
            Why::OpenQuote => (
                &BAD_LINE,
                "has a quote that is never closed (in a comment it counts, unless a single blank stands before the #)",
            ),
            Why::LastBlank => (
                &BAD_LINE,
                "ends in a blank, and the file without a line end",
            ),
            Why::OpenBrace => (&DOLLAR, "has a `${` that is never closed"),
            Why::Blank => (&BAD_LINE, "has a blank outside quotes, or text after them"),
            Why::Backslash => (&BAD_LINE, "has a backslash outside single quotes"),
            Why::NoAssignment => (&BAD_LINE, "is no NAME=value"),
        };
        found.push(rule.at(&line.place, format!("{name} {what}")));
    }
}

fn dollar(file: &EnvFile, one: &Assignment, found: &mut Vec<Finding>) {
    if one.value == one.literal {
        return;
    }
    let is_meant = !names::is_credential(&one.name)
        && references(&one.literal).all(|name| file.get(name).is_some());
    if !is_meant {
        let what = format!(
            "a `$` in {} is taken for a variable",
            names::shown(&one.name)
        );
        found.push(DOLLAR.at(&one.place, what));
    }
}

/// The names after each `$`.
fn references(value: &str) -> impl Iterator<Item = &str> {
    value.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        end.and_then(|end| rest.get(..end)).unwrap_or(rest)
    })
}

fn quotes(one: &Assignment, found: &mut Vec<Finding>) {
    const PAIRS: [(char, char); 5] = [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’'), ('`', '`')];
    let value = one.value.trim();
    let quoted = |(open, close): &(char, char)| {
        value.chars().count() > 1 && value.starts_with(*open) && value.ends_with(*close)
    };
    if PAIRS.iter().any(quoted) {
        let what = format!(
            "{} has quotes inside its quotes, or no plain ones",
            names::shown(&one.name)
        );
        found.push(QUOTES.at(&one.place, what));
    }
}

fn blanks(one: &Assignment, found: &mut Vec<Finding>) {
    if !one.value.is_empty() && one.value.trim() != one.value && names::is_credential(&one.name) {
        let what = format!("{} begins or ends with blanks", one.name);
        found.push(TRAILING_BLANK.at(&one.place, what));
    }
}

fn duplicates(file: &EnvFile, found: &mut Vec<Finding>) {
    for (at, one) in file.assignments.iter().enumerate() {
        let mut earlier = file.assignments.iter().take(at);
        if let Some(first) = earlier.find(|other| other.name == one.name) {
            let what = format!("{} stands in line {} already", one.name, first.place.line);
            found.push(DUPLICATE.at(&one.place, what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<(&'static str, usize)> {
        let mut found = Vec::new();
        check(&EnvFile::parse(&".env".into(), text), &mut found);
        found.iter().map(|one| (one.code, one.line)).collect()
    }

    #[test]
    fn a_dollar_is_fine_in_single_quotes_and_as_a_known_variable() {
        assert_eq!(
            codes("QWEN_TOKEN=a$b*c\nXINGHUO_COOKIE='a$b'"),
            [("dollar-eaten", 1)]
        );
        assert_eq!(codes("QWEN_TOKEN=\"a$b\""), [("dollar-eaten", 1)]);
        assert_eq!(codes("QWEN_TOKEN=a${b"), [("dollar-eaten", 1)]);
        assert!(codes("HOST=h\nWORKER_NAME=${HOST}\nQWEN_TOKEN=a\\$b").is_empty());
    }

    #[test]
    fn finds_quotes_blanks_and_doubles() {
        assert_eq!(codes("API_MASTER_KEY='\"a\"'"), [("quotes-in-value", 1)]);
        assert_eq!(codes("API_MASTER_KEY=“a”"), [("quotes-in-value", 1)]);
        assert_eq!(codes("GT_TOKEN='a '"), [("blank-in-quotes", 1)]);
        assert_eq!(codes("A=1\nB=2\nA=3"), [("duplicate-name", 3)]);
        assert_eq!(codes("export A=1"), [("export", 1)]);
        assert_eq!(codes("A=b; c=d"), [("bad-line", 1)]);
    }

    #[test]
    fn finds_marks_and_line_ends() {
        assert_eq!(
            codes("\u{feff}A=1\r\n"),
            [("byte-order-mark", 1), ("carriage-return", 1)]
        );
    }
}
