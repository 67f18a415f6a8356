//! nginx's sizes and times.

/// `8k`, `1m`, `2g`, `100` in bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, factor) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) if lower.ends_with('k') => (digits, 1_u64 << 10),
        Some(digits) if lower.ends_with('m') => (digits, 1 << 20),
        Some(digits) => (digits, 1 << 30),
        None => (lower.as_str(), 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// `60`, `60s`, `500ms`, `1h30m` in seconds.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let number: f64 = rest.get(..end)?.parse().ok()?;
        let unit = rest.get(end..)?;
        let length = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        let factor = match unit.get(..length)?.trim_end() {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return None,
        };
        total += number * factor;
        rest = unit.get(length..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    for (unit, name) in [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nginx_units() {
        assert_eq!(bytes("64m"), Some(64 << 20));
        assert_eq!(
            (bytes("8K"), bytes("7"), bytes("x")),
            (Some(8192), Some(7), None)
        );
        assert_eq!(
            (seconds("1h30m"), seconds("500ms")),
            (Some(5400.0), Some(0.5))
        );
        assert_eq!(
            (seconds("60"), seconds(""), seconds("5y")),
            (Some(60.0), None, None)
        );
        assert_eq!(
            (size(64 << 20), size(1500)),
            ("64 MiB".to_owned(), "1500 bytes".to_owned())
        );
    }
}
