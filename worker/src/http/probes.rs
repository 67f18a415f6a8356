//! Doors for machines that look after the worker: `/health`, `/ready`, `/metrics`, and the quick answer on `/`.

use std::sync::atomic::Ordering;

use actix_web::{HttpResponse, web::Data};
use serde_json::json;

use super::{auth::Principal, error::ApiError};
use crate::{app::App, metrics::METRICS};

/// `GET /` and `/api/hello`: what this is. Clients probe it before they start (conformance H11).
pub(super) async fn hello() -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({"name": "hive2api", "version": env!("CARGO_PKG_VERSION"), "docs": "/docs"}))
}

/// `GET /health`: the process lives. Names every provider and how its accounts are.
pub(super) async fn health(app: Data<App>) -> HttpResponse {
    let providers: serde_json::Map<_, _> = app
        .registry
        .providers()
        .iter()
        .map(|provider| {
            let census = provider.accounts().census();
            (provider.name().to_owned(), json!({"ready": census.ready, "cooling": census.cooling, "disabled": census.disabled, "in_flight": census.in_flight}))
        })
        .collect();
    HttpResponse::Ok()
        .json(json!({"status": "ok", "worker": app.settings.worker_name, "providers": providers}))
}

/// `GET /ready`: may take traffic. 503 while draining, and when no provider has a usable account.
///
/// # Errors
/// 503.
pub(super) async fn ready(app: Data<App>) -> Result<HttpResponse, ApiError> {
    // Draining before the accounts: the worker is about to go, usable or not.
    if app.is_draining.load(Ordering::SeqCst) {
        return Err(ApiError::not_ready(
            "draining: this worker is about to stop",
        ));
    }
    if !app.registry.is_usable() {
        return Err(ApiError::not_ready("no provider has a usable account"));
    }
    Ok(HttpResponse::Ok().json(json!({"status": "ready"})))
}

/// `GET /admin/key`: 204 for a key that opens the door, 401 for any other. Nginx asks it before it reads a large body,
/// and does not pass it on to the public. Costs the same for every key, right or wrong (see [`Principal`]).
pub(super) async fn key(_: Principal) -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// `GET /metrics`: for Prometheus. Nginx does not pass it on to the public.
pub(super) async fn metrics(app: Data<App>) -> HttpResponse {
    app.measure();
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(METRICS.render())
}
