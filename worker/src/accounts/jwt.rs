//! What a JSON web token says about itself. Read, never verified: the token is the service's, not ours. Pure.
//! Sources: `wire/kimi.md` section 5.2, `wire/langfast.md` section 5, `wire/zhipu.md` section 2, `wire/minimax.md` section 2.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

/// The URL alphabet, with padding, without, or with some of it: services and people cut it off as they like.
pub const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A token's payload. Debug shows no claim: some are names and ids of people.
#[derive(Clone, PartialEq)]
pub struct Claims(Value);

impl Claims {
    /// The claims of `header.payload.signature`; `None` for anything else. The header is not looked at.
    pub fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        // Five parts are an encrypted token, whose claims nobody here can read.
        if parts.next().is_some() {
            return None;
        }
        let claims: Map<String, Value> =
            serde_json::from_slice(&BASE64_URL.decode(payload).ok()?).ok()?;
        Some(Self(Value::Object(claims)))
    }

    /// The claims of every token that begins as they all do (`eyJ`), wherever it stands in a text: behind `Bearer`, in a
    /// cookie, between commas.
    pub fn all_in(text: &str) -> impl Iterator<Item = Self> {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
            .filter(|word| word.starts_with("eyJ"))
            .filter_map(Self::read)
    }

    /// A claim as text; a number as its digits, whatever their count. `path` leads through objects: `user/deviceID`.
    /// `None` where there is none, or an empty one.
    pub fn text(&self, path: &str) -> Option<String> {
        match self.get(path)? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A time in Unix seconds, whole or broken, as a number or as text.
    pub fn seconds(&self, path: &str) -> Option<u64> {
        let seconds = match self.get(path)? {
            Value::Number(number) => number.as_f64()?,
            Value::String(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        // The cast saturates; what is no time is none.
        (seconds.is_finite() && seconds >= 0.0).then_some(seconds as u64)
    }

    /// `exp`: when the token ends, in Unix seconds.
    pub fn expires(&self) -> Option<u64> {
        self.seconds("exp")
    }

    /// `iat`: when it was issued, in Unix seconds.
    pub fn issued(&self) -> Option<u64> {
        self.seconds("iat")
    }

    /// `sub`: whose it is.
    pub fn subject(&self) -> Option<String> {
        self.text("sub")
    }

    fn get(&self, path: &str) -> Option<&Value> {
        path.split('/')
            .try_fold(&self.0, |value, name| value.get(name))
    }
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Claims(***)")
    }
}

/// A token with these claims, for tests.
#[cfg(test)]
pub(crate) fn sample(claims: &str) -> String {
    let payload = BASE64_URL.encode(claims);
    format!("eyJhbGciOiJub25lIn0.{}.c2ln", payload.trim_end_matches('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_padding_and_both_ways_to_write_a_number() {
        for claims in [
            r#"{"exp":4102444800}"#,
            r#"{"exp":4102444800.9,"a":1}"#,
            r#"{"exp":"4102444800","ab":1}"#,
        ] {
            let whole = BASE64_URL.encode(claims);
            let bare = whole.trim_end_matches('=');
            for payload in [whole.clone(), bare.to_owned(), format!("{bare}=")] {
                if payload.len() > whole.len() {
                    continue;
                }
                let read = Claims::read(&format!("a.{payload}.b")).unwrap();
                assert_eq!(read.expires(), Some(4_102_444_800), "{payload}");
            }
        }
    }

    #[test]
    fn leads_through_objects_and_keeps_every_digit() {
        let token = sample(
            r#"{"user":{"id":440011223344556677,"deviceID":"312345678901234567","name":""},"sub":7}"#,
        );
        let claims = Claims::read(&token).unwrap();
        assert_eq!(claims.text("user/id").unwrap(), "440011223344556677");
        assert_eq!(claims.text("user/deviceID").unwrap(), "312345678901234567");
        assert_eq!(claims.text("user/name"), None);
        assert_eq!(claims.text("user"), None);
        assert_eq!(claims.text("user/id/x"), None);
        assert_eq!(claims.subject().as_deref(), Some("7"));
        assert_eq!((claims.expires(), claims.issued()), (None, None));
        assert!(!format!("{claims:?}").contains("4400"));
    }

    #[test]
    fn what_is_no_token_has_no_claims() {
        for odd in [
            "",
            "eyJ",
            "a.b",
            "eyJ.!.x",
            "eyJ.e30.x.y",
            "a.W10.c",
            "a.MQ.c",
        ] {
            assert_eq!(Claims::read(odd), None, "{odd}");
        }
        for odd in ["-1", "null", "[]", "\"x\"", "1e400"] {
            let token = sample(&format!("{{\"exp\":{odd}}}"));
            let end = Claims::read(&token).and_then(|claims| claims.expires());
            assert_eq!(end, None, "{odd}");
        }
    }

    #[test]
    fn finds_tokens_wherever_they_stand() {
        let token = sample(r#"{"iat":1,"exp":2}"#);
        for value in [
            token.clone(),
            format!("Bearer {token}"),
            format!("a=b; kimi-auth={token}; c=d"),
            format!("opaque,{token}"),
            format!("123456+{token}"),
        ] {
            let found: Vec<_> = Claims::all_in(&value).collect();
            assert_eq!(found.len(), 1, "{value}");
            let times = (found[0].issued(), found[0].expires());
            assert_eq!(times, (Some(1), Some(2)), "{value}");
        }
        assert_eq!(Claims::all_in("eyJ.a.b ey.e30.x a.b.c").count(), 0);
    }
}
