//! What a JSON web token says about its own time. Read, never verified.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Unix seconds, where the token names them.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(super) struct Times {
    /// Issued.
    pub(super) iat: Option<f64>,
    /// Expires.
    pub(super) exp: Option<f64>,
}

/// The tokens in a value, wherever they stand in it (`Bearer …`, a cookie, several between commas).
pub(super) fn tokens(value: &str) -> impl Iterator<Item = Times> {
    value
        .split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .filter_map(times)
}

fn times(token: &str) -> Option<Times> {
    let mut parts = token.split('.');
    let (head, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if !head.starts_with("eyJ") || parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()
}

#[cfg(test)]
pub(super) fn sample(claims: &str) -> String {
    let payload = BASE64.encode(claims);
    format!("eyJhbGciOiJub25lIn0.{}.c2ln", payload.trim_end_matches('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_tokens_wherever_they_stand() {
        let token = sample(r#"{"iat":1,"exp":2}"#);
        for value in [
            token.clone(),
            format!("Bearer {token}"),
            format!("a=b; kimi-auth={token}; c=d"),
            format!("opaque,{token}"),
        ] {
            let found: Vec<_> = tokens(&value).collect();
            let expected = Times {
                iat: Some(1.0),
                exp: Some(2.0),
            };
            assert_eq!(found, [expected], "{value}");
        }
        assert_eq!(tokens("eyJ.a.b ey.e30.x a.b.c").count(), 0);
    }
}
