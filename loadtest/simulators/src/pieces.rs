//! How a text is cut into the pieces in which it is said, and bytes into the writes in which they travel.

use super::reply::{Act, Acts};

/// How many characters the pieces have, in turn: uneven as real ones, and the odd lengths cut emoji sequences apart.
const LENGTHS: [usize; 6] = [2, 3, 1, 4, 2, 5];

/// Most pieces of a text whose cut was not asked for. In a cumulative stream the bytes grow with their square.
const MOST: usize = 400;

/// Cuts a text into pieces of `chars` characters, or of [`LENGTHS`].
pub(super) fn cut(text: &str, chars: Option<usize>) -> Vec<String> {
    let total = text.chars().count();
    let usual = LENGTHS.iter().sum::<usize>() / LENGTHS.len();
    let stretch = (total / usual / MOST).max(1) + usize::from(total / usual > MOST);
    let mut lengths = LENGTHS.iter().map(|length| length * stretch).cycle();
    let mut rest = text.chars().peekable();
    let mut pieces = Vec::new();
    while rest.peek().is_some() {
        let length = chars.unwrap_or_else(|| lengths.next().unwrap_or(1)).max(1);
        pieces.push(rest.by_ref().take(length).collect());
    }
    pieces
}

/// `1 2 3 … n`, each number a piece; with a tag `TAG-1 TAG-2 …`.
pub(super) fn count(n: usize, tag: Option<&str>) -> Vec<String> {
    let word = |number: usize| match tag {
        Some(tag) => format!("{tag}-{number}"),
        None => number.to_string(),
    };
    let spaced = |number: usize| {
        if number == 1 {
            word(1)
        } else {
            format!(" {}", word(number))
        }
    };
    (1..=n).map(spaced).collect()
}

/// Cuts what travels into writes of at most `size` bytes.
pub(super) fn writes(acts: Acts, size: Option<usize>) -> Acts {
    let Some(size) = size.filter(|size| *size > 0) else {
        return acts;
    };
    Box::new(acts.flat_map(move |act| match act {
        Act::Send(bytes) => chunks(&bytes, size).map(Act::Send).collect(),
        Act::Say(bytes) => {
            // One piece stays one piece for faults "after text", however many writes it takes.
            let mut acts: Vec<_> = chunks(&bytes, size).map(Act::Send).collect();
            if let Some(Act::Send(first)) = acts.first().cloned() {
                acts.splice(..1, [Act::Say(first)]);
            }
            acts
        }
        other => vec![other],
    }))
}

fn chunks(bytes: &bytes::Bytes, size: usize) -> impl Iterator<Item = bytes::Bytes> {
    bytes.chunks(size).map(|chunk| bytes.slice_ref(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_text() {
        let text = "a👨‍👩‍👧 \u{2028}\u{200b}\n你好".repeat(500);
        for chars in [None, Some(1), Some(7)] {
            assert_eq!(cut(&text, chars).concat(), text);
        }
        assert!(
            cut(&text, None).len() <= 2 * MOST,
            "{}",
            cut(&text, None).len()
        );
        assert!(cut("", None).is_empty());
    }

    #[test]
    fn counts_with_and_without_a_tag() {
        assert_eq!(count(3, None).concat(), "1 2 3");
        assert_eq!(count(2, Some("XYZ")), ["XYZ-1", " XYZ-2"]);
    }

    #[test]
    fn writes_keep_the_bytes_and_one_spoken_piece() {
        let acts: Acts = Box::new([Act::say("你好"), Act::Done].into_iter());
        let acts: Vec<_> = writes(acts, Some(4)).collect();
        assert_eq!(acts.len(), 3);
        assert!(matches!(&acts[0], Act::Say(bytes) if bytes.len() == 4));
        assert!(matches!(&acts[1], Act::Send(bytes) if bytes.len() == 2));
    }
}
