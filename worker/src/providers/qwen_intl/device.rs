//! The cookies in which the page's script tells of the device that it runs on, for accounts that log in here and so have no
//! browser's cookie: `ssxmod_itna` and `ssxmod_itna2`. Source:
//! `wire/qwen_intl.md` section 6.4.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use rand::{Rng, RngExt as _};

/// The cookies' names.
pub(super) const ITNA: &str = "ssxmod_itna";
const ITNA2: &str = "ssxmod_itna2";
/// How long they are sent before others are made, in milliseconds.
const FRESH_MS: u64 = 15 * 60 * 1000;
/// Six bits each; there is a 65th character, for a padding that is never written.
const ALPHABET: &[u8; 64] = b"DGi0YA7BemWnQjCl4_bR3f8SKIF9tUz/xhr2oEOgPpac=61ZqwTudLkM5vHyNXsV";
const SDK: &str = "websdk-2.3.15d";
const WEBGL: &str =
    "ANGLE (Apple, ANGLE Metal Renderer: Apple M4, Unspecified Version)|Google Inc. (Apple)";
/// How long the page has been open when it is looked at.
const OPEN_MS: u64 = 5000;

/// A device, and what was told of it last.
#[derive(Debug, Default)]
pub(super) struct Device(Mutex<Option<(u64, Arc<str>)>>);

impl Device {
    /// The cookies of this moment, as a part of a `cookie` header.
    pub(super) fn cookies(&self, unix_ms: u64) -> Arc<str> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*told {
            Some((since, cookies)) if unix_ms.saturating_sub(*since) < FRESH_MS => {
                Arc::clone(cookies)
            }
            _ => {
                let cookies = Arc::<str>::from(cookies(unix_ms, &mut rand::rng()));
                *told = Some((unix_ms, Arc::clone(&cookies)));
                cookies
            }
        }
    }
}

/// The two cookies as a part of a `cookie` header.
fn cookies(unix_ms: u64, random: &mut impl Rng) -> String {
    let device: u128 = random.random();
    // Twenty digits.
    let device = format!("{device:032x}").split_off(12);
    let long = encoded(&long(&device, unix_ms, random));
    let short = encoded(&short(&device, unix_ms));
    format!("{ITNA}=1-{long}; {ITNA2}=1-{short}")
}

/// The 18 fields of `ssxmod_itna2`.
fn short(device: &str, unix_ms: u64) -> String {
    format!("{device}^{SDK}^P^0^^0^^^0^0^0^11^{unix_ms}^0^0^0^0^0")
}

/// The 37 fields of `ssxmod_itna`.
fn long(device: &str, unix_ms: u64, random: &mut impl Rng) -> String {
    let [plugins, canvas, agent, agent_too, address]: [u32; 5] = random.random();
    let (begun, document) = (
        unix_ms.saturating_sub(OPEN_MS),
        random.random_range(10..=100),
    );
    format!(
        "{device}^{SDK}^{begun}^91^1|15^zh-CN^-480^16705151|12791^\
         1470|956|283|797|158|0|1470|956|1470|798|0|0^5^MacIntel^10^{WEBGL}^30|30^0^28^5|{plugins}^{canvas}^{agent}^\
         1^0^1^0^P^0^0^0^416^Google Inc.^8^-1|0|0|0|0^{agent_too}^11^{unix_ms}^{address}^0^{document}"
    )
}

/// Bits on their way out, six a character, the first one highest.
#[derive(Default)]
struct Bits {
    out: String,
    held: usize,
    count: u32,
}

impl Bits {
    fn bit(&mut self, bit: bool) {
        self.held = self.held << 1 | usize::from(bit);
        self.count += 1;
        if self.count == 6 {
            let character = ALPHABET.get(self.held).copied().unwrap_or_default();
            self.out.push(char::from(character));
            (self.held, self.count) = (0, 0);
        }
    }

    /// So many bits of a number, the lowest first.
    fn number(&mut self, number: u32, bits: u32) {
        for at in 0..bits {
            self.bit(number >> at & 1 == 1);
        }
    }

    /// The last character is filled up with zeros: one of its own where the others are full.
    fn end(mut self) -> String {
        loop {
            self.bit(false);
            if self.count == 0 {
                return self.out;
            }
        }
    }
}

/// The widths of codes: one more bit each time as many have been given out as fit.
struct Width {
    bits: u32,
    left: u32,
}

impl Width {
    fn step(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            self.left = 1 << self.bits;
            self.bits += 1;
        }
    }
}

/// The public LZ-string compressor over [`ALPHABET`]: words that were met before are told by their number, single units
/// that were not by themselves.
fn encoded(text: &str) -> String {
    // What the first three numbers mean: a unit of 8 bits, one of 16, the end.
    let (narrow, wide, end) = (0, 1, 2);
    let (mut bits, mut width) = (Bits::default(), Width { bits: 2, left: 2 });
    // Words by the number of all but their last unit, and that; single units by themselves.
    let mut words: HashMap<(Option<u32>, u16), u32> = HashMap::new();
    let mut new_units = HashSet::new();
    let mut next = 3;
    let mut word: Option<(u32, u16)> = None;
    let mut say = |(number, first): (u32, u16), width: &mut Width, new: &mut HashSet<u32>| {
        // A word that was never told is a single unit.
        if new.remove(&number) {
            match u8::try_from(first) {
                Ok(unit) => {
                    bits.number(narrow, width.bits);
                    bits.number(unit.into(), 8);
                }
                Err(_) => {
                    bits.number(wide, width.bits);
                    bits.number(first.into(), 16);
                }
            }
            width.step();
        } else {
            bits.number(number, width.bits);
        }
        width.step();
    };
    for unit in text.encode_utf16() {
        let single = *words.entry((None, unit)).or_insert_with(|| {
            new_units.insert(next);
            next += 1;
            next - 1
        });
        let Some(known) = word else {
            word = Some((single, unit));
            continue;
        };
        if let Some(&longer) = words.get(&(Some(known.0), unit)) {
            word = Some((longer, known.1));
            continue;
        }
        say(known, &mut width, &mut new_units);
        words.insert((Some(known.0), unit), next);
        next += 1;
        word = Some((single, unit));
    }
    if let Some(known) = word {
        say(known, &mut width, &mut new_units);
    }
    bits.number(end, width.bits);
    bits.end()
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    /// The page's vectors.
    #[test]
    fn encodes_as_the_page_does() {
        for (text, code) in [
            ("a", "eID"),
            ("hello", "GK3qjO0k4"),
            ("aaaaaaaaaaaaaaaa", "eKLVYD"),
            ("通义千问 qwen", "ExmoovRiTPUHoD4e5C5AQGk4"),
            (
                "84985177a19a010dea49^websdk-2.3.15d^P^0^^0^^^0^0^0^11^1765348410850^0^0^0^0^0",
                "GqAxgQi=iQ0==Yjpx4GOaxmx3qzDzxCyKG7DupxjKidDRDB40QXdoOsDiZaZ6yMuwy_PsCD0Ie2YWDw_GDx3D",
            ),
        ] {
            assert_eq!(encoded(text), code, "{text}");
        }
        let device = "84985177a19a010dea49";
        let made = short(device, 1_765_348_410_850);
        assert_eq!(
            made,
            "84985177a19a010dea49^websdk-2.3.15d^P^0^^0^^^0^0^0^11^1765348410850^0^0^0^0^0"
        );
    }

    #[test]
    fn they_are_told_for_a_quarter_of_an_hour() {
        let device = Device::default();
        let first = device.cookies(1_000_000);
        assert_eq!(device.cookies(1_000_000 + FRESH_MS - 1), first);
        assert_ne!(device.cookies(1_000_000 + FRESH_MS), first);
    }

    #[test]
    fn there_are_as_many_fields_as_the_page_counts() {
        let random = &mut StdRng::seed_from_u64(7);
        assert_eq!(short("d", 1).split('^').count(), 18);
        let long = long("d", 1_765_348_410_850, random);
        let fields: Vec<&str> = long.split('^').collect();
        assert_eq!(fields.len(), 37, "{long}");
        assert_eq!(
            (fields[1], fields[10], fields[23], fields[28], fields[33]),
            (SDK, "MacIntel", "P", "Google Inc.", "1765348410850")
        );
        assert!((10..=100).contains(&fields[36].parse::<u32>().unwrap()));
        let cookies = cookies(1_765_348_410_850, random);
        let (one, two) = cookies.split_once("; ").unwrap();
        assert!(one.starts_with("ssxmod_itna=1-") && two.starts_with("ssxmod_itna2=1-"));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_/=-".contains(c);
        assert!(two.chars().all(is_plain), "{two}");
    }
}
