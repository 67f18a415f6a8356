//! Our model ids and what they mean in each generation. Source: `wire/minimax.md` sections 4 and 12.3.

use super::offers::Offer;
use crate::providers::Model;

/// 2026-08-14, the first capture of the cloud generation; constant, so that listings are stable.
const CREATED: i64 = 1_786_665_600;
/// The upstream name of the ids that leave the choice to the service.
const AUTO: &str = "auto";
const M3: &str = "MiniMax-M3";
const THINKING: &str = "thinking";

/// When a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thinks {
    /// When it is asked to.
    Asked,
    /// Always.
    Always,
}

/// id, upstream, thinks by itself, context window.
const MODELS: &[(&str, &str, bool, Option<u32>)] = &[
    ("minimax", AUTO, false, Some(450_000)),
    ("minimax-auto", AUTO, false, Some(450_000)),
    ("MiniMax-M3", M3, false, Some(450_000)),
    ("MiniMax-M3-thinking", M3, true, Some(450_000)),
    ("MiniMax-M2.7", "MiniMax-M2.7", true, Some(200_000)),
    (
        "MiniMax-M2.7-highspeed",
        "MiniMax-M2.7-highspeed",
        true,
        Some(200_000),
    ),
    ("MiniMax-M2.5", "MiniMax-M2.5", true, Some(200_000)),
    (
        "MiniMax-M3.1-Flash-Preview",
        "MiniMax-M3.1-Flash-Preview",
        true,
        None,
    ),
];

/// Accepted, but listed only where the service lists it.
const UNLISTED: &[&str] = &["MiniMax-M3.1-Flash-Preview"];

/// How the cloud and archon generations are asked for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cloud {
    /// `model_id`.
    pub(super) model_id: String,
    /// `variant`: empty or `thinking`.
    pub(super) variant: &'static str,
}

/// How the matrix generation is asked for a model: `display_name` and `model_type`.
pub(super) type Matrix = (&'static str, u32);

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    let ids = MODELS.iter().map(|row| row.0);
    let ids = ids.filter(|id| !UNLISTED.contains(id));
    ids.filter_map(|id| find(id, &[])).collect()
}

/// The model that an id means, in whatever case; `offers` are what the service lists.
pub(super) fn find(id: &str, offers: &[Offer]) -> Option<Model> {
    if let Some((known, upstream, thinking, context)) = row(id) {
        // What the service says of its window is newer than the table.
        let context = offer(upstream, offers).map_or(*context, |offer| offer.context.or(*context));
        return Some(Model {
            thinking: *thinking,
            vision: true,
            files: true,
            context,
            ..Model::new(*known, *upstream, CREATED)
        });
    }
    // After the table: its ids are spelt as the page spells them.
    if let Some(offer) = offer(id, offers) {
        return Some(offered(offer));
    }
    // The switch of a model that thinks when it is asked to.
    let (base, end) = id.rsplit_once('-')?;
    // Asked of `find` again, so that a model that only the service lists has the switch as well.
    let model = find(base, offers).filter(|_| end.eq_ignore_ascii_case(THINKING))?;
    // Once: what thinks already has no switch.
    let is_switch = !model.thinking && thinks(&model.upstream, offers) == Thinks::Asked;
    is_switch.then(|| Model {
        id: id.to_owned(),
        thinking: true,
        ..model
    })
}

/// The models that the service lists beyond [`listed`].
pub(super) fn discovered(offers: &[Offer]) -> Vec<Model> {
    let is_listed =
        |offer: &&Offer| row(&offer.model_id).is_some_and(|row| !UNLISTED.contains(&row.0));
    let new = offers.iter().filter(|offer| !is_listed(offer));
    new.filter_map(|offer| find(&offer.model_id, offers))
        .collect()
}

/// How to ask the cloud generation for a model; `None` when its list is known and has no such model.
pub(super) fn cloud(upstream: &str, thinking: bool, offers: &[Offer]) -> Option<Cloud> {
    // Section 12.3: the cloud generation has no Auto.
    let wanted = if upstream == AUTO { M3 } else { upstream };
    // The service's spelling: the caller's id was compared without regard to case.
    let model_id = match offer(wanted, offers) {
        Some(offer) => offer.model_id.clone(),
        // An unreadable list is no reason to refuse what the table knows.
        None if offers.is_empty() => wanted.to_owned(),
        None => return None,
    };
    let thinking = thinking || thinks(wanted, offers) == Thinks::Always;
    Some(Cloud {
        model_id,
        variant: if thinking { THINKING } else { "" },
    })
}

/// How to ask the matrix generation for a model; `None` for those that it does not have.
pub(super) fn matrix(upstream: &str) -> Option<Matrix> {
    match upstream {
        AUTO => Some(("Auto", 0)),
        "MiniMax-M2.5" => Some(("MiniMax-M2.5", 501)),
        // The other ids are the cloud generation's; the seed's code quietly uses M2.5 for them (section 4).
        "MiniMax-M2.7" => Some(("MiniMax-M2.7", 502)),
        _ => None,
    }
}

fn row(id: &str) -> Option<&'static (&'static str, &'static str, bool, Option<u32>)> {
    MODELS.iter().find(|row| row.0.eq_ignore_ascii_case(id))
}

fn offer<'a>(id: &str, offers: &'a [Offer]) -> Option<&'a Offer> {
    let mut found = offers.iter();
    found.find(|offer| offer.model_id.eq_ignore_ascii_case(id))
}

fn offered(offer: &Offer) -> Model {
    Model {
        thinking: thinks_by_offer(offer) == Thinks::Always,
        vision: true,
        files: true,
        context: offer.context,
        ..Model::new(offer.model_id.as_str(), offer.model_id.as_str(), CREATED)
    }
}

fn thinks(upstream: &str, offers: &[Offer]) -> Thinks {
    match upstream {
        AUTO | M3 => Thinks::Asked,
        _ if row(upstream).is_some() => Thinks::Always,
        _ => offer(upstream, offers).map_or(Thinks::Asked, thinks_by_offer),
    }
}

fn thinks_by_offer(offer: &Offer) -> Thinks {
    let has = |variant: &str| offer.variants.iter().any(|known| known == variant);
    // Section 12.3: both variants are a switch; one alone is no choice.
    if has(THINKING) && !has("") {
        Thinks::Always
    } else {
        Thinks::Asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(id: &str, variants: &[&str]) -> Offer {
        Offer {
            model_id: id.to_owned(),
            variants: variants.iter().map(|it| (*it).to_owned()).collect(),
            context: Some(1000),
        }
    }

    /// The tables of sections 4 and 12.3.
    #[test]
    fn knows_the_pages_ids() {
        for (id, cloud_id, variant, matrix_type) in [
            ("minimax", M3, "", Some(0)),
            ("MINIMAX-AUTO", M3, "", Some(0)),
            ("MiniMax-M3", M3, "", None),
            ("minimax-m3-thinking", M3, "thinking", None),
            ("MiniMax-M2.7", "MiniMax-M2.7", "thinking", Some(502)),
            (
                "MiniMax-M2.7-highspeed",
                "MiniMax-M2.7-highspeed",
                "thinking",
                None,
            ),
            ("MiniMax-M2.5", "MiniMax-M2.5", "thinking", Some(501)),
            (
                "MiniMax-M3.1-Flash-Preview",
                "MiniMax-M3.1-Flash-Preview",
                "thinking",
                None,
            ),
            ("minimax-thinking", M3, "thinking", Some(0)),
        ] {
            let model = find(id, &[]).unwrap();
            let asked = cloud(&model.upstream, model.thinking, &[]);
            assert_eq!(
                asked,
                Some(Cloud {
                    model_id: cloud_id.to_owned(),
                    variant
                }),
                "{id}"
            );
            assert_eq!(matrix(&model.upstream).map(|it| it.1), matrix_type, "{id}");
        }
        for id in [
            "MiniMax-M9",
            "minimax-m2.5-thinking",
            "MiniMax-M3-thinking-thinking",
            "minimax-thinking-THINKING",
            "",
            "thinking",
            "-thinking",
            "gpt-4",
        ] {
            assert_eq!(find(id, &[]), None, "{id}");
        }
        assert_eq!(listed().len(), 7);
        assert_eq!(find("minimax-M3", &[]).unwrap().id, "MiniMax-M3");
    }

    #[test]
    fn the_services_list_decides_where_it_is_known() {
        let offers = [
            offer("minimax-m3", &["", "thinking"]),
            offer("MiniMax-M4", &["", "thinking"]),
            offer("MiniMax-M5", &["thinking"]),
        ];
        assert_eq!(cloud(AUTO, false, &offers).unwrap().model_id, "minimax-m3");
        assert_eq!(cloud("MiniMax-M2.5", true, &offers), None);
        let ids: Vec<String> = discovered(&offers).into_iter().map(|it| it.id).collect();
        assert_eq!(ids, ["MiniMax-M4", "MiniMax-M5"]);
        let asked = |id: &str| {
            let model = find(id, &offers).unwrap();
            cloud(&model.upstream, model.thinking, &offers)
                .unwrap()
                .variant
        };
        assert_eq!(asked("minimax-m4"), "");
        assert_eq!(asked("MiniMax-M4-thinking"), "thinking");
        assert_eq!(asked("MiniMax-M5"), "thinking");
        assert_eq!(find("MiniMax-M4", &offers).unwrap().context, Some(1000));
        let preview = [offer("MiniMax-M3.1-Flash-Preview", &["thinking"])];
        assert_eq!(discovered(&preview).len(), 1);
    }
}
