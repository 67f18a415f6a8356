//! Who may come in. Keys are compared by their SHA-256 digests in constant time, and every key is compared, so
//! that neither content nor position shows in the time taken. Source: design.md section 2 step 2, conformance H2.

use std::{
    future::{Ready, ready},
    sync::{Arc, PoisonError, RwLock},
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap, HeaderName},
    web::Data,
};
use futures_util::future::{Either, LocalBoxFuture};
use ring::digest::{Digest, SHA256};
use subtle::ConstantTimeEq as _;

use super::error::ApiError;
use crate::{
    app::App,
    keys::{Found, KeyRecord, PREFIX},
    providers::registry::{Candidate, Registry, Route},
    settings::{ApiKey, MASTER},
    store::now_ms,
};

/// Headers that may hold a bare key, besides `Authorization`.
static KEY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// The keys that open the door.
#[derive(Debug)]
pub struct Keys {
    /// Written when the accounts file brings other keys; what was let in before stays in.
    keys: RwLock<Digests>,
    allow_anonymous: bool,
}

/// Names and digests.
type Digests = Vec<(Arc<str>, Digest)>;

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
        let name = header::AUTHORIZATION;
        headers.insert(name, format!("Bearer {key}").parse().unwrap());
        self.find(&headers).is_some()
    }

    /// The name of the first key among those presented that is valid.
    fn find(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for presented in presented(headers) {
            let presented = digest(presented);
            // No early end, so that neither the key nor its place shows in the time taken.
            for (name, known) in keys.iter() {
                if bool::from(known.as_ref().ct_eq(presented.as_ref())) {
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

/// Made with every request, and by instructions that processors have for it.
fn digest(key: &str) -> Digest {
    ring::digest::digest(&SHA256, key.as_bytes())
}

/// Every key that a request presents: `Authorization` in all the shapes that clients write (scheme in any case,
/// doubled, or absent), and the bare-key headers.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let authorization = headers
        .get_all(&header::AUTHORIZATION)
        .filter_map(|value| value.to_str().ok())
        .map(|value| {
            // In a loop: a scheme may stand there twice.
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
        .flat_map(|name| headers.get_all(name))
        .filter_map(|value| value.to_str().ok())
        .map(str::trim);
    authorization
        .chain(bare)
        .filter(|key| !key.is_empty() && !key.eq_ignore_ascii_case("bearer"))
}

/// A caller that was let in. As an extractor it answers 401 before anything of the body is read.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The key's name, for logs; `anonymous` without one.
    pub name: Arc<str>,
    /// What its usage is kept under: the id of a key of the store, else the name.
    pub id: Arc<str>,
    /// A key of the store, with its limits.
    pub key: Option<Arc<KeyRecord>>,
}

impl Principal {
    /// One with a key of the settings, or without any.
    pub fn of_settings(name: Arc<str>) -> Self {
        Self {
            id: Arc::clone(&name),
            name,
            key: None,
        }
    }

    fn of_store(key: Arc<KeyRecord>) -> Self {
        Self {
            name: key.name.as_str().into(),
            id: key.id.as_str().into(),
            key: Some(key),
        }
    }

    /// Whether it has the master key.
    pub fn is_master(&self) -> bool {
        self.key.is_none() && &*self.name == MASTER
    }

    /// Lets the master key on.
    ///
    /// # Errors
    /// 403.
    pub fn expect_master(&self) -> Result<(), ApiError> {
        if self.is_master() {
            Ok(())
        } else {
            Err(ApiError::only_for_the_master())
        }
    }

    /// Whether tokens must be counted exactly, for its limits.
    pub fn counts_tokens(&self) -> bool {
        self.key
            .as_ref()
            .is_some_and(|key| key.limits.are_of_tokens())
    }

    /// Lets on who may use the model that a request names: by that name, or because it leads to nothing that the key may not
    /// use.
    ///
    /// # Errors
    /// 403 `model_not_allowed`, also for a model that nobody knows: which ones there are is not this key's business.
    pub fn expect_model(&self, asked: &str, registry: &Registry) -> Result<(), ApiError> {
        match &self.key {
            // First by the name, which needs no route.
            Some(key) if !key.may_use(asked) => match registry.resolve(asked) {
                Some(route) => self.expect_route(asked, &route),
                None => Err(ApiError::model_not_allowed(asked)),
            },
            _ => Ok(()),
        }
    }

    /// Lets on who may use every model of a route, by its id or as `provider/id`.
    ///
    /// # Errors
    /// 403 `model_not_allowed`.
    pub fn expect_route(&self, asked: &str, route: &Route) -> Result<(), ApiError> {
        let Some(key) = &self.key else { return Ok(()) };
        let may_use = |candidate: &Candidate| {
            let id = &candidate.model.id;
            key.may_use(id) || key.may_use(&format!("{}/{id}", candidate.provider.name()))
        };
        if route.candidates.iter().all(may_use) {
            Ok(())
        } else {
            Err(ApiError::model_not_allowed(asked))
        }
    }
}

/// Keys of the settings are known at once; those of the store may have to be read.
type Finding = Either<
    Ready<Result<Principal, ApiError>>,
    LocalBoxFuture<'static, Result<Principal, ApiError>>,
>;

impl FromRequest for Principal {
    type Error = ApiError;
    type Future = Finding;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(app) = request.app_data::<Data<App>>() else {
            // Without an app there is nobody to let in (a test of the middleware alone).
            return Either::Left(ready(Err(ApiError::invalid_key())));
        };
        let admitted = |principal: Self, request: &HttpRequest| {
            // For what is done on a caller's behalf further in.
            request.extensions_mut().insert(principal.clone());
            principal
        };
        if let Some(name) = app.keys.find(request.headers()) {
            return Either::Left(ready(Ok(admitted(Self::of_settings(name), request))));
        }
        // Only what looks like one of ours: a foreign key need not be looked up.
        let of_store = presented(request.headers()).filter(|key| key.starts_with(PREFIX));
        let of_store: Vec<String> = of_store.map(str::to_owned).collect();
        let is_anonymous = app.keys.allow_anonymous;
        let otherwise = move || {
            if is_anonymous {
                Ok(Self::of_settings("anonymous".into()))
            } else {
                Err(ApiError::invalid_key())
            }
        };
        if of_store.is_empty() {
            let let_in = otherwise().map(|principal| admitted(principal, request));
            return Either::Left(ready(let_in));
        }
        let (ring, request) = (Arc::clone(&app.keyring), request.clone());
        Either::Right(Box::pin(async move {
            for key in of_store {
                match ring.find(&key, now_ms() / 1000).await {
                    Found::Key(key) => return Ok(admitted(Self::of_store(key), &request)),
                    Found::Nothing => {}
                    // 401 would tell its owner that the key is wrong.
                    Found::Unknown => {
                        return Err(ApiError::not_ready(
                            "the key cannot be checked now, as the store is gone",
                        ));
                    }
                }
            }
            otherwise().map(|principal| admitted(principal, &request))
        }))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

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
        for name in &KEY_HEADERS {
            assert_eq!(find(&[(name.as_str(), "sk-2")]).as_deref(), Some("bob"));
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
