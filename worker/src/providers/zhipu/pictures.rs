//! Pictures that the service has made. They come in any order and are told of in theirs. Source: `wire/zhipu.md` section
//! 6.5.

use serde::Deserialize;

use crate::chat::ChatEvent;

/// More than any answer has.
const MOST_PICTURES: usize = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Picture {
    image_url: Option<String>,
    order: Option<serde_json::Value>,
}

/// The pictures of an answer, each once.
#[derive(Debug, Default)]
pub(super) struct Pictures(Vec<(u64, String)>);

impl Pictures {
    /// Adds the `image` of a finished item; what is no list of pictures has none.
    pub(super) fn add(&mut self, list: &str) {
        let Ok(list) = serde_json::from_str::<Vec<Picture>>(list) else {
            return;
        };
        for picture in list {
            let Some(url) = picture.image_url.filter(|url| is_web(url)) else {
                continue;
            };
            let is_known = self.0.iter().any(|(_, known)| *known == url);
            if is_known || self.0.len() == MOST_PICTURES {
                continue;
            }
            // Section 6.5: by `order`, else by the number in the address; without either behind all others.
            let order = picture.order.and_then(|order| order.as_u64());
            let order = order.or_else(|| number_in(&url)).unwrap_or(u64::MAX);
            self.0.push((order, url));
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them as events, in their order.
    pub(super) fn tell(&mut self, events: &mut Vec<ChatEvent>) {
        // Stable: those without a number come as they came.
        self.0.sort_by_key(|(order, _)| *order);
        let all = self.0.drain(..);
        events.extend(all.map(|(_, url)| ChatEvent::Image { url }));
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// The number before the extension of a URL.
fn number_in(url: &str) -> Option<u64> {
    let path = url.split(['?', '#']).next()?;
    let (stem, _) = path.rsplit('/').next()?.rsplit_once('.')?;
    let rest = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    stem.strip_prefix(rest)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(lists: &[&str]) -> Vec<String> {
        let (mut pictures, mut events) = (Pictures::default(), Vec::new());
        for list in lists {
            pictures.add(list);
        }
        pictures.tell(&mut events);
        let url = |event| match event {
            ChatEvent::Image { url } => url,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(url).collect()
    }

    #[test]
    fn tells_them_in_their_order() {
        let one = |name: &str, order: u64| {
            format!(r#"[{{"image_url":"https://e/{name}.png","order":{order},"width":1}}]"#)
        };
        assert_eq!(
            urls(&[
                &one("a", 0),
                &one("d", 3),
                &one("b", 1),
                &one("c", 2),
                &one("a", 0)
            ]),
            ["a", "b", "c", "d"].map(|name| format!("https://e/{name}.png"))
        );
        let numbered = r#"[{"image_url":"https://e/x_2.png?s=1.5"},{"image_url":"http://e/x_0.png","order":null},{"image_url":"https://e/x_10.png"}]"#;
        assert_eq!(
            urls(&[numbered]),
            [
                "http://e/x_0.png",
                "https://e/x_2.png?s=1.5",
                "https://e/x_10.png"
            ]
        );
    }

    #[test]
    fn only_addresses_of_the_web_are_pictures() {
        let odd = r#"[{"image_url":"sfile/x.png"},{"image_url":""},{"file_id":"f"},{"image_url":"https://e/ok"}]"#;
        assert_eq!(urls(&[odd, "{}", "null", "[5]"]), ["https://e/ok"]);
    }
}
