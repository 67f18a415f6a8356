//! Our model ids, and which search each of them asks for. Source: `wire/metaso.md` sections 4.6 and 4.7.

use crate::providers::Model;

/// 2024-08-01, the last change of the page's oldest strong source; constant, so that listings are stable.
const CREATED: i64 = 1_722_470_400;
/// What the seed lists, and the scholar ids of its code.
const LISTED: &[&str] = &[
    "metaso",
    "metaso-concise",
    "metaso-detail",
    "metaso-research",
    "metaso-concise-scholar",
    "metaso-detail-scholar",
    "metaso-research-scholar",
];
/// What a bare `metaso` is told by the question itself (section 4.7).
const SPOKEN: &[(&str, Mode)] = &[
    ("简洁搜索", Mode::Concise),
    ("深入搜索", Mode::Detail),
    ("研究搜索", Mode::Research),
];
const SPOKEN_SCHOLAR: &str = "学术";

/// How thoroughly is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Only the older generation knows it.
    Fast,
    Concise,
    Detail,
    Research,
    /// Only the newer generation knows it; slow and rationed.
    StrongResearch,
}

impl Mode {
    /// The word of the chat generation.
    pub(super) fn of_chat(self) -> &'static str {
        match self {
            Self::Fast | Self::Concise => "concise",
            Self::Detail => "detail",
            Self::Research => "research",
            Self::StrongResearch => "strong-research",
        }
    }

    /// The word of the searchv2 generation.
    pub(super) fn of_searchv2(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Concise => "concise",
            Self::Detail => "detail",
            Self::Research | Self::StrongResearch => "research",
        }
    }
}

/// What an id asks for; without a mode it is left to the question (section 4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    mode: Option<Mode>,
    engine: &'static str,
}

impl Wanted {
    /// Whether the question itself may say how to search.
    pub(super) fn is_open(self) -> bool {
        self.mode.is_none()
    }
}

/// A search as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) mode: Mode,
    /// `engineType`: what is searched; empty for the web.
    pub(super) engine: &'static str,
}

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    LISTED.iter().map(|id| model(id)).collect()
}

/// The model that an id means; ids of other parts are nobody's.
pub(super) fn find(id: &str) -> Option<Model> {
    read(id).map(|_| model(&id.to_ascii_lowercase()))
}

/// What an id asks for: `metaso`, a mode, an engine, each of the last two or both (section 4.6).
pub(super) fn read(id: &str) -> Option<Wanted> {
    let id = id.to_ascii_lowercase();
    let rest = id.strip_prefix("metaso")?;
    if rest.is_empty() {
        return Some(Wanted {
            mode: None,
            engine: "",
        });
    }
    // Four parts at most: a mode of two words, an engine, and what is no part of any.
    let parts: Vec<&str> = rest.strip_prefix('-')?.splitn(4, '-').collect();
    let (mode, parts) = match parts.as_slice() {
        ["strong", "research", rest @ ..] => (Some(Mode::StrongResearch), rest),
        ["fast", rest @ ..] => (Some(Mode::Fast), rest),
        ["concise", rest @ ..] => (Some(Mode::Concise), rest),
        ["detail", rest @ ..] => (Some(Mode::Detail), rest),
        ["research", rest @ ..] => (Some(Mode::Research), rest),
        // An engine alone searches in detail (section 4.6).
        rest => (None, rest),
    };
    let engine = match parts {
        [] => "",
        ["scholar"] => "scholar",
        ["document"] => "pdf",
        ["podcast"] => "podcast",
        ["image"] => "image",
        ["video"] => "video",
        _ => return None,
    };
    Some(Wanted {
        // Only the bare `metaso` leaves it open.
        mode: mode.or(Some(Mode::Detail)),
        engine,
    })
}

/// The search that is meant, and how much of the start of `text`, the last user text, said so and is no part of the
/// question, in bytes (section 4.7).
pub(super) fn choose(wanted: Wanted, text: &str, temperature: Option<f64>) -> (Search, usize) {
    let engine = wanted.engine;
    // What the id says is not for the question to change.
    if let Some(mode) = wanted.mode {
        return (Search { mode, engine }, 0);
    }
    if let Some((search, question)) = spoken(text) {
        return (search, text.len() - question.len());
    }
    // An absent temperature is not 1.0: it would run the research that is rationed by the day.
    let mode = match temperature {
        Some(temperature) if temperature < 0.4 => Mode::Concise,
        Some(temperature) if temperature >= 0.7 => Mode::Research,
        Some(_) | None => Mode::Detail,
    };
    (Search { mode, engine }, 0)
}

fn spoken(text: &str) -> Option<(Search, &str)> {
    let (engine, rest) = match text.strip_prefix(SPOKEN_SCHOLAR) {
        Some(rest) => ("scholar", rest),
        None => ("", text),
    };
    let (mode, rest) = SPOKEN
        .iter()
        .find_map(|(word, mode)| Some((*mode, rest.strip_prefix(word)?)))?;
    let question = rest.strip_prefix([':', '：']).unwrap_or(rest);
    Some((Search { mode, engine }, question))
}

fn model(id: &str) -> Model {
    Model {
        search: true,
        ..Model::new(id, id, CREATED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(mode: Mode, engine: &'static str) -> Search {
        Search { mode, engine }
    }

    /// The table of section 4.6, row by row, for both generations.
    #[test]
    fn follows_the_table() {
        for (id, chat, searchv2, engine) in [
            ("metaso-concise", "concise", "concise", ""),
            ("metaso-detail", "detail", "detail", ""),
            ("metaso-research", "research", "research", ""),
            ("metaso-concise-scholar", "concise", "concise", "scholar"),
            ("metaso-detail-scholar", "detail", "detail", "scholar"),
            ("metaso-research-scholar", "research", "research", "scholar"),
            ("metaso-scholar", "detail", "detail", "scholar"),
            ("metaso-fast", "concise", "fast", ""),
            ("metaso-strong-research", "strong-research", "research", ""),
            ("metaso-document", "detail", "detail", "pdf"),
            ("metaso-podcast", "detail", "detail", "podcast"),
            ("metaso-image", "detail", "detail", "image"),
            ("Metaso-Video", "detail", "detail", "video"),
            ("metaso-research-podcast", "research", "research", "podcast"),
            (
                "metaso-strong-research-document",
                "strong-research",
                "research",
                "pdf",
            ),
        ] {
            let (found, skipped) = choose(read(id).unwrap(), "学术研究搜索：x", Some(0.1));
            assert_eq!(
                (
                    found.mode.of_chat(),
                    found.mode.of_searchv2(),
                    found.engine,
                    skipped
                ),
                (chat, searchv2, engine, 0),
                "{id}"
            );
            assert!(find(id).is_some_and(|model| model.search));
        }
    }

    #[test]
    fn other_ids_are_nobodys() {
        for id in [
            "metaso-",
            "metaso-x",
            "metasoconcise",
            "metaso-scholar-concise",
            "metaso-concise-scholar-x",
            "metaso-strong",
            "metaso-research-strong-research",
            "gpt-4o",
            "",
        ] {
            assert_eq!(find(id), None, "{id}");
        }
        assert_eq!(find(&"metaso-detail".repeat(100_000)), None);
    }

    /// The vectors of section 5.4.
    #[test]
    fn a_bare_id_leaves_it_to_the_question() {
        let bare = read("metaso").unwrap();
        for (text, temperature, mode, engine, question) in [
            ("hi", None, Mode::Detail, "", "hi"),
            ("hi", Some(1.0), Mode::Research, "", "hi"),
            ("hi", Some(0.1), Mode::Concise, "", "hi"),
            ("hi", Some(0.4), Mode::Detail, "", "hi"),
            (
                "学术研究搜索：小米su7",
                None,
                Mode::Research,
                "scholar",
                "小米su7",
            ),
            ("简洁搜索:小米su7", Some(1.0), Mode::Concise, "", "小米su7"),
            ("深入搜索小米su7", None, Mode::Detail, "", "小米su7"),
            ("我在研究天气", None, Mode::Detail, "", "我在研究天气"),
            ("学术界", None, Mode::Detail, "", "学术界"),
        ] {
            let (found, skipped) = choose(bare, text, temperature);
            assert_eq!(
                (found, text.get(skipped..)),
                (search(mode, engine), Some(question)),
                "{text}"
            );
        }
    }
}
