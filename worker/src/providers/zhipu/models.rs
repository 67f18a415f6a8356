//! Our model ids and what they mean upstream. Source: `wire/zhipu.md` section 4.2.

use crate::{chat::media::Makes, providers::Model};

/// 2026-03-01, the age of the seed's list; constant, so that listings are stable.
const CREATED: i64 = 1_772_323_200;

/// The site's chat.
pub(super) const CHAT: &str = "65940acff94777010aa6b796";
/// The site's drawing agent.
const DRAWING: &str = "65a232c082ff90a2ad2f15e2";

/// The listed models. `cogview-3-plus` draws and `cogvideox` films; all others talk.
const LISTED: &[&str] = &[
    "zhipu",
    "glm-5",
    "glm-5.1",
    "glm-5-plus",
    "glm-4",
    "glm-4-plus",
    "glm-4-air",
    "glm-4-flash",
    "glm-4-long",
    "glm-4v-plus",
    "glm-5-nothink",
    "glm-deepresearch",
    "cogview-3-plus",
    "cogvideox",
];

/// Videos are not made by an assistant.
const FILMING: &str = "cogvideox";

/// Ends of an id that are switches and no part of the service's own name for the model: what they say of thinking and of
/// searching.
const SWITCHES: &[(&str, Option<bool>, Option<bool>)] = &[
    ("-nothink", Some(false), None),
    ("-nothinking", Some(false), None),
    ("-thinking", Some(true), None),
    ("-think", Some(true), None),
    ("-search", None, Some(true)),
];

/// What the service is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `zero`: it thinks.
    Think,
    /// `deep_research`.
    Research,
    /// The empty word: it does not think.
    Plain,
    /// The drawing agent's empty word.
    Draw,
    /// No question to an assistant at all (section 4.4).
    Film,
}

impl Mode {
    /// `meta_data.chat_mode`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Think => "zero",
            Self::Research => "deep_research",
            Self::Plain | Self::Draw | Self::Film => "",
        }
    }
}

/// How a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    /// `assistant_id`; the deletion needs the same one.
    pub(super) assistant_id: &'a str,
    /// Its mode.
    pub(super) mode: Mode,
    /// `meta_data.selected_model`.
    pub(super) selected_model: Option<&'a str>,
}

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    LISTED.iter().filter_map(|id| find(id)).collect()
}

/// The model that an id means, for ids that are nobody else's: those of the table, `glm-<digit>…`, and an agent's own id.
pub(super) fn find(id: &str) -> Option<Model> {
    let base = base(id);
    let is_ours = is_family(&base)
        || base.starts_with("cogview")
        || base == FILMING
        // An agent's id by its looks needs a digit, or every long word would be one; named with `zhipu/`, it need not.
        || (is_agent_id(&base) && base.bytes().any(|byte| byte.is_ascii_digit()));
    is_ours.then(|| model(id, base))
}

/// As [`find`], for a caller who names this provider: also whatever says that it thinks or researches.
pub(super) fn accept(id: &str) -> Option<Model> {
    find(id).or_else(|| {
        let base = base(id);
        (says_it_thinks(&id.to_ascii_lowercase()) || is_research(&base) || is_agent_id(&base))
            .then(|| model(id, base))
    })
}

/// How to ask for a model that was [`find`]'s; `thinking` as it is to be.
pub(super) fn route(upstream: &str, thinking: bool) -> Route<'_> {
    let chat = |mode| Route {
        assistant_id: CHAT,
        mode,
        // Only of the family whose names the service knows (section 4.2, alternate).
        selected_model: is_versioned(upstream).then_some(upstream),
    };
    if upstream == FILMING {
        Route {
            assistant_id: "",
            mode: Mode::Film,
            selected_model: None,
        }
    } else if upstream.starts_with("cogview") {
        Route {
            assistant_id: DRAWING,
            mode: Mode::Draw,
            selected_model: None,
        }
    } else if is_agent_id(upstream) {
        Route {
            assistant_id: upstream,
            ..chat(if thinking { Mode::Think } else { Mode::Plain })
        }
    } else if is_research(upstream) {
        chat(Mode::Research)
    } else {
        chat(if thinking { Mode::Think } else { Mode::Plain })
    }
}

fn model(id: &str, base: String) -> Model {
    let (mut thinking, mut search) = (None, None);
    let lower = id.to_ascii_lowercase();
    let mut rest = lower.as_str();
    // From the end, as switches stand there.
    while let Some((shorter, thinks, searches)) = switch(rest) {
        // The last switch of an id is met first, and counts.
        thinking = thinking.or(thinks);
        search = search.or(searches);
        rest = shorter;
    }
    let known = LISTED.iter().find(|known| id.eq_ignore_ascii_case(known));
    let films = base == FILMING;
    let draws = films || base.starts_with("cogview");
    Model {
        thinking: !draws && thinking.unwrap_or(true),
        search: !draws && search.unwrap_or(false),
        // A video may begin with a picture; drawing takes none.
        vision: films || !draws,
        files: !draws,
        makes: match (films, draws) {
            (true, _) => Makes::Video,
            (false, true) => Makes::Image,
            (false, false) => Makes::Text,
        },
        ..Model::new(known.copied().unwrap_or(id), base, CREATED)
    }
}

fn base(id: &str) -> String {
    let lower = id.to_ascii_lowercase();
    let mut base = lower.as_str();
    while let Some((shorter, _, _)) = switch(base) {
        base = shorter;
    }
    base.to_owned()
}

/// An id without its last switch, and what that says.
fn switch(id: &str) -> Option<(&str, Option<bool>, Option<bool>)> {
    SWITCHES.iter().find_map(|(end, thinking, search)| {
        let rest = id.strip_suffix(end).filter(|rest| !rest.is_empty())?;
        Some((rest, *thinking, *search))
    })
}

/// The provider's own names, and with a word for a mode behind them.
fn is_family(base: &str) -> bool {
    let is_named = |name: &str| {
        base.strip_prefix(name).is_some_and(|rest| {
            rest.is_empty()
                || (rest.starts_with('-') && (says_it_thinks(rest) || is_research(rest)))
        })
    };
    is_versioned(base)
        || ["zhipu", "chatglm"].into_iter().any(is_named)
        || (base.starts_with("glm-") && is_named("glm"))
}

/// `glm-<digit>…`
pub(super) fn is_versioned(base: &str) -> bool {
    base.strip_prefix("glm-")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn says_it_thinks(id: &str) -> bool {
    id.contains("think") || id.contains("zero")
}

fn is_research(base: &str) -> bool {
    base.contains("deepresearch") || base.contains("deep-research")
}

fn is_agent_id(base: &str) -> bool {
    base.len() >= 24
        && base
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "676411c38945bbc58a905d31";

    /// The table of section 4.2.
    #[test]
    fn knows_the_pages_ids() {
        let row = |id: &str| {
            let model = accept(id)?;
            let route = route(&model.upstream, model.thinking);
            Some((
                route.assistant_id.to_owned(),
                route.mode,
                route.selected_model.map(str::to_owned),
            ))
        };
        let chat = |mode, selected: &str| {
            let selected = Some(selected.to_owned()).filter(|it| !it.is_empty());
            Some((CHAT.to_owned(), mode, selected))
        };
        for (id, expected) in [
            ("zhipu", chat(Mode::Think, "")),
            ("chatglm", chat(Mode::Think, "")),
            ("glm-5", chat(Mode::Think, "glm-5")),
            ("GLM-4-Plus", chat(Mode::Think, "glm-4-plus")),
            ("glm-4v", chat(Mode::Think, "glm-4v")),
            ("glm-7.2-turbo", chat(Mode::Think, "glm-7.2-turbo")),
            ("glm-5-thinking", chat(Mode::Think, "glm-5")),
            ("glm-5-nothink", chat(Mode::Plain, "glm-5")),
            ("glm-5-search-nothink", chat(Mode::Plain, "glm-5")),
            ("glm-zero-preview", chat(Mode::Think, "")),
            ("my-zero", chat(Mode::Think, "")),
            ("zhipu-think", chat(Mode::Think, "")),
            ("glm-deepresearch", chat(Mode::Research, "")),
            (
                "glm-5-deep-research",
                chat(Mode::Research, "glm-5-deep-research"),
            ),
            ("some-deepresearch", chat(Mode::Research, "")),
            (AGENT, Some((AGENT.to_owned(), Mode::Think, None))),
            (
                "cogview-3-plus",
                Some((DRAWING.to_owned(), Mode::Draw, None)),
            ),
            ("cogvideox", Some((String::new(), Mode::Film, None))),
            ("cogvideox-pro", None),
            ("glm-x", None),
            ("gpt-4", None),
            ("", None),
        ] {
            assert_eq!(row(id), expected, "{id}");
        }
    }

    #[test]
    fn takes_nobody_elses_ids() {
        for id in [
            "kimi-k2-thinking",
            "my-zero",
            "deepseek-think",
            "glmx",
            "averylongnameofsomeothermodel",
        ] {
            assert_eq!(find(id), None, "{id}");
        }
        assert!(find(AGENT).is_some_and(|model| model.upstream == AGENT));
    }

    #[test]
    fn switches_stand_in_the_id() {
        let model = |id: &str| {
            let model = find(id).unwrap();
            (model.id, model.upstream, model.thinking, model.search)
        };
        let row = |id: &str, upstream: &str, thinking, search| {
            (id.to_owned(), upstream.to_owned(), thinking, search)
        };
        assert_eq!(model("GLM-5"), row("glm-5", "glm-5", true, false));
        assert_eq!(
            model("glm-5-search"),
            row("glm-5-search", "glm-5", true, true)
        );
        assert_eq!(
            model("glm-4-search-nothink"),
            row("glm-4-search-nothink", "glm-4", false, true)
        );
        assert_eq!(listed().len(), LISTED.len());
    }
}
