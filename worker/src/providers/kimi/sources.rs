//! The sources that a search found, and which of them the text cites. Source: `wire/kimi.md` sections 5.3 and 6.2.

use serde::Deserialize;

use crate::chat::ChatEvent;

/// Sources of one answer; real ones have a few dozen.
const MOST: usize = 1024;
/// A URL longer than this is left out, a longer title cut.
const MOST_URL_BYTES: usize = 4096;
const MOST_TITLE_CHARS: usize = 512;

/// One entry of a tool's contents or of a message's search chunks: the result itself or wrapped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    search_result: Option<SearchResult>,
    #[serde(flatten)]
    bare: SearchResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SearchResult {
    #[serde(alias = "searchBase")]
    base: Option<Page>,
    ref_index: Option<String>,
}

/// A page on the web.
#[derive(Deserialize)]
pub(super) struct Page {
    title: Option<String>,
    url: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// `refIndex`, empty in the 2025 form; URL, title.
    found: Vec<(String, String, String)>,
    /// The references in the order in which the text first cites them; the number is the place from 1.
    cited: Vec<String>,
}

impl Sources {
    /// Adds search results; those that are known by their reference are not repeated.
    pub(super) fn add(&mut self, results: Vec<Found>) {
        for found in results {
            let Found {
                search_result,
                bare,
            } = found;
            let result = search_result.unwrap_or(bare);
            let reference = result.ref_index.unwrap_or_default();
            // A page without a reference cannot be cited.
            if let Some(page) = result.base
                && !reference.is_empty()
                && !self.found.iter().any(|known| known.0 == reference)
            {
                self.push(reference, page);
            }
        }
    }

    /// Adds pages without references, as the 2025 form has them.
    pub(super) fn add_pages(&mut self, pages: Vec<Page>) {
        for page in pages {
            // By address: the same page is found under several queries.
            let is_known = self
                .found
                .iter()
                .any(|known| Some(&known.1) == page.url.as_ref());
            if !is_known {
                self.push(String::new(), page);
            }
        }
    }

    fn push(&mut self, reference: String, page: Page) {
        let url = page.url.unwrap_or_default();
        if self.found.len() < MOST && !url.is_empty() && url.len() <= MOST_URL_BYTES {
            let title: String = page.title.unwrap_or_default();
            let title = title.chars().take(MOST_TITLE_CHARS).collect();
            self.found.push((reference, url, title));
        }
    }

    /// How much is remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.found.len() + self.cited.len()
    }

    /// The number of a source that the text cites; it may be found later.
    pub(super) fn cite(&mut self, reference: String) -> Option<u32> {
        let known = self.cited.iter().position(|known| *known == reference);
        let at = match known {
            Some(at) => at,
            // References beyond the bound are not numbered: the number would be of nothing.
            None if self.cited.len() < MOST => {
                self.cited.push(reference);
                self.cited.len() - 1
            }
            None => return None,
        };
        u32::try_from(at + 1).ok()
    }

    /// The cited sources. Where the text has no marks at all, the pages of the 2025 form, to which its `[^n^]` point.
    pub(super) fn into_citations(self) -> Vec<ChatEvent> {
        let cited = |(at, reference): (usize, &String)| {
            let found = self.found.iter().find(|found| found.0 == *reference)?;
            Some((at, found))
        };
        // Without a mark in the text, the 2025 form's own list is what the text points into.
        let found: Vec<(usize, &(String, String, String))> = if self.cited.is_empty() {
            let pages = self.found.iter().filter(|found| found.0.is_empty());
            pages.enumerate().collect()
        } else {
            self.cited.iter().enumerate().filter_map(cited).collect()
        };
        found
            .into_iter()
            .map(|(at, (_, url, title))| ChatEvent::Citation {
                index: u32::try_from(at + 1).unwrap_or(u32::MAX),
                url: url.clone(),
                title: title.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn citations(sources: Sources) -> Vec<(u32, String, String)> {
        let plain = |event| match event {
            ChatEvent::Citation { index, url, title } => (index, url, title),
            other => panic!("{other:?}"),
        };
        sources.into_citations().into_iter().map(plain).collect()
    }

    #[test]
    fn reads_every_form_and_merges_by_reference() {
        let mut sources = Sources::default();
        let results = r#"[
            {"searchResult":{"id":"r0","base":{"title":"T0","url":"u0"},"refIndex":"w#0"}},
            {"searchResult":{"searchBase":{"url":"u1"},"refIndex":"w#1"}},
            {"base":{"title":"T2","url":"u2","x":1},"refIndex":"w#2"},
            {"searchResult":{"base":{"title":"again","url":"u9"},"refIndex":"w#0"}},
            {"other":{}}, {"searchResult":null}, {"searchResult":{"refIndex":"w#3"}}
        ]"#;
        sources.add(serde_json::from_str(results).unwrap());
        for (reference, number) in [("w#2", 1), ("gone", 2), ("w#0", 3), ("w#2", 1)] {
            assert_eq!(sources.cite(reference.to_owned()), Some(number));
        }
        let own = |index, url: &str, title: &str| (index, url.to_owned(), title.to_owned());
        assert_eq!(citations(sources), [own(1, "u2", "T2"), own(3, "u0", "T0")]);
    }

    #[test]
    fn pages_without_references_count_where_nothing_is_marked() {
        let pages = || serde_json::from_str(r#"[{"url":"a","title":"A"},{"url":"a"},{}]"#).unwrap();
        let mut sources = Sources::default();
        sources.add_pages(pages());
        assert_eq!(citations(sources), [(1, "a".to_owned(), "A".to_owned())]);
        let mut sources = Sources::default();
        sources.add_pages(pages());
        sources.cite("w#0".to_owned());
        assert!(citations(sources).is_empty());
    }
}
