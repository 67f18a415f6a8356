//! Prompts that say by themselves what stands before and behind the cursor, in the marks by which models for code are asked
//! to fill in the middle. Editors write them by a model's name (Continue does for every name that it does not know), and a
//! model that chats has never seen them.

/// The marks of one family: before what stands in front of the cursor, before what stands behind it, and at the end.
struct Marks {
    before: &'static str,
    after: &'static str,
    end: &'static str,
}

/// Sources: the model cards of StarCoder, Qwen2.5-Coder (and CodeGemma, which has the same), DeepSeek-Coder and Code Llama.
const FAMILIES: [Marks; 4] = [
    Marks {
        before: "<fim_prefix>",
        after: "<fim_suffix>",
        end: "<fim_middle>",
    },
    Marks {
        before: "<|fim_prefix|>",
        after: "<|fim_suffix|>",
        end: "<|fim_middle|>",
    },
    Marks {
        before: "<｜fim▁begin｜>",
        after: "<｜fim▁hole｜>",
        end: "<｜fim▁end｜>",
    },
    Marks {
        before: "<PRE> ",
        after: " <SUF>",
        end: " <MID>",
    },
];

/// Codestral's marks, with what stands behind the cursor first. Source: Mistral's documentation of its tokenizer.
const BEHIND: &str = "[SUFFIX]";
const IN_FRONT: &str = "[PREFIX]";

/// What stands before the cursor, other files included, and what stands behind it; `None` for a prompt of another kind.
pub(super) fn split(prompt: &str) -> Option<(String, &str)> {
    let by_family = FAMILIES.iter().find_map(|marks| {
        let rest = prompt.trim_end().strip_suffix(marks.end)?;
        let (files, rest) = rest.split_once(marks.before)?;
        // The last one: a text about these marks has more of them in front of the cursor than behind it, or as well.
        let (before, after) = rest.rsplit_once(marks.after)?;
        Some((format!("{files}{before}"), after))
    });
    by_family.or_else(|| {
        let rest = prompt.strip_prefix(BEHIND)?;
        let (after, before) = rest.split_once(IN_FRONT)?;
        Some((before.to_owned(), after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_all_families_are_read() {
        for prompt in [
            "<fim_prefix>a = <fim_suffix>\nb<fim_middle>",
            "<|fim_prefix|>a = <|fim_suffix|>\nb<|fim_middle|>",
            "<｜fim▁begin｜>a = <｜fim▁hole｜>\nb<｜fim▁end｜>",
            "<PRE> a =  <SUF>\nb <MID>",
            "<fim_prefix>a = <fim_suffix>\nb<fim_middle>\n",
            "[SUFFIX]\nb[PREFIX]a = ",
        ] {
            assert_eq!(split(prompt), Some(("a = ".to_owned(), "\nb")), "{prompt}");
        }
        assert_eq!(
            split("<file_sep>x.py\n1<file_sep><fim_prefix>a<fim_suffix><fim_middle>"),
            Some(("<file_sep>x.py\n1<file_sep>a".to_owned(), ""))
        );
    }

    #[test]
    fn other_prompts_stay_as_they_are() {
        for prompt in [
            "fn main() {",
            "<fim_prefix> is a mark, and <fim_suffix> as well",
            "<fim_prefix>a<fim_middle>",
            "<fim_suffix>a<fim_middle>",
            "x [SUFFIX]b[PREFIX]a",
            "",
        ] {
            assert_eq!(split(prompt), None, "{prompt}");
        }
    }
}
