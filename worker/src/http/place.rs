//! A worker's places: how many chats it answers at once, and how it sends away those that it does not take.
//!
//! A refusal comes before anything of a chat has been done, so another worker may be asked. nginx tells by
//! `X-Hive-Elsewhere` where such a chat is to go, and is sent there by `X-Accel-Redirect` (see [`super::edge`]).

use std::sync::atomic::Ordering;

use actix_web::{HttpRequest, http::header::HeaderName, web::Data};

use super::error::ApiError;
use crate::{
    app::App,
    metrics::{METRICS, SIGNS},
};

/// The request header by which nginx says what decided for this worker.
pub(super) static STICKY: HeaderName = HeaderName::from_static("x-hive-sticky");

/// One chat's place, from when its body has been read to the end of its answer; free again when dropped.
#[derive(Debug)]
pub struct Place(Data<App>);

impl Place {
    /// What all requests of the worker share.
    pub(super) fn app(&self) -> &App {
        &self.0
    }

    /// Whether there is a place, before a body is read that would be read in vain. It takes none: a body that comes
    /// slowly keeps nobody out.
    ///
    /// # Errors
    /// As [`Place::take`].
    pub fn look(app: &Data<App>, http: &HttpRequest) -> Result<(), ApiError> {
        METRICS.sticky_total.with_label_values(&[sign(http)]).inc();
        refuse(app, app.in_flight.load(Ordering::SeqCst))
    }

    /// Takes a place.
    ///
    /// # Errors
    /// 503 `overloaded` when `MAX_STREAMS` are taken, 503 `not_ready` shortly before the end of the process.
    pub fn take(app: &Data<App>) -> Result<Self, ApiError> {
        // Before the count is looked at: two that come at once both see themselves.
        let taken = app.in_flight.fetch_add(1, Ordering::SeqCst);
        // Made in any case: dropping it takes the count back.
        let place = Self(app.clone());
        refuse(app, taken).map(|()| place)
    }
}

fn refuse(app: &App, taken: usize) -> Result<(), ApiError> {
    let refusal = if app.is_closed.load(Ordering::SeqCst) {
        ("draining", ApiError::draining())
    } else if taken >= app.settings.http.most_streams {
        (
            "overloaded",
            ApiError::overloaded(app.settings.http.most_streams),
        )
    } else {
        return Ok(());
    };
    let (reason, error) = refusal;
    METRICS.refused_total.with_label_values(&[reason]).inc();
    Err(error)
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Which sign of the request has led nginx here; `none` without nginx, or where a client that came past it invented one.
fn sign(http: &HttpRequest) -> &'static str {
    let said = http.headers().get(&STICKY);
    SIGNS
        .into_iter()
        // A client that came past nginx may write what it likes there.
        .find(|sign| said.is_some_and(|said| said.as_bytes() == sign.as_bytes()))
        .unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_label_is_never_a_clients_invention() {
        let said = |value: &str| {
            sign(
                &TestRequest::default()
                    .insert_header((STICKY.clone(), value))
                    .to_http_request(),
            )
        };
        assert_eq!(said("conversation"), "conversation");
        assert_eq!(said("Conversation"), "none");
        assert_eq!(said("evil\"} 1"), "none");
        assert_eq!(sign(&TestRequest::default().to_http_request()), "none");
    }
}
