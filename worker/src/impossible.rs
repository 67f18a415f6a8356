//! What cannot happen, said where it would: a place that would have to panic, or to go on with nothing in silence, names
//! its reason instead.

/// A value that is there, for a reason that the type does not know.
pub(crate) trait OrImpossible<T> {
    /// The value. Without one, which cannot be because of `why`: a panic where debug assertions are on (tests, fuzzing),
    /// the default elsewhere, as one answer that is wrong is better than a worker that has died. Not for what may be
    /// missing: that is `unwrap_or_default`.
    fn or_impossible(self, why: &'static str) -> T;
}

impl<T: Default> OrImpossible<T> for Option<T> {
    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    fn or_impossible(self, why: &'static str) -> T {
        debug_assert!(self.is_some(), "this cannot be: {why}");
        self.unwrap_or_default()
    }
}

impl<T: Default, E> OrImpossible<T> for Result<T, E> {
    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    fn or_impossible(self, why: &'static str) -> T {
        debug_assert!(self.is_ok(), "this cannot be: {why}");
        self.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_had() {
        assert_eq!(Some(1).or_impossible("it is there"), 1);
        assert_eq!("1".parse::<u8>().or_impossible("it is a number"), 1);
    }

    #[test]
    #[should_panic(expected = "this cannot be: nothing is nothing")]
    fn what_is_not_there_is_said_in_tests() {
        None::<u8>.or_impossible("nothing is nothing");
    }
}
