//! The two tags in the service's text: `<br>` is a line end, `<img …>` a picture. Both may be cut by the frames. Source:
//! `wire/ernie.md` sections 5 and 6.

/// A tag that is longer is none.
const MOST_HELD_BYTES: usize = 4 << 10;
/// Behind a picture's address: how it is to be marked.
const WATERMARK: &str = "=style/wm_ai";

/// What a text is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Words, never empty.
    Text(String),
    /// Where a picture is.
    Picture(String),
}

/// Holds back what may be one of the two tags.
#[derive(Debug, Default)]
pub(super) struct Tags {
    /// From a `<` on.
    held: String,
    /// The quotation mark within which the held text ends.
    quote: Option<char>,
}

/// What a held text is, as far as it goes.
enum Verdict {
    Open,
    Text,
    LineEnd,
    Picture,
}

impl Tags {
    /// What of the next text is decided.
    pub(super) fn feed(&mut self, text: String) -> Vec<Piece> {
        // Nearly always.
        if self.held.is_empty() && !text.contains(['<', '\0']) {
            return pieces(text);
        }
        let (mut found, mut clean) = (Vec::new(), String::with_capacity(text.len()));
        // The service strews NULs in.
        for c in text.chars().filter(|&c| c != '\0') {
            if c == '<' && self.quote.is_none() {
                // What was held is no tag, or this one would not begin inside it.
                // Decided by what comes: a second `<` outside quotes makes words of the first.
                clean.push_str(&self.give_up());
            } else if self.held.is_empty() {
                clean.push(c);
                continue;
            }
            self.hold(c);
            // After each character, as the bytes may be torn behind any of them.
            match self.verdict() {
                Verdict::Open => {}
                Verdict::Text => clean.push_str(&self.give_up()),
                Verdict::LineEnd => {
                    self.give_up();
                    clean.push('\n');
                }
                Verdict::Picture => {
                    let tag = self.give_up();
                    match source(&tag) {
                        Some(url) => {
                            found.extend(pieces(std::mem::take(&mut clean)));
                            found.push(Piece::Picture(url));
                        }
                        None => clean.push_str(&tag),
                    }
                }
            }
        }
        found.extend(pieces(clean));
        found
    }

    /// No text follows: what was held is no tag.
    pub(super) fn finish(&mut self) -> Vec<Piece> {
        pieces(self.give_up())
    }

    fn hold(&mut self, c: char) {
        self.held.push(c);
        match self.quote {
            Some(quote) if quote == c => self.quote = None,
            None if matches!(c, '"' | '\'') => self.quote = Some(c),
            Some(_) | None => {}
        }
    }

    fn give_up(&mut self) -> String {
        self.quote = None;
        std::mem::take(&mut self.held)
    }

    /// Judges a text that begins with `<`. Each character is looked at a few times at most, however long a tag gets.
    fn verdict(&self) -> Verdict {
        // Section 6 holds 4 KB at most.
        if self.held.len() > MOST_HELD_BYTES {
            return Verdict::Text;
        }
        for (name, whole) in [("<br", Verdict::LineEnd), ("<img", Verdict::Picture)] {
            // Shorter than the name so far: it stays open while it is the name's beginning.
            let Some((start, rest)) = self.held.split_at_checked(name.len()) else {
                // Too short to tell, or a character that neither name has.
                let is_start = name.get(..self.held.len());
                if is_start.is_some_and(|start| start.eq_ignore_ascii_case(&self.held)) {
                    return Verdict::Open;
                }
                continue;
            };
            if !start.eq_ignore_ascii_case(name) {
                continue;
            }
            return match rest.chars().next() {
                None => Verdict::Open,
                // Another tag whose name begins so.
                Some(c) if !(c.is_ascii_whitespace() || matches!(c, '/' | '>')) => Verdict::Text,
                // A `>` within quotes is part of an address.
                Some(_) if self.quote.is_none() && rest.ends_with('>') => whole,
                Some(_) => Verdict::Open,
            };
        }
        Verdict::Text
    }
}

/// The address in an `<img …>`.
fn source(tag: &str) -> Option<String> {
    let mut rest = tag;
    loop {
        // Each `src` in turn, as the word may stand in an address or another attribute.
        let (before, after) = rest.split_once("src")?;
        rest = after;
        // `data-src` is another attribute.
        let is_attribute =
            before.ends_with(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\''));
        let Some(value) = after
            .trim_start()
            .strip_prefix('=')
            .filter(|_| is_attribute)
        else {
            continue;
        };
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let url = match quote {
            Some(quote) => value.split(quote).nth(1)?,
            None => value.split([' ', '\t', '\n', '>']).next()?,
        };
        let url = url.replace("&amp;", "&");
        // Section 5: the suffix asks for a watermark and is none of the picture's address.
        let url = url.strip_suffix(WATERMARK).unwrap_or(&url).trim();
        return (!url.is_empty()).then(|| url.to_owned());
    }
}

fn pieces(text: String) -> Vec<Piece> {
    if text.is_empty() {
        Vec::new()
    } else {
        vec![Piece::Text(text)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces, texts next to each other joined.
    fn said(texts: &[&str]) -> Vec<Piece> {
        let mut tags = Tags::default();
        let mut found: Vec<Piece> = Vec::new();
        let mut take = |pieces: Vec<Piece>| {
            for piece in pieces {
                match (found.last_mut(), piece) {
                    (Some(Piece::Text(known)), Piece::Text(more)) => known.push_str(&more),
                    (_, piece) => found.push(piece),
                }
            }
        };
        texts
            .iter()
            .for_each(|text| take(tags.feed((*text).to_owned())));
        take(tags.finish());
        found
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn picture(url: &str) -> Piece {
        Piece::Picture(url.to_owned())
    }

    /// The vectors of section 5, whole and torn at every character.
    #[test]
    fn follows_the_vectors() {
        for (given, expected) in [
            ("第一行<br>第二行", vec![text("第一行\n第二行")]),
            ("好\0的", vec![text("好的")]),
            (
                "<img src=\"https://x/a.png=style/wm_ai\" /><br>好",
                vec![picture("https://x/a.png"), text("\n好")],
            ),
            ("a<br/>b<BR />c", vec![text("a\nb\nc")]),
            ("a<br", vec![text("a<br")]),
            (
                "a<b>b</b> <brown> 1<2 <imgs> <",
                vec![text("a<b>b</b> <brown> 1<2 <imgs> <")],
            ),
            ("<<br><b<br>", vec![text("<\n<b\n")]),
            (
                "x<img alt='a > b' data-src=\"n\" src = 'https://x/b?c=1&amp;d=2'>y",
                vec![text("x"), picture("https://x/b?c=1&d=2"), text("y")],
            ),
            (
                "<img src=https://x/c.png>",
                vec![picture("https://x/c.png")],
            ),
            ("<img alt=\"x\">", vec![text("<img alt=\"x\">")]),
            ("<i\0mg src=\"u\">", vec![picture("u")]),
            ("<img src=\"u", vec![text("<img src=\"u")]),
        ] {
            assert_eq!(said(&[given]), expected, "{given}");
            let torn: Vec<String> = given.chars().map(String::from).collect();
            let torn: Vec<&str> = torn.iter().map(String::as_str).collect();
            assert_eq!(said(&torn), expected, "{given}, torn");
        }
    }

    #[test]
    fn little_is_held() {
        let mut tags = Tags::default();
        let endless = format!("<img src=\"{}", "x".repeat(5000));
        assert_eq!(tags.feed(endless).len(), 1);
        assert!(tags.held.is_empty());
        assert_eq!(tags.feed("<br>".to_owned()), [text("\n")]);
    }

    proptest::proptest! {
        #[test]
        fn cuts_change_nothing(given in "[<>brimgsc=\"' /长\0]{0,40}", cuts in proptest::collection::vec(0_usize..80, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| given.is_char_boundary(cut)).collect();
            cuts.extend([0, given.len()]);
            cuts.sort_unstable();
            let torn: Vec<&str> = cuts.windows(2).map(|cut| given.get(cut[0]..cut[1]).unwrap()).collect();
            proptest::prop_assert_eq!(said(&torn), said(&[&given]));
        }
    }
}
