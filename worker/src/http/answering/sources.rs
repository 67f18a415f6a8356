//! The sources of an answer and the places that cite them, kept until its end: a source is often named long after the
//! place that cites it.

use std::collections::{HashMap, HashSet};

use super::voice::Source;

#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Characters of text so far.
    chars: usize,
    /// (number of the source, characters before the place)
    places: Vec<(u32, usize)>,
    /// (number, URL, title)
    known: Vec<(u32, String, String)>,
}

impl Sources {
    /// So many characters of text have been said.
    pub(super) fn text(&mut self, chars: usize) {
        self.chars += chars;
    }

    /// The text cites the source of this number here.
    pub(super) fn cite(&mut self, number: u32) {
        self.places.push((number, self.chars));
    }

    /// What the source of this number is.
    pub(super) fn name(&mut self, number: u32, url: String, title: String) {
        self.known.push((number, url, title));
    }

    /// One for each place, in order; then those that are cited nowhere in particular.
    pub(super) fn in_order(self) -> Vec<Source> {
        let source = |(number, url, title): &(u32, String, String), at: usize| Source {
            number: *number,
            url: url.clone(),
            title: title.clone(),
            at,
        };
        // By number: to look through the lists for each place would cost the square of a hostile answer.
        let mut by_number = HashMap::new();
        for known in &self.known {
            by_number.entry(known.0).or_insert(known);
        }
        let placed_numbers: HashSet<u32> = self.places.iter().map(|place| place.0).collect();
        // A citation of a source that was never named is left out: there is nothing to link to.
        let placed = self
            .places
            .iter()
            .filter_map(|&(index, at)| Some(source(by_number.get(&index)?, at)));
        let unplaced = self
            .known
            .iter()
            .filter(|known| !placed_numbers.contains(&known.0))
            // At 0: dialects that want a place put them at the beginning.
            .map(|known| source(known, 0));
        placed.chain(unplaced).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two hundred thousand of each take no longer than a moment.
    #[test]
    fn sources_cost_no_more_than_they_are_many() {
        let many = 200_000;
        let mut sources = Sources::default();
        for index in 0..many {
            sources.known.push((index, String::new(), String::new()));
            sources.places.push((many - index, 0));
        }
        let started = std::time::Instant::now();
        assert_eq!(sources.in_order().len(), many as usize);
        assert!(started.elapsed() < std::time::Duration::from_secs(20));
    }
}
