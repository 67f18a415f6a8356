//! The sources of an answer, and which of them its text cites. Source: `wire/metaso.md` sections 6 and 10.2.

use serde::Deserialize;
use serde_json::Value;

use crate::chat::ChatEvent;

/// Sources of one answer; real ones have a few dozen.
const MOST: usize = 1024;
/// A URL longer than this is left out, a longer title cut.
const MOST_URL_BYTES: usize = 4096;
const MOST_TITLE_CHARS: usize = 512;

/// One entry of a list of references, in either generation. Nothing in it need be what it is said to be.
#[derive(Deserialize)]
pub(super) struct Item {
    link: Option<Value>,
    url: Option<Value>,
    origin_url: Option<Value>,
    title: Option<Value>,
    orig_title: Option<Value>,
    #[serde(rename = "displaySource")]
    display_source: Option<Value>,
    id: Option<Value>,
    display: Option<Value>,
}

/// Everything that was found, in the list's order.
#[derive(Debug, Default)]
pub(super) struct Sources {
    list: Vec<Source>,
    /// Distinct numbers of marks in the text.
    cited: Vec<u32>,
}

#[derive(Debug)]
struct Source {
    /// What the marks call it; none: its place.
    number: Option<u32>,
    url: String,
    title: String,
}

impl Sources {
    /// A new list in place of the one before.
    pub(super) fn set(&mut self, items: Vec<Item>) {
        self.list.clear();
        for item in items {
            self.push(item);
        }
    }

    /// More of the list; those that are in it already are not repeated.
    pub(super) fn extend(&mut self, items: Vec<Item>) {
        for item in items {
            let url = item.url();
            // By the address: the two lists of a generation number their items differently.
            if self
                .list
                .iter()
                .all(|known| Some(known.url.as_str()) != url)
            {
                self.push(item);
            }
        }
    }

    /// An item without a usable address keeps its place, as the numbers count it.
    fn push(&mut self, item: Item) {
        // Their order counts: what is beyond the bound cannot be cited.
        if self.list.len() >= MOST {
            return;
        }
        let url = item.url().filter(|url| url.len() <= MOST_URL_BYTES);
        self.list.push(Source {
            number: item.number(),
            url: url.unwrap_or_default().to_owned(),
            title: item.title().chars().take(MOST_TITLE_CHARS).collect(),
        });
    }

    /// The text cites this number.
    pub(super) fn cite(&mut self, number: u32) {
        if self.cited.len() < MOST && !self.cited.contains(&number) {
            self.cited.push(number);
        }
    }

    /// The cited sources by their numbers; all of them where the text has no marks (section 6).
    pub(super) fn citations(&mut self) -> Vec<ChatEvent> {
        let list = std::mem::take(&mut self.list);
        let citation = |index: u32, source: &Source| {
            (!source.url.is_empty()).then(|| ChatEvent::Citation {
                index,
                url: source.url.clone(),
                title: source.title.clone(),
            })
        };
        if self.cited.is_empty() {
            let numbered = list.iter().zip(1..);
            return numbered
                .filter_map(|(source, place)| citation(source.number.unwrap_or(place), source))
                .collect();
        }
        self.cited.sort_unstable();
        let found = |&number: &u32| {
            // By its own number first, else by its place (section 6).
            let named = list.iter().find(|source| source.number == Some(number));
            let placed = || list.get(usize::try_from(number).ok()?.checked_sub(1)?);
            citation(number, named.or_else(placed)?)
        };
        self.cited.iter().filter_map(found).collect()
    }
}

impl Item {
    fn url(&self) -> Option<&str> {
        first(&[&self.link, &self.url, &self.origin_url])
    }

    fn title(&self) -> &str {
        first(&[&self.title, &self.orig_title, &self.display_source]).unwrap_or_default()
    }

    fn number(&self) -> Option<u32> {
        // The chat generation shows another number than the item's id (section 10.2).
        let shown = self.display.as_ref().and_then(|it| it.get("refer_id"));
        [shown, self.id.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|number| match number {
                Value::Number(number) => number.as_u64()?.try_into().ok(),
                Value::String(digits) => digits.parse().ok(),
                _ => None,
            })
    }
}

fn first<'a>(values: &[&'a Option<Value>]) -> Option<&'a str> {
    let mut texts = values.iter().filter_map(|value| value.as_ref()?.as_str());
    texts.find(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(json: &str) -> Vec<Item> {
        serde_json::from_str(json).unwrap()
    }

    fn citations(mut sources: Sources) -> Vec<(u32, String, String)> {
        let plain = |event| match event {
            ChatEvent::Citation { index, url, title } => (index, url, title),
            other => panic!("{other:?}"),
        };
        sources.citations().into_iter().map(plain).collect()
    }

    fn own(index: u32, url: &str, title: &str) -> (u32, String, String) {
        (index, url.to_owned(), title.to_owned())
    }

    #[test]
    fn reads_every_form_and_numbers_by_name_or_place() {
        let mut sources = Sources::default();
        sources.set(items(r#"[{"link":"gone"}]"#));
        sources.set(items(
            r#"[{"id":7,"link":"a","url":"x","title":"A","new":1},{"id":"r","url":"b","orig_title":"B"},{"title":null},{"origin_url":"d","displaySource":"D"}]"#,
        ));
        sources.extend(items(
            r#"[{"link":"b"},{"link":"e","display":{"refer_id":2}}]"#,
        ));
        for number in [4, 7, 9, 1, 2, 3, 4] {
            sources.cite(number);
        }
        assert_eq!(
            citations(sources),
            [
                own(1, "a", "A"),
                own(2, "e", ""),
                own(4, "d", "D"),
                own(7, "a", "A")
            ]
        );
    }

    #[test]
    fn without_marks_all_of_them_count() {
        let mut sources = Sources::default();
        sources.set(items(r#"[{"link":"a"},{},{"url":"c"}]"#));
        assert_eq!(citations(sources), [own(1, "a", ""), own(3, "c", "")]);
    }
}
