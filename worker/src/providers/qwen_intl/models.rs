//! Our model ids and what they mean upstream. Source: `wire/qwen_intl.md` section 5.

use super::site::Site;
use crate::{
    chat::media::{Makes, Size},
    providers::Model,
};

/// 2026-08-01, the month of the page's list; constant, so that listings are stable.
const CREATED: i64 = 1_785_542_400;

/// The site's models as the page lists them.
const CATALOGUE: &[&str] = &[
    "qwen3.7-plus",
    "qwen3.7-max",
    "qwen3.6-plus",
    "qwen3.5-plus",
    "qwen3.5-flash",
    "qwen3-max-2026-01-23",
    "qwen-plus-2025-07-28",
    "qwen3-coder-plus",
    "qwen3-vl-plus",
    "qwen3-omni-flash-2025-12-01",
    "qwen3.6-max-preview",
    "qwen3.6-27b",
    "qwen3.6-35b-a3b",
    "qwen3.5-omni-plus",
    "qwen3.5-omni-flash",
    "qwen3.5-max-2026-03-08",
    "qwen3.5-397b-a17b",
    "qwen3.5-122b-a10b",
    "qwen3.5-27b",
    "qwen3.5-35b-a3b",
];

/// Names that mean the domestic site where they stand alone (`wire/qwen.md` section 5), in lower case.
const DOMESTIC: &[&str] = &[
    "qwen",
    "qwen-long",
    "qwen-max",
    "qwen-plus",
    "qwen-turbo",
    "qwen-vl-max",
    "qwen-vl-plus",
    "qwen3",
    "qwen3-coder",
    "qwen3-flash",
    "qwen3-max",
    "qwen3-max-preview",
    "qwen3-max-thinking",
    "qwen3-omni-flash",
    "qwen3.5-flash",
    "qwen3.5-plus",
    "qwen3.6-flash",
    "qwen3.6-plus",
    "qwen3.7",
    "qwen3.7-max",
    "qwen3.8-max",
];

/// What names the site; the first of them is listed.
const PREFIXES: &[&str] = &["qwen-intl/", "qwen_intl/"];

/// The seed's names for pictures and videos.
const DRAWS: &str = "wanx";
const FILMS: &str = "animate";

/// Every suffix, longest first.
const SUFFIXES: &[(&str, Purpose)] = &[
    (
        "-thinking-search",
        Purpose::Text {
            thinking: true,
            search: true,
        },
    ),
    ("-image-edit", Purpose::Edit),
    (
        "-thinking",
        Purpose::Text {
            thinking: true,
            search: false,
        },
    ),
    (
        "-search",
        Purpose::Text {
            thinking: false,
            search: true,
        },
    ),
    ("-image", Purpose::Draw),
    ("-video", Purpose::Film),
];

/// What a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Words, with what is on unless told otherwise.
    Text { thinking: bool, search: bool },
    /// A picture.
    Draw,
    /// Another picture of one that is attached.
    Edit,
    /// A video.
    Film,
}

impl Purpose {
    fn is_media(self) -> bool {
        !matches!(self, Self::Text { .. })
    }
}

/// The kind of a chat and of its message, in the service's words (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Search,
    Image,
    ImageEdit,
    Video,
    VideoOfImage,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Text => "t2t",
            Self::Search => "search",
            Self::Image => "t2i",
            Self::ImageEdit => "image_edit",
            Self::Video => "t2v",
            Self::VideoOfImage => "i2v",
        }
    }

    pub(super) fn is_video(self) -> bool {
        matches!(self, Self::Video | Self::VideoOfImage)
    }
}

/// An id without its suffix, and what the suffix asks for.
fn split(id: &str) -> (&str, Purpose) {
    // Longest first, so that `-search` does not take the end of `-thinking-search`.
    for (suffix, purpose) in SUFFIXES {
        // By bytes and by the ends of characters: an id is the client's, and may hold any text.
        let Some((base, end)) = id
            .len()
            .checked_sub(suffix.len())
            .and_then(|at| id.split_at_checked(at))
        else {
            continue;
        };
        if end.eq_ignore_ascii_case(suffix) && !base.is_empty() {
            return (base, *purpose);
        }
    }
    let plain = Purpose::Text {
        thinking: false,
        search: false,
    };
    (id, plain)
}

fn without_prefix(id: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| {
        // `qwen-intl/` alone is no model.
        let rest = id.strip_prefix(prefix)?;
        (!rest.is_empty()).then_some(rest)
    })
}

/// The one of a list's names that an id is, in the list's spelling.
fn known<'a>(names: impl IntoIterator<Item = &'a str>, id: &str) -> Option<&'a str> {
    names
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(id))
}

fn is_domestic(id: &str) -> bool {
    known(DOMESTIC.iter().copied(), id).is_some()
}

/// What an id asks for, whoever accepted it.
pub(super) fn purpose(id: &str) -> Purpose {
    let lower = id.to_ascii_lowercase();
    match split(id) {
        // The suffix says it better.
        (_, purpose) if purpose.is_media() => purpose,
        _ if lower.contains(FILMS) => Purpose::Film,
        _ if lower.contains(DRAWS) => Purpose::Draw,
        (_, purpose) => purpose,
    }
}

/// The model that an id means for whoever names the site: whatever stands before its suffix is the site's to know.
pub(super) fn accept(id: &str, site: &Site, discovered: &[String]) -> Model {
    let name = without_prefix(id).unwrap_or(id);
    let (base, purpose) = (split(name).0, purpose(name));
    let lower = name.to_ascii_lowercase();
    let is_seeds = lower.contains(DRAWS) || lower.contains(FILMS);
    let listed = discovered.iter().map(String::as_str);
    let upstream = match purpose {
        Purpose::Film if is_seeds => &site.video_model,
        Purpose::Draw | Purpose::Edit if is_seeds => &site.image_model,
        // In the site's spelling where it is known; what is not is the site's to refuse.
        _ => known(CATALOGUE.iter().copied().chain(listed), base).unwrap_or(base),
    };
    model(id, upstream, purpose)
}

/// As [`accept`], for ids that stand alone: the site's own prefix, the seed's names, what only the international site has, and
/// pictures and videos of any model of the family.
pub(super) fn find(id: &str, site: &Site, discovered: &[String]) -> Option<Model> {
    if without_prefix(id).is_some() {
        return Some(accept(id, site, discovered));
    }
    // Another provider's prefix.
    if id.contains('/') {
        return None;
    }
    let lower = id.to_ascii_lowercase();
    if lower.contains(DRAWS) || lower.contains(FILMS) {
        return Some(accept(id, site, discovered));
    }
    let (base, purpose) = split(id);
    let is_family = ["qwen", "qwq", "qvq"]
        .iter()
        .any(|start| lower.starts_with(start));
    let listed = discovered.iter().map(String::as_str);
    let is_ours = if purpose.is_media() {
        // Only this site makes any.
        is_family
    } else {
        // Section 5: a bare domestic name stays domestic, although this site has it too.
        !is_domestic(base) && known(CATALOGUE.iter().copied().chain(listed), base).is_some()
    };
    is_ours.then(|| accept(id, site, discovered))
}

/// The id that an upstream model is listed under.
fn listed_id(upstream: &str) -> String {
    if is_domestic(upstream) {
        format!("{}{upstream}", PREFIXES[0])
    } else {
        upstream.to_owned()
    }
}

/// The listed models: the catalogue, every suffix of its first row, and the seed's two names.
pub(super) fn listed(site: &Site) -> Vec<Model> {
    let plain = CATALOGUE.iter().map(|upstream| listed_id(upstream));
    // Every suffix once: with each of twenty models the list would be unreadable.
    let first = CATALOGUE.iter().take(1);
    let switched = first.flat_map(|base| SUFFIXES.iter().map(move |it| format!("{base}{}", it.0)));
    let seeds = ["wanx-v1", "animate-v1"].map(str::to_owned);
    plain
        .chain(switched)
        .chain(seeds)
        .map(|id| accept(&id, site, &[]))
        .collect()
}

/// A model that the site itself has listed.
pub(super) fn discovered(upstream: &str, site: &Site) -> Model {
    accept(&listed_id(upstream), site, &[])
}

fn model(id: &str, upstream: &str, purpose: Purpose) -> Model {
    let (thinking, search) = match purpose {
        Purpose::Text { thinking, search } => (thinking, search),
        Purpose::Draw | Purpose::Edit | Purpose::Film => (false, false),
    };
    Model {
        thinking,
        search,
        // A picture's own model reads none; an edit and a video begin with one.
        vision: purpose != Purpose::Draw,
        files: !purpose.is_media(),
        makes: match purpose {
            Purpose::Text { .. } => Makes::Text,
            Purpose::Draw | Purpose::Edit => Makes::Image,
            Purpose::Film => Makes::Video,
        },
        ..Model::new(id, upstream, CREATED)
    }
}

/// The five shapes that the site makes (section 4.3).
pub(super) const SHAPES: &[Size] = &[
    Size::of(1, 1),
    Size::of(4, 3),
    Size::of(3, 4),
    Size::of(16, 9),
    Size::of(9, 16),
];

/// The site's word for a size: that of the nearest of its shapes. Pixels are not accepted.
pub(super) fn ratio(size: Option<Size>, kind: Kind) -> String {
    let usual = if kind.is_video() {
        Size::of(16, 9)
    } else {
        Size::of(1, 1)
    };
    let shape = size.and_then(|size| size.nearest(SHAPES));
    let Size { width, height } = shape.unwrap_or(usual);
    format!("{width}:{height}")
}

#[cfg(test)]
#[path = "models_tests.rs"]
mod tests;
