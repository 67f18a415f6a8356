//! When to come back, as servers say it: `Retry-After` as seconds (a fraction is no standard, but is sent) or as a date,
//! and `retry-after-ms` of the services that the official SDKs know.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

/// The time that a refusal names. `header`: a header's value by its name in lower case. A date counts from the
/// answer's own `Date`, where there is one: clocks differ.
pub(super) fn retry_after<'a>(
    header: impl Fn(&str) -> Option<&'a str>,
    now: SystemTime,
) -> Option<Duration> {
    // Not refused where negative or NaN, which `try_from_secs_f64` does.
    let number = |text: &str| text.trim().parse::<f64>().ok();
    if let Some(ms) = header("retry-after-ms").and_then(number) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let value = header("retry-after")?.trim();
    if let Some(seconds) = number(value) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    if let Some(seconds) = value.strip_suffix(['s', 'S']).and_then(number) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |text: &str| {
        let text = text.trim();
        // Mail's way to write Greenwich, as date formatters of many languages do.
        let zone = ["+0000", "-0000", "UTC"]
            .iter()
            .find_map(|zone| text.strip_suffix(zone));
        let text = zone.map_or(Cow::Borrowed(text), |rest| Cow::Owned(format!("{rest}GMT")));
        httpdate::parse_http_date(&text).ok()
    };
    let since = header("date").and_then(date).unwrap_or(now);
    // A date in the past says: now.
    Some(date(value)?.duration_since(since).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Option<Duration> {
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| *known == name)?;
            Some(found.1)
        };
        // Sun, 06 Nov 1994 08:49:37 GMT
        retry_after(
            header,
            SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
        )
    }

    #[test]
    fn reads_every_form() {
        for (headers, expected) in [
            (&[("retry-after", " 7 ")][..], Some(7.0)),
            (&[("retry-after", "0.5")], Some(0.5)),
            (
                &[("retry-after", "Sun, 06 Nov 1994 08:49:41 GMT")],
                Some(4.0),
            ),
            (
                &[("retry-after", "Sunday, 06-Nov-94 08:49:41 GMT")],
                Some(4.0),
            ),
            (
                &[("retry-after", "Sun, 06 Nov 1994 08:49:41 +0000")],
                Some(4.0),
            ),
            (
                &[("retry-after", "Sun, 06 Nov 1994 08:49:41 UTC")],
                Some(4.0),
            ),
            (&[("retry-after", "7s")], Some(7.0)),
            (&[("retry-after", "Sun Nov  6 08:49:41 1994")], Some(4.0)),
            (
                &[
                    ("retry-after", "Sun, 06 Nov 1994 08:50:41 GMT"),
                    ("date", "Sun, 06 Nov 1994 08:50:38 GMT"),
                ],
                Some(3.0),
            ),
            (
                &[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")],
                Some(0.0),
            ),
            (
                &[("retry-after", "9"), ("retry-after-ms", "1500")],
                Some(1.5),
            ),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "1e300")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            let read = read(headers).map(|wait| wait.as_secs_f64());
            assert_eq!(read, expected, "{headers:?}");
        }
    }
}
