//! The signature of the file store's calls (AWS4-HMAC-SHA256), and the check sum of a file. Pure. Source: `wire/doubao.md`
//! section 5.3.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};

const REGION: &str = "cn-north-1";
const SERVICE: &str = "imagex";
/// All but RFC 3986's unreserved.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The keys of one upload.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) session_token: &'a str,
}

/// What is signed.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    /// As it is sent, with any prefix of the base URL.
    pub(super) path: &'a str,
    /// Of [`query`].
    pub(super) query: &'a str,
    /// Only the older variant signs it.
    pub(super) host: Option<&'a str>,
    pub(super) body: &'a [u8],
    /// `YYYYMMDDTHHMMSSZ`, of [`date`].
    pub(super) date: &'a str,
}

/// Names and values as a query, sorted by name.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    // Signed as it is sent: the service sorts before it hashes (section 5.3).
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    let pair = |(name, value): &(&str, &str)| {
        let (name, value) = (
            utf8_percent_encode(name, VALUE),
            utf8_percent_encode(value, VALUE),
        );
        format!("{name}={value}")
    };
    let pairs: Vec<String> = pairs.iter().map(pair).collect();
    pairs.join("&")
}

/// The `Authorization` header.
pub(super) fn authorization(keys: Keys<'_>, call: Call<'_>) -> String {
    let day = call.date.get(..8).unwrap_or(call.date);
    let scope = format!("{day}/{REGION}/{SERVICE}/aws4_request");
    let (canonical, names) = canonical(keys, call);
    let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{digest}", call.date);
    // The chain of section 5.3: each part keyed by what came of the one before.
    let mut key = format!("AWS4{}", keys.secret_key).into_bytes();
    for part in [day, REGION, SERVICE, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &text));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        keys.access_key
    )
}

/// The canonical request, and the names of the headers that are signed.
fn canonical(keys: Keys<'_>, call: Call<'_>) -> (String, &'static str) {
    let mut headers = String::new();
    if let Some(host) = call.host {
        headers.push_str(&format!("host:{host}\n"));
    }
    headers.push_str(&format!(
        "x-amz-date:{}\nx-amz-security-token:{}\n",
        call.date, keys.session_token
    ));
    let names = if call.host.is_some() {
        "host;x-amz-date;x-amz-security-token"
    } else {
        "x-amz-date;x-amz-security-token"
    };
    let body = hex(digest::digest(&digest::SHA256, call.body).as_ref());
    let Call {
        method,
        path,
        query,
        ..
    } = call;
    let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{body}");
    (canonical, names)
}

/// The moment as the signature has it, in UTC.
pub(super) fn date(unix_ms: u64) -> String {
    const DAY: u64 = 86_400;
    let seconds = unix_ms / 1000;
    let (days, time) = (seconds / DAY, seconds % DAY);
    // Civil from days, with years that begin in March (Howard Hinnant's public algorithm).
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// CRC-32/IEEE in eight hex digits.
pub(super) fn crc32(bytes: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    format!("{:08x}", crc.sum())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys<'_> = Keys {
        access_key: "AKTPexample0001",
        secret_key: "c2VjcmV0LWtleS1leGFtcGxl",
        session_token: "STS2example-session-token",
    };
    const APPLY: &[(&str, &str)] = &[
        ("Action", "ApplyImageUpload"),
        ("Version", "2018-08-01"),
        ("ServiceId", "a9rns2rl98"),
        ("NeedFallback", "true"),
        ("FileSize", "70"),
        ("FileExtension", ".png"),
    ];

    fn signed(call: Call<'_>) -> (String, String) {
        let (canonical, _) = canonical(KEYS, call);
        let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let header = authorization(KEYS, call);
        let signature = header.rsplit_once('=').unwrap().1.to_owned();
        (digest, signature)
    }

    /// The vectors of section 5.3.
    #[test]
    fn signs_as_the_vectors_say() {
        let date = date(1_772_323_200_000);
        assert_eq!(date, "20260301T000000Z");
        let apply = query(APPLY);
        assert_eq!(
            apply,
            "Action=ApplyImageUpload&FileExtension=.png&FileSize=70&NeedFallback=true&ServiceId=a9rns2rl98&Version=2018-08-01"
        );
        let call = Call {
            method: "GET",
            path: "/top/v1",
            query: &apply,
            host: None,
            body: b"",
            date: &date,
        };
        let own = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(
            signed(call),
            own(
                "6e483130eecc0b4ab3ef4f2a92c402d85c07723bb21f4d3b0e773c4d7af017fe",
                "1bc730b06f4b66f4d6d56a93badbe41ea7b7ab0d7a26802d55922c8517c6138c"
            )
        );
        assert_eq!(
            authorization(KEYS, call),
            "AWS4-HMAC-SHA256 Credential=AKTPexample0001/20260301/cn-north-1/imagex/aws4_request, SignedHeaders=x-amz-date;x-amz-security-token, Signature=1bc730b06f4b66f4d6d56a93badbe41ea7b7ab0d7a26802d55922c8517c6138c"
        );
        let commit = query(&[
            ("Action", "CommitImageUpload"),
            ("Version", "2018-08-01"),
            ("ServiceId", "a9rns2rl98"),
        ]);
        let call = Call {
            method: "POST",
            query: &commit,
            body: br#"{"SessionKey":"c2Vzc2lvbi1rZXk="}"#,
            ..call
        };
        assert_eq!(
            signed(call),
            own(
                "307b3e8139d73b9d42a33c0076f3f035b55506b32ae2872859be64ddac06ed51",
                "df0ecb076c91c9ece4f881ca49c0c6341bd4186abb87c6cdeca96fc37a6134bb"
            )
        );
        let older = query(&[APPLY, &[("UploadNum", "1")]].concat());
        let call = Call {
            method: "GET",
            path: "/",
            query: &older,
            host: Some("imagex.bytedanceapi.com"),
            body: b"",
            date: &date,
        };
        assert_eq!(
            signed(call),
            own(
                "99e5b8b2a26bdc3c43535bd7994c91c24dcda0ff6efa0608e351fd5ef9214114",
                "afbc4f0bfcd0c29f2233d81b586a3606273ec37876d47c416a0aa758d255a120"
            )
        );
    }

    #[test]
    fn sums_as_the_vectors_say() {
        let all: Vec<u8> = (0..=255).collect();
        for (bytes, sum) in [
            (&b""[..], "00000000"),
            (b"123456789", "cbf43926"),
            ("豆包".as_bytes(), "0b8d42ac"),
            (&all, "29058c73"),
        ] {
            assert_eq!(crc32(bytes), sum);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix_ms, expected) in [
            (0, "19700101T000000Z"),
            (951_827_696_000, "20000229T123456Z"),
            (951_868_800_000, "20000301T000000Z"),
            (1_735_689_599_999, "20241231T235959Z"),
            (4_107_542_399_000, "21000228T235959Z"),
            (4_107_542_400_000, "21000301T000000Z"),
        ] {
            assert_eq!(date(unix_ms), expected);
        }
    }
}
