//! What a model makes of the gateway's own contract for tools: it finds the mark of the conversation in the last line of the
//! last turn, writes calls with it, well or badly, and holds the conversation to what the contract promises. Written from
//! tools.md sections 5, 11 and 14 alone.
//!
//! Calls are told in the notation of section 14, so that a test says what a model writes without knowing the mark:
//!
//! | notation | written |
//! | --- | --- |
//! | `[B]` `[/B]` | `<calls-N>` `</calls-N>` |
//! | `[C x]` `[/C]` | `<call-N name="x">` `</call-N>` |
//! | `[A x]` `[/A]` | `<arg-N name="x">` `</arg-N>` |
//! | `⏎` | a line feed |
//! | `¦` | `|` |
//! | `k7q2` | the mark |
//! | `[k]` | its first character: an answer was cut off there |

use super::control::Turn;

/// What the gateway's own lines at the end of a turn begin with.
const LINES: [&str; 3] = [
    "(Tools: ",
    "Answer with one JSON object and nothing else",
    "Unless you call a tool, answer with one JSON object",
];
/// What a second question about a call says around what was wrong, and most characters of that.
const AGAIN: &str = "Your last message contained a tool call that could not be carried out: ";
const SEND: &str = ". Nothing was run. Send the complete call again in the form described above, and nothing else.";
const MOST_FACT: usize = 200;
const CONTRACT: &str =
    "# Tools\nThe program that sent you this conversation can run the tools listed below";

/// The mark that the last line of a turn shows: the one in `<calls-N> … </calls-N>`.
pub(super) fn mark(turn: &str) -> Option<&str> {
    let at = turn.rfind("(Tools: ")?;
    let (_, rest) = turn.get(at..)?.split_once("<calls-")?;
    rest.split_once('>').map(|(mark, _)| mark)
}

/// What the user said, without the gateway's lines, and without the results in front of it.
pub(super) fn words(turn: &str) -> &str {
    let mut words = turn;
    for line in LINES {
        let at = words.rfind(line).filter(|at| {
            let before = words.get(..*at).unwrap_or_default();
            before.is_empty() || before.ends_with('\n')
        });
        if let Some(before) = at.and_then(|at| words.get(..at)) {
            // The gateway's own line break, and no more: what the user said may end in some.
            let before = before
                .strip_suffix("\n\n")
                .or_else(|| before.strip_suffix('\n'));
            words = before.unwrap_or_default();
        }
    }
    words
}

/// The text of the first result, if the turn begins with some.
pub(super) fn first_result(turn: &str) -> Option<&str> {
    let results = turn.strip_prefix("<results-")?;
    let (_, rest) = results.split_once("<result-")?;
    let (_, rest) = rest.split_once(">\n")?;
    rest.split_once("\n</result-").map(|(text, _)| text)
}

/// A text in the notation, as a model with this mark writes it.
pub(super) fn written(text: &str, mark: &str) -> String {
    let mut written = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('[') {
        written.push_str(before);
        let Some((inside, after)) = behind.split_once(']') else {
            written.push('[');
            rest = behind;
            continue;
        };
        let tag = match (inside, inside.split_once(' ')) {
            ("B", _) => format!("<calls-{mark}>"),
            ("/B", _) => format!("</calls-{mark}>"),
            ("/C", _) => format!("</call-{mark}>"),
            ("/A", _) => format!("</arg-{mark}>"),
            ("k", _) => mark.chars().take(1).collect(),
            (_, Some(("C", name))) => format!("<call-{mark} name=\"{name}\">"),
            (_, Some(("A", name))) => {
                // A path has brackets of its own: `[A edits[0].old]`.
                let mut name = name.to_owned();
                let mut left = after;
                while name.matches('[').count() > name.matches(']').count() {
                    let Some((more, further)) = left.split_once(']') else {
                        break;
                    };
                    name.push(']');
                    name.push_str(more);
                    left = further;
                }
                rest = left;
                written.push_str(&format!("<arg-{mark} name=\"{name}\">"));
                continue;
            }
            _ => {
                written.push('[');
                rest = behind;
                continue;
            }
        };
        written.push_str(&tag);
        rest = after;
    }
    written.push_str(rest);
    written
        .replace('⏎', "\n")
        .replace('¦', "|")
        .replace("k7q2", mark)
}

/// How often the contract is told in these turns, with this mark.
pub(super) fn times_told(turns: &[Turn], mark: &str) -> usize {
    let has_mark = |turn: &&Turn| turn.text.contains(&format!("<calls-{mark}>"));
    let told = turns.iter().filter(has_mark);
    told.map(|turn| turn.text.matches(CONTRACT).count()).sum()
}

/// What is wrong with a conversation in which tools are told of; `None` also for one in which none are. `told_before`: how often
/// the contract was told with a mark by earlier questions of the same conversation, where it was continued; then it is not told
/// again (tools.md section 5).
pub(super) fn broken_rule(turns: &[Turn], told_before: impl Fn(&str) -> usize) -> Option<String> {
    let asked = turns.iter().rfind(|turn| turn.role == "user")?;
    let mark = mark(&asked.text)?;
    let now: usize = turns
        .iter()
        .map(|turn| turn.text.matches(CONTRACT).count())
        .sum();
    let told = now + told_before(mark);
    if told != 1 {
        return Some(format!("the contract is told {told} times"));
    }
    let last = asked
        .text
        .trim_end()
        .lines()
        .next_back()
        .unwrap_or_default();
    if !LINES.iter().any(|line| last.starts_with(line)) {
        return Some("the reminder is not the last line of the last turn".to_owned());
    }
    // What the results are of stands in an earlier answer of the service's own.
    if told_before(mark) > 0 {
        return None;
    }
    if let Some(what) = broken_question(turns) {
        return Some(what);
    }
    let before = std::iter::once(None).chain(turns.iter().map(Some));
    turns
        .iter()
        .zip(before)
        .filter(|(turn, _)| turn.role == "user" && turn.text.starts_with("<results-"))
        .find_map(|(turn, before)| broken_results(&turn.text, before, mark))
}

/// A second question states what was wrong in few words, right behind the answer that it is about. Source: tools.md section 8,
/// step 7.
fn broken_question(turns: &[Turn]) -> Option<String> {
    let (last, before) = turns.split_last()?;
    let rest = last.text.strip_prefix(AGAIN)?;
    let Some((fact, _)) = rest.split_once(SEND) else {
        return Some("a second question does not say what to send".to_owned());
    };
    if fact.is_empty() || fact.chars().count() > MOST_FACT {
        return Some(format!("a second question states {fact:?}"));
    }
    let is_behind = before
        .last()
        .is_some_and(|turn| turn.role == "assistant" && !turn.text.trim().is_empty());
    (!is_behind).then(|| "a second question stands behind no answer".to_owned())
}

fn broken_results(text: &str, before: Option<&Turn>, mark: &str) -> Option<String> {
    if !text.starts_with(&format!("<results-{mark}>\n"))
        || !text.contains(&format!("\n</results-{mark}>"))
    {
        return Some("results have another mark than the conversation".to_owned());
    }
    let called = before
        .filter(|turn| turn.role == "assistant")
        .map_or("", |turn| &turn.text);
    let called = called
        .rsplit_once(&format!("<calls-{mark}>"))
        .map_or("", |(_, block)| block);
    let names = attributes(called, &format!("<call-{mark} name=\""));
    let numbers = attributes(text, &format!("\n<result-{mark} call=\""));
    let numbers: Vec<usize> = numbers
        .iter()
        .filter_map(|number| number.parse().ok())
        .collect();
    if !numbers.is_sorted_by(|a, b| a < b) {
        return Some(format!("results come in the order {numbers:?}"));
    }
    if numbers.last().is_some_and(|last| *last != names.len())
        || (numbers.is_empty() && !names.is_empty())
    {
        return Some(format!(
            "{} calls have the results {numbers:?}",
            names.len()
        ));
    }
    let wrong = numbers.iter().zip(&names).find(|(number, name)| {
        !text.contains(&format!("<result-{mark} call=\"{number}\" tool=\"{name}\""))
    });
    wrong.map(|(number, name)| format!("result {number} is not of the tool {name}"))
}

/// What stands behind each `before`, up to the next quote.
fn attributes<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let ends = text.split(before).skip(1);
    ends.filter_map(|rest| rest.split_once('"').map(|(value, _)| value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(role: &str, text: &str) -> Turn {
        Turn {
            role: role.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_notation_becomes_tags() {
        assert_eq!(
            written(
                "Hi.⏎[B][C edit][A edits[0].old]⏎a[1]⏎[/A][/C][/B] [x] ¦ <calls-k7q2> <calls-[k]",
                "zzzz"
            ),
            "Hi.\n<calls-zzzz><call-zzzz name=\"edit\"><arg-zzzz name=\"edits[0].old\">\na[1]\n</arg-zzzz></call-zzzz></calls-zzzz> [x] | <calls-zzzz> <calls-z"
        );
    }

    #[test]
    fn the_gateways_lines_are_no_words_of_the_users() {
        let line = "(Tools: end with <calls-zzzz> … </calls-zzzz> if you need one, as described.)";
        let turn = format!("echo:x\n\n{line}");
        assert_eq!((words(&turn), mark(&turn)), ("echo:x", Some("zzzz")));
        assert_eq!(words("echo:x (Tools: y"), "echo:x (Tools: y");
        let both = format!(
            "a\n\n{line}\n\nUnless you call a tool, answer with one JSON object and nothing else."
        );
        assert_eq!(words(&both), "a");
        assert_eq!(
            first_result(
                "<results-zzzz>\n<result-zzzz call=\"1\" tool=\"f\">\nfive\n</result-zzzz>\n</results-zzzz>"
            ),
            Some("five")
        );
    }

    #[test]
    fn a_second_turn_is_held_to_the_contract() {
        let line = "(Tools: end with <calls-zzzz> … </calls-zzzz> if you need one, as described.)";
        let block = "<calls-zzzz>\n<call-zzzz name=\"f\">\n</call-zzzz>\n<call-zzzz name=\"g\">\n</call-zzzz>\n</calls-zzzz>";
        let results = |first: &str| {
            format!(
                "<results-zzzz>\n<result-zzzz call=\"{first}\" tool=\"f\">\n1\n</result-zzzz>\n<result-zzzz call=\"2\" tool=\"g\">\n2\n</result-zzzz>\n</results-zzzz>\n\n{line}"
            )
        };
        let chat = |results: &str| {
            vec![
                turn("system", CONTRACT),
                turn("user", "q"),
                turn("assistant", block),
                turn("user", results),
            ]
        };
        assert_eq!(broken_rule(&chat(&results("1")), |_| 0), None);
        for broken in [
            results("3"),
            results("1").replace("tool=\"g\"", "tool=\"h\""),
            results("1").replace("results-zzzz", "results-yyyy"),
            results("1").replace(line, &format!("{line}\nmore")),
        ] {
            assert!(broken_rule(&chat(&broken), |_| 0).is_some(), "{broken}");
        }
        assert!(
            broken_rule(&chat(&results("1"))[1..], |_| 0).is_some(),
            "without a contract"
        );
    }

    #[test]
    fn a_second_question_is_held_to_the_contract() {
        let line = "(Tools: end with <calls-zzzz> … </calls-zzzz> if you need one, as described.)";
        let chat = |answer: &str, fact: &str, end: &str| {
            vec![
                turn("system", CONTRACT),
                turn("user", "q"),
                turn("assistant", answer),
                turn("user", &format!("{AGAIN}{fact}{end}\n\n{line}")),
            ]
        };
        assert_eq!(
            broken_rule(&chat("<calls-zz", "it ended", SEND), |_| 0),
            None
        );
        for broken in [
            chat("", "it ended", SEND),
            chat("x", "", SEND),
            chat("x", &"long ".repeat(41), SEND),
            chat("x", "it ended", ". Stop it!"),
        ] {
            assert!(broken_rule(&broken, |_| 0).is_some(), "{broken:?}");
        }
    }
}
