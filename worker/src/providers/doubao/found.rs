//! What an answer brings beside its text: the sources that a search found, and pictures. Source: `wire/doubao.md` sections
//! 6.3 and 6.5.

use serde_json::Value;

use crate::chat::ChatEvent;

/// Of each; real answers have a few dozen.
const MOST: usize = 1024;
/// A URL longer than this is left out, a longer title cut.
const MOST_URL_BYTES: usize = 8192;
const MOST_TITLE_CHARS: usize = 512;
/// A picture's sizes, the best one first; an object with a `url`, or the address itself.
const SIZES: &[&str] = &[
    "image_ori_raw",
    "image_raw",
    "image_ori",
    "image_preview",
    "image_thumb",
    "image_url",
];

/// Pages that the service has read.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<(String, String)>);

impl Sources {
    /// Takes the results of a search, each a card of some kind.
    pub(super) fn add(&mut self, results: &Value) {
        for result in results.as_array().into_iter().flatten() {
            let card = ["text_card", "video_card"];
            let card = card.iter().find_map(|name| result.get(*name));
            self.add_page(card.unwrap_or(result));
        }
    }

    /// Takes one page; what is known is not repeated.
    pub(super) fn add_page(&mut self, page: &Value) {
        let text = |names: &[&str]| {
            let texts = names.iter().filter_map(|name| page.get(*name)?.as_str());
            texts.into_iter().find(|text| !text.is_empty())
        };
        let Some(url) = text(&["url"]).filter(|url| url.len() <= MOST_URL_BYTES) else {
            return;
        };
        if self.0.len() < MOST && self.0.iter().all(|(known, _)| known != url) {
            let title = text(&["title", "sitename", "website_name"]).unwrap_or_default();
            let title = title.chars().take(MOST_TITLE_CHARS).collect();
            self.0.push((url.to_owned(), title));
        }
    }

    /// The pages as events, numbered in the order in which they were found.
    pub(super) fn citations(&mut self) -> impl Iterator<Item = ChatEvent> {
        let numbered = std::mem::take(&mut self.0).into_iter().zip(1..);
        numbered.map(|((url, title), index)| ChatEvent::Citation { index, url, title })
    }
}

/// Pictures that are being made; each is told of several times, at first often without an address.
#[derive(Debug, Default)]
pub(super) struct Pictures(Vec<Picture>);

#[derive(Debug)]
struct Picture {
    key: String,
    /// The address and the rank of its size.
    url: Option<(usize, String)>,
}

impl Pictures {
    /// Takes the members of a block: `creations`, or the older `data`.
    pub(super) fn add(&mut self, block: &Value) {
        let lists = ["creations", "data"];
        let list = lists.iter().find_map(|name| block.get(*name)?.as_array());
        for creation in list.into_iter().flatten() {
            let image = creation.get("image").unwrap_or(creation);
            let url = SIZES.iter().enumerate().find_map(|(rank, size)| {
                let size = image.get(*size)?;
                let url = size.get("url").unwrap_or(size).as_str()?;
                let is_sound = !url.is_empty() && url.len() <= MOST_URL_BYTES;
                is_sound.then(|| (rank, url.to_owned()))
            });
            let key = image.get("key").and_then(Value::as_str).unwrap_or_default();
            self.see(key, url);
        }
    }

    fn see(&mut self, key: &str, url: Option<(usize, String)>) {
        let key = match &url {
            // Some are without a key; then the address tells them apart.
            Some((_, url)) if key.is_empty() => url.as_str(),
            _ => key,
        };
        let key: String = key.chars().take(MOST_URL_BYTES).collect();
        let is_room = self.0.len() < MOST;
        match self.0.iter_mut().find(|known| known.key == key) {
            Some(known) => {
                // A better size replaces a worse one; one without an address never does.
                let is_better = |(rank, _): &&(usize, String)| {
                    known.url.as_ref().is_none_or(|(known, _)| rank < known)
                };
                if url.as_ref().filter(is_better).is_some() {
                    known.url = url;
                }
            }
            None if is_room => self.0.push(Picture { key, url }),
            None => {}
        }
    }

    /// Whether some picture has no address yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.iter().any(|picture| picture.url.is_none())
    }

    /// Whether there is a picture that can be looked at.
    pub(super) fn is_any_ready(&self) -> bool {
        self.0.iter().any(|picture| picture.url.is_some())
    }

    /// The pictures as events.
    pub(super) fn images(&mut self) -> impl Iterator<Item = ChatEvent> {
        let urls = std::mem::take(&mut self.0).into_iter();
        urls.filter_map(|picture| {
            let (_, url) = picture.url?;
            Some(ChatEvent::Image { url })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pages_are_told_once() {
        let mut sources = Sources::default();
        let card = |url: &str, title: &str| json!({"text_card": {"url": url, "title": title}});
        sources.add(&json!([
            card("a", "A"),
            card("a", "again"),
            {"video_card": {"url": "v", "sitename": "V"}},
            card("", "x"),
            {"other": 1},
            5
        ]));
        sources.add_page(&json!({"url": "b", "title": null, "website_name": "B"}));
        let own = |index, url: &str, title: &str| ChatEvent::Citation {
            index,
            url: url.to_owned(),
            title: title.to_owned(),
        };
        let found: Vec<_> = sources.citations().collect();
        assert_eq!(
            found,
            [own(1, "a", "A"), own(2, "v", "V"), own(3, "b", "B")]
        );
    }

    #[test]
    fn pictures_are_told_once_with_their_best_address() {
        let mut pictures = Pictures::default();
        pictures.add(&json!({"creations": [{"image": {"key": "k", "status": 1}}]}));
        assert!(pictures.is_waiting() && !pictures.is_any_ready());
        for image in [
            json!({"key": "k", "image_thumb": {"url": "thumb"}}),
            json!({"key": "k", "image_ori_raw": {"url": "raw"}, "image_ori": {"url": "ori"}}),
            json!({"key": "k", "image_ori": {"url": "ori"}}),
            json!({"image_url": "bare"}),
            json!({"image_url": "bare"}),
        ] {
            pictures.add(&json!({"creations": [{"image": image}]}));
        }
        pictures.add(&json!({"data": [{"key": "l", "image_raw": {"url": "older"}}]}));
        assert!(!pictures.is_waiting() && pictures.is_any_ready());
        let urls: Vec<_> = pictures
            .images()
            .map(|event| match event {
                ChatEvent::Image { url } => url,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(urls, ["raw", "bare", "older"]);
    }
}
