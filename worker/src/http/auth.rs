//! Who may come in. Keys are compared by their SHA3-256 digests in constant time, and every key is compared, so
//! that neither content nor position shows in the time taken. Source: design.md section 2 step 2, conformance H2.

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::HeaderMap, web::Data};
use sha3::{Digest as _, Sha3_256};
use std::{
    future::{Ready, ready},
    sync::{Arc, PoisonError, RwLock},
};
use subtle::ConstantTimeEq as _;

use super::error::ApiError;
use crate::{app::App, settings::ApiKey};

/// Headers that may hold a bare key, besides `Authorization`.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "api-key", "x-goog-api-key"];

/// The keys that open the door.
#[derive(Debug)]
pub struct Keys {
    /// Written when the accounts file brings other keys; what was let in before stays in.
    keys: RwLock<Digests>,
    allow_anonymous: bool,
}

/// Names and digests.
type Digests = Vec<(Arc<str>, [u8; 32])>;

impl Keys {
    /// Digests of the keys.
    pub fn new(keys: &[ApiKey], allow_anonymous: bool) -> Self {
        Self {
            keys: RwLock::new(digests(keys)),
            allow_anonymous,
        }
    }

    /// Puts other keys in the place of all: from now on only these open.
    pub fn renew(&self, keys: &[ApiKey]) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = digests(keys);
    }

    /// Whether a key opens.
    #[cfg(test)]
    pub(crate) fn opens(&self, key: &str) -> bool {
        let mut headers = HeaderMap::new();
        let name = actix_web::http::header::AUTHORIZATION;
        headers.insert(name, format!("Bearer {key}").parse().unwrap());
        self.find(&headers).is_some()
    }

    /// The name of the first key among those presented that is valid.
    fn find(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for presented in presented(headers) {
            let presented = digest(presented);
            for (name, known) in keys.iter() {
                if bool::from(known.ct_eq(&presented)) {
                    found = Some(Arc::clone(name));
                }
            }
        }
        found
    }
}

fn digests(keys: &[ApiKey]) -> Digests {
    keys.iter()
        .map(|key| (key.name.as_str().into(), digest(key.key.expose())))
        .collect()
}

fn digest(key: &str) -> [u8; 32] {
    Sha3_256::digest(key).into()
}

/// Every key that a request presents: `Authorization` in all the shapes that clients write (scheme in any case,
/// doubled, or absent), and the bare-key headers.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let authorization = headers
        .get_all("authorization")
        .filter_map(|value| value.to_str().ok())
        .map(|value| {
            let mut key = value.trim();
            while let Some((scheme, rest)) = key.split_once(char::is_whitespace)
                && scheme.eq_ignore_ascii_case("bearer")
            {
                key = rest.trim_start();
            }
            key
        });
    let bare = KEY_HEADERS
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .filter_map(|value| value.to_str().ok())
        .map(str::trim);
    authorization
        .chain(bare)
        .filter(|key| !key.is_empty() && !key.eq_ignore_ascii_case("bearer"))
}

/// A caller that was let in. As an extractor it answers 401 before anything of the body is read.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The key's name; `anonymous` without one.
    pub name: Arc<str>,
}

impl FromRequest for Principal {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let keys = request.app_data::<Data<App>>().map(|app| &app.keys);
        let name = keys.and_then(|keys| {
            keys.find(request.headers())
                .or_else(|| keys.allow_anonymous.then(|| "anonymous".into()))
        });
        ready(
            name.map(|name| Self { name })
                .ok_or_else(ApiError::invalid_key),
        )
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::accounts::Secret;

    fn find(headers: &[(&str, &str)]) -> Option<String> {
        let keys = Keys::new(
            &[
                ApiKey {
                    name: "master".into(),
                    key: Secret::new("sk-1"),
                },
                ApiKey {
                    name: "bob".into(),
                    key: Secret::new("sk-2"),
                },
            ],
            false,
        );
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        keys.find(&map).map(|name| name.to_string())
    }

    #[test]
    fn takes_a_key_in_all_its_shapes() {
        for value in [
            "Bearer sk-1",
            "bearer sk-1",
            "BEARER   sk-1 ",
            "Bearer Bearer sk-1",
            "sk-1",
            "  sk-1",
        ] {
            assert_eq!(
                find(&[("authorization", value)]).as_deref(),
                Some("master"),
                "{value:?}"
            );
        }
        for name in KEY_HEADERS {
            assert_eq!(find(&[(name, "sk-2")]).as_deref(), Some("bob"));
        }
        assert_eq!(
            find(&[("authorization", "Bearer wrong"), ("x-api-key", "sk-2")]).as_deref(),
            Some("bob")
        );
    }

    #[test]
    fn refuses_everything_else() {
        for headers in [
            &[][..],
            &[("authorization", "")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic sk-1")],
            &[("authorization", "Bearer sk-12")],
            &[("x-api-key", "")],
        ] {
            assert_eq!(find(headers), None, "{headers:?}");
        }
    }
}
