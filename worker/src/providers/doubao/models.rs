//! Our model ids, and what each of them asks for. The service knows no models: an id chooses how deep it thinks, another
//! bot, or pictures. Source: `wire/doubao.md` section 4.3.

use crate::{chat::media::Makes, providers::Model};

/// 2026-03-01, the date of the page's main source; constant, so that listings are stable.
const CREATED: i64 = 1_772_323_200;
/// The service's own assistant.
pub(super) const BOT: &str = "7338286299411103781";
const LISTED: &[&str] = &[
    "doubao",
    "doubao-thinking",
    "doubao-pro",
    "doubao-lite",
    "doubao-1.5-pro",
    "doubao-auto",
    "doubao-expert",
    "doubao-seedream",
];
/// Names for the same thing.
const BASES: &[&str] = &[
    "doubao",
    "doubao-pro",
    "doubao-lite",
    "doubao-1.5-pro",
    "doubao-1.5-lite",
    "doubao-pro-v1",
    "doubao-lite-4k",
    "doubao-lite-32k",
];
const PICTURES: &[&str] = &["doubao-seedream", "doubao-seedream-3", "doubao-image"];
const DEPTHS: &[(&str, Depth)] = &[
    ("-thinking", Depth::Think),
    ("-auto", Depth::Automatic),
    ("-expert", Depth::Expert),
];

/// How deep it thinks: `need_deep_think`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    Quick = 0,
    Think = 1,
    Automatic = 2,
    Expert = 3,
}

impl Depth {
    /// The depth for a request that may say whether to think.
    pub(super) fn told(self, thinking: Option<bool>) -> Self {
        match (thinking, self) {
            // A model id that asks for the expert is not set back by a mere "think".
            (None, own) | (Some(true), own @ Self::Expert) => own,
            (Some(false), _) => Self::Quick,
            (Some(true), _) => Self::Think,
        }
    }
}

/// What an id asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An answer of a bot.
    Answer { bot: String, depth: Depth },
    /// Pictures, and no words.
    Pictures,
}

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    LISTED.iter().filter_map(|id| find(id)).collect()
}

/// The model that an id means.
pub(super) fn find(id: &str) -> Option<Model> {
    let id = id.to_ascii_lowercase();
    let wanted = read(&id)?;
    let thinks = |depth| matches!(depth, Depth::Think | Depth::Expert);
    Some(Model {
        thinking: matches!(wanted, Wanted::Answer { depth, .. } if thinks(depth)),
        vision: true,
        files: wanted != Wanted::Pictures,
        makes: if wanted == Wanted::Pictures {
            Makes::Image
        } else {
            Makes::Text
        },
        ..Model::new(id.clone(), id, CREATED)
    })
}

/// What an id asks for; `None` for ids that are not this service's.
pub(super) fn read(id: &str) -> Option<Wanted> {
    if PICTURES.contains(&id) {
        return Some(Wanted::Pictures);
    }
    // Bots' ids; bare numbers of other lengths are other services'.
    if matches!(id.len(), 15..=20) && id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Wanted::Answer {
            bot: id.to_owned(),
            depth: Depth::Quick,
        });
    }
    let deep = DEPTHS
        .iter()
        .find_map(|(suffix, depth)| Some((id.strip_suffix(suffix)?, *depth)));
    let (base, depth) = deep.unwrap_or((id, Depth::Quick));
    BASES.contains(&base).then(|| Wanted::Answer {
        bot: BOT.to_owned(),
        depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bot: &str, depth: Depth) -> Wanted {
        Wanted::Answer {
            bot: bot.to_owned(),
            depth,
        }
    }

    /// The table of section 4.3.
    #[test]
    fn follows_the_table() {
        for base in BASES {
            assert_eq!(read(base), Some(answer(BOT, Depth::Quick)), "{base}");
            for (suffix, depth) in DEPTHS {
                let id = format!("{base}{suffix}");
                assert_eq!(read(&id), Some(answer(BOT, *depth)), "{id}");
            }
        }
        let bot = "7234781073513644036";
        assert_eq!(read(bot), Some(answer(bot, Depth::Quick)));
        for id in PICTURES {
            assert_eq!(read(id), Some(Wanted::Pictures));
        }
        assert_eq!(listed().len(), LISTED.len());
        assert!(find("Doubao-Expert").is_some_and(|model| model.thinking));
        assert!(find("doubao-auto").is_some_and(|model| !model.thinking));
    }

    #[test]
    fn other_ids_are_nobodys() {
        for id in [
            "doubao-",
            "doubao-2",
            "doubao-thinking-thinking",
            "doubao-seedream-thinking",
            "-thinking",
            "12345678901234",
            "123456789012345678901",
            "gpt-4o",
            "",
        ] {
            assert_eq!(find(id), None, "{id}");
        }
    }

    #[test]
    fn a_request_may_say_whether_to_think() {
        for (own, thinking, told) in [
            (Depth::Quick, None, Depth::Quick),
            (Depth::Quick, Some(true), Depth::Think),
            (Depth::Automatic, Some(true), Depth::Think),
            (Depth::Expert, Some(true), Depth::Expert),
            (Depth::Expert, Some(false), Depth::Quick),
            (Depth::Automatic, None, Depth::Automatic),
        ] {
            assert_eq!(own.told(thinking), told);
        }
    }
}
