//! Our model ids and what they mean upstream. Source: `wire/kimi.md` section 4.5.

use super::catalogue::Offer;
use crate::{chat::Effort, providers::Model};

/// 2026-01-27, when the scenario that most ids lead to was announced; constant, so that listings are stable.
const CREATED: i64 = 1_769_472_000;
/// Tokens (section 9), and those of `CONTEXT_LENGTH_XL` (section 3, sample).
const CONTEXT: u32 = 262_144;
const LONG_CONTEXT: u32 = 1_048_576;

const OK_COMPUTER: &str = "SCENARIO_OK_COMPUTER";
const RESEARCH: &str = "SCENARIO_RESEARCH";
/// K2.6, under the service's own key for it.
const K2D6: &str = "k2d6";
const K3: &str = "k3";
const K3_LONG: &str = "k3-long";
const K3_SWARM: &str = "k3-agent-ultra";

/// id, upstream, thinks, searches. Upstream is a scenario, or a key of the service's own list, whose row may overrule the table.
/// Suffixes come on top of these ([`find`]).
const MODELS: &[(&str, &str, bool, bool)] = &[
    ("kimi", K2D6, false, false),
    ("kimi-vision", K2D6, false, false),
    ("kimi-k2.6", K2D6, false, false),
    ("kimi-k2.5", K2D6, false, false),
    ("kimi-k2", "SCENARIO_K2", false, false),
    ("kimi-k1.5", "SCENARIO_K1D5", false, false),
    ("kimi-k1", "SCENARIO_K1D5", true, false),
    ("moonshot-v1-8k", K2D6, false, false),
    ("moonshot-v1-32k", K2D6, false, false),
    ("moonshot-v1-128k", K2D6, false, false),
    ("kimi-research", RESEARCH, true, true),
    ("kimi-k3", K3, true, false),
    ("kimi-k3-long", K3_LONG, true, false),
    ("kimi-k3-swarm", K3_SWARM, true, false),
];

/// The bold ones of the page.
const LISTED: &[&str] = &[
    "kimi",
    "kimi-vision",
    "kimi-k2.6",
    "kimi-k2.5",
    "kimi-k2",
    "kimi-k1.5",
    "kimi-thinking",
    "kimi-search",
    "kimi-k3",
];

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    LISTED.iter().filter_map(|id| find(id)).collect()
}

/// An id without its suffixes `-thinking` and `-search`, in lower case, and which of them there were.
fn parts(id: &str) -> (String, bool, bool) {
    let lower = id.to_ascii_lowercase();
    let (mut base, mut thinking, mut search) = (lower.as_str(), false, false);
    // In a loop: suffixes combine, in any order.
    loop {
        if let Some(rest) = base.strip_suffix("-thinking") {
            (base, thinking) = (rest, true);
        } else if let Some(rest) = base.strip_suffix("-search") {
            (base, search) = (rest, true);
        } else {
            break;
        }
    }
    (base.to_owned(), thinking, search)
}

/// The model that an id means: a row of the table, with any of the suffixes `-thinking` and `-search`.
pub(super) fn find(id: &str) -> Option<Model> {
    let (base, thinking, search) = parts(id);
    // Whole ids are compared, not parts of them: `kimi-k2.6` is no `kimi-k2`.
    let row = MODELS.iter().find(|row| row.0 == base)?;
    // The listed spelling, so that metrics know the model.
    let known = LISTED.iter().find(|known| id.eq_ignore_ascii_case(known));
    let context = if row.1 == K3_LONG {
        LONG_CONTEXT
    } else {
        CONTEXT
    };
    Some(Model {
        thinking: row.2 || thinking,
        search: row.3 || search,
        vision: true,
        files: true,
        context: Some(context),
        ..Model::new(known.copied().unwrap_or(id), row.1, CREATED)
    })
}

/// The models that the service lists for an account beyond [`listed`]: the table's rows for members where the account may
/// use them, and keys that the table does not know, as `kimi-KEY`.
pub(super) fn discovered(offers: &[Offer]) -> Vec<Model> {
    let mut found = Vec::new();
    for offer in offers.iter().filter(|offer| offer.is_usable) {
        match offer.key.as_str() {
            K2D6 => {}
            K3 if offer.has_long_context => found.extend(find("kimi-k3-long")),
            K3 => {}
            K3_SWARM => found.extend(find("kimi-k3-swarm")),
            // Its own id, so that it is asked for by the service's name.
            key => found.push(unknown(key, offer)),
        }
    }
    found
}

/// Whether the id is one of [`discovered`].
pub(super) fn is_discovered(id: &str, offers: &[Offer]) -> bool {
    let is = |offer: &Offer| match offer.key.as_str() {
        K2D6 => false,
        K3 => offer.has_long_context && id == "kimi-k3-long",
        K3_SWARM => id == "kimi-k3-swarm",
        key => id.strip_prefix("kimi-") == Some(key),
    };
    offers.iter().any(|offer| offer.is_usable && is(offer))
}

/// As [`find`], for the ids that only the service's list knows.
pub(super) fn find_offered(id: &str, offers: &[Offer]) -> Option<Model> {
    let (base, thinking, search) = parts(id);
    let key = base.strip_prefix("kimi-")?;
    let offer = offers
        .iter()
        // Only usable ones: an id that the account may not use would be refused, not unknown.
        .find(|offer| offer.is_usable && offer.key == key)?;
    let model = unknown(key, offer);
    Some(Model {
        id: id.to_owned(),
        thinking: model.thinking || thinking,
        search: model.search || search,
        ..model
    })
}

fn unknown(key: &str, offer: &Offer) -> Model {
    Model {
        thinking: offer.is_thinking,
        vision: true,
        files: true,
        context: Some(CONTEXT),
        ..Model::new(format!("kimi-{key}"), key, CREATED)
    }
}

/// How a model is asked for: what differs between the bodies of section 4.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// `scenario`.
    pub(super) scenario: String,
    /// `kimiplus_id`.
    pub(super) kimiplus_id: Option<String>,
    /// A tool of the site's own, besides search.
    pub(super) tool: Option<&'static str>,
    /// `options.reasoning_effort`.
    pub(super) effort: Option<&'static str>,
    /// `options.context_length`.
    pub(super) context_length: Option<String>,
}

impl Shape {
    fn of(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            ..Self::default()
        }
    }
}

/// The shapes in which a model may be asked for, the first one first; one that is refused as unknown or not allowed may go
/// through in the next. The service's own row for the model overrules the table (section 3, GetAvailableModels).
pub(super) fn shapes(
    upstream: &str,
    thinking: bool,
    effort: Option<Effort>,
    offers: &[Offer],
) -> Vec<Shape> {
    let key = if upstream == K3_LONG { K3 } else { upstream };
    // Both long and short K3 are one row of the service's list.
    let offer = offers.iter().find(|offer| offer.key == key);
    let mut first = match upstream {
        K2D6 => Shape {
            effort: Some(if thinking { LOW } else { NONE }),
            ..Shape::of("SCENARIO_K2D5")
        },
        K3 | K3_LONG | K3_SWARM => Shape {
            kimiplus_id: Some("ok-computer".to_owned()),
            tool: (upstream == K3_SWARM).then_some("TOOL_TYPE_PARALLEL_AGENT_V2"),
            effort: Some(k3_effort(thinking, effort, offer)),
            context_length: Some("CONTEXT_LENGTH_L".to_owned()),
            ..Shape::of(OK_COMPUTER)
        },
        scenario => Shape::of(scenario),
    };
    // What the service says now overrules what was written down.
    if let Some(offer) = offer {
        first.scenario.clone_from(&offer.scenario);
        first.kimiplus_id.clone_from(&offer.kimiplus_id);
        if offer.context_length.is_some() {
            first.context_length.clone_from(&offer.context_length);
        }
    }
    if upstream == K3_LONG {
        // The row's default is the short one, which is another model here.
        first.context_length = Some("CONTEXT_LENGTH_XL".to_owned());
    }
    let mut shapes = vec![first];
    if upstream == K3 {
        // Long contexts and the swarm have no such form.
        // Section 4.5: two more forms that were seen to work; neither takes a context length or the swarm's tool.
        shapes.extend(["SCENARIO_K3", "SCENARIO_K3_THINKING"].map(Shape::of));
    }
    shapes
}

const NONE: &str = "REASONING_EFFORT_NONE";
const LOW: &str = "REASONING_EFFORT_LOW";
const HIGH: &str = "REASONING_EFFORT_HIGH";
const MAX: &str = "REASONING_EFFORT_MAX";

/// K3 always thinks, at least a little (section 4.5).
fn k3_effort(thinking: bool, effort: Option<Effort>, offer: Option<&Offer>) -> &'static str {
    match effort {
        // Section 4.5: `none` is not possible for K3, so it is the least there is.
        _ if !thinking => LOW,
        Some(Effort::Low) => LOW,
        Some(Effort::Medium | Effort::High) => HIGH,
        Some(Effort::XHigh | Effort::Max) => MAX,
        Some(Effort::None | Effort::Minimal | Effort::Unknown) | None => offer
            .and_then(|offer| offer.effort.as_deref())
            .and_then(|word| [LOW, HIGH, MAX].into_iter().find(|known| *known == word))
            .unwrap_or(HIGH),
    }
}

/// Whether a model is one that not every membership has: being refused it says nothing about the credential.
pub(super) fn is_for_members(upstream: &str) -> bool {
    // Keys that the table does not know are of members, as the site lists them.
    upstream == RESEARCH || (upstream != K2D6 && !upstream.starts_with("SCENARIO_"))
}

/// Whether an id leaves the version to us, so that another model may answer where the owner allows it
/// (`KIMI_FREE_FALLBACK`, section 4.5).
pub(super) fn is_unversioned(id: &str) -> bool {
    parts(id).0 == "kimi"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_table() {
        for (id, scenario, thinking, search) in [
            ("kimi", "SCENARIO_K2D5", false, false),
            ("KIMI-K2.6", "SCENARIO_K2D5", false, false),
            ("kimi-k2.5-thinking", "SCENARIO_K2D5", true, false),
            ("kimi-k2", "SCENARIO_K2", false, false),
            ("kimi-k2-thinking-search", "SCENARIO_K2", true, true),
            ("kimi-k2-search-thinking", "SCENARIO_K2", true, true),
            ("kimi-k1", "SCENARIO_K1D5", true, false),
            ("kimi-k1.5-search", "SCENARIO_K1D5", false, true),
            ("moonshot-v1-128k", "SCENARIO_K2D5", false, false),
            ("kimi-thinking", "SCENARIO_K2D5", true, false),
            ("Kimi-Search", "SCENARIO_K2D5", false, true),
            ("kimi-research", "SCENARIO_RESEARCH", true, true),
            ("kimi-k3", "SCENARIO_OK_COMPUTER", true, false),
            ("kimi-k3-long", "SCENARIO_OK_COMPUTER", true, false),
            ("kimi-k3-swarm-search", "SCENARIO_OK_COMPUTER", true, true),
        ] {
            let model = find(id).unwrap();
            let form = shapes(&model.upstream, model.thinking, None, &[]).remove(0);
            assert_eq!(
                (form.scenario.as_str(), model.thinking, model.search),
                (scenario, thinking, search),
                "{id}"
            );
        }
    }

    #[test]
    fn lists_the_bold_ones_and_leaves_other_names_alone() {
        let ids: Vec<String> = listed().into_iter().map(|model| model.id).collect();
        assert_eq!(ids, LISTED);
        for id in [
            "",
            "-thinking",
            "kimi-k4",
            "kimi-k2.7",
            "gpt-4o",
            "kimik2",
            "kimi/kimi",
        ] {
            assert_eq!(find(id), None, "{id}");
        }
    }

    #[test]
    fn k3_has_three_forms_and_efforts() {
        let first = |upstream: &str, thinking, effort| shapes(upstream, thinking, effort, &[]);
        let asked = first(K3, true, None);
        assert_eq!(
            asked[0],
            Shape {
                scenario: OK_COMPUTER.into(),
                kimiplus_id: Some("ok-computer".into()),
                tool: None,
                effort: Some(HIGH),
                context_length: Some("CONTEXT_LENGTH_L".into()),
            }
        );
        assert_eq!(asked[1], Shape::of("SCENARIO_K3"));
        assert_eq!(asked.len(), 3);
        for (thinking, effort, expected) in [
            (true, Some(Effort::Low), LOW),
            (true, Some(Effort::Medium), HIGH),
            (true, Some(Effort::High), HIGH),
            (true, Some(Effort::Max), MAX),
            (false, None, LOW),
        ] {
            assert_eq!(first(K3, thinking, effort)[0].effort, Some(expected));
        }
        let swarm = first(K3_SWARM, true, None);
        assert_eq!(
            (swarm.len(), swarm[0].tool),
            (1, Some("TOOL_TYPE_PARALLEL_AGENT_V2"))
        );
        let long = first(K3_LONG, true, None).remove(0);
        assert_eq!(long.context_length.as_deref(), Some("CONTEXT_LENGTH_XL"));
        assert_eq!(first(K2D6, true, None)[0].effort, Some(LOW));
        assert_eq!(first(K2D6, false, None)[0].effort, Some(NONE));
        assert_eq!(first("SCENARIO_K2", true, None)[0].effort, None);
    }

    #[test]
    fn the_services_list_overrules_and_adds() {
        let offers = super::super::catalogue::tests::sample();
        let k3 = shapes(K3, true, None, &offers).remove(0);
        assert_eq!(
            (k3.effort, k3.context_length.as_deref()),
            (Some(HIGH), Some("CONTEXT_LENGTH_L"))
        );
        assert!(discovered(&offers).is_empty(), "what is for members only");
        let mut mine = offers;
        mine[1].scenario = "SCENARIO_NEW".into();
        mine[1].has_long_context = true;
        mine[2].is_usable = true;
        mine.push(Offer {
            key: "k4".into(),
            scenario: "SCENARIO_K4".into(),
            is_usable: true,
            ..Offer::default()
        });
        let ids: Vec<String> = discovered(&mine).into_iter().map(|it| it.id).collect();
        assert_eq!(ids, ["kimi-k3-long", "kimi-k3-swarm", "kimi-k4"]);
        assert!(ids.iter().all(|id| is_discovered(id, &mine)));
        for other in ["kimi-k2d6", "kimi-k3", "k4", "kimi-k5", ""] {
            assert!(!is_discovered(other, &mine), "{other}");
        }
        assert_eq!(shapes(K3, true, None, &mine)[0].scenario, "SCENARIO_NEW");
        let new = find_offered("Kimi-K4-Search", &mine).unwrap();
        assert!(new.search && new.id == "Kimi-K4-Search");
        assert_eq!(
            shapes(&new.upstream, false, None, &mine)[0].scenario,
            "SCENARIO_K4"
        );
        assert_eq!(find_offered("kimi-k5", &mine), None);
    }
}
