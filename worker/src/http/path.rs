//! Paths with slips in them: a doubled slash, or one at the end, as base URLs are often written. They are understood and
//! not redirected, because a redirect would lose the body (conformance H1).
//!
//! actix-web has a middleware for this, which runs a regular expression over every path: an eighth of all instructions
//! of a small request. Nearly all paths need nothing.

use std::borrow::Cow;

use actix_web::{dev::ServiceRequest, http::Uri};

/// Puts the path right.
pub(super) fn tidy(request: &mut ServiceRequest) {
    let Cow::Owned(path) = tidied(request.path()) else {
        return;
    };
    let mut parts = request.head().uri.clone().into_parts();
    let whole = match request.head().uri.query() {
        Some(query) => format!("{path}?{query}"),
        // A path that cannot be read is nobody's door, and stays as it was.
        None => path,
    };
    parts.path_and_query = whole.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

/// Each run of slashes as one, and none at the end.
fn tidied(path: &str) -> Cow<'_, str> {
    let has_slip = path.contains("//") || (path.len() > 1 && path.ends_with('/'));
    if !has_slip {
        return Cow::Borrowed(path);
    }
    let parts = path.split('/').filter(|part| !part.is_empty());
    let whole: String = parts.flat_map(|part| ["/", part]).collect();
    Cow::Owned(if whole.is_empty() {
        "/".to_owned()
    } else {
        whole
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_put_right() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/v1/models", "/v1/models"),
            ("/v1//models///", "/v1/models"),
            ("//v1/chat/completions/", "/v1/chat/completions"),
            ("", ""),
        ] {
            assert_eq!(tidied(path), expected, "{path}");
            let is_copied = matches!(tidied(path), Cow::Owned(_));
            assert_eq!(is_copied, path != expected, "{path}");
        }
    }
}
