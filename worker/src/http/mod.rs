//! The doors: what clients speak. Authentication, request ids, errors and the docs page stand here; one folder a
//! dialect below ([`openai`]). A door never names a provider. Source: design.md section 2, conformance sections 1 to 5.

pub mod auth;
pub mod body;
pub mod docs;
pub mod edge;
pub mod error;
pub mod openai;
mod path;
pub mod place;
pub mod probes;
mod unpack;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use actix_web::web;
use tokio::sync::watch;

use crate::{
    accounts::Census,
    budget::Memory,
    metrics::METRICS,
    providers::{Janitor, Registry},
    settings::Settings,
};

/// What all threads of a worker share.
#[derive(Debug)]
pub struct App {
    /// The settings, as read at start.
    pub settings: Arc<Settings>,
    /// Providers, models, aliases.
    pub registry: Registry,
    /// Clean-up under way.
    pub janitor: &'static Janitor,
    /// The keys that open the door.
    pub keys: auth::Keys,
    /// Set by SIGTERM: `/ready` says 503 from now on.
    pub is_draining: AtomicBool,
    /// Set when the grace after SIGTERM is over: no chat is taken any more.
    pub is_closed: AtomicBool,
    /// Chats whose answer has not ended; see [`place::Place`].
    pub in_flight: AtomicUsize,
    /// What requests hold of `REQUEST_MEMORY_BYTES`.
    pub memory: Memory,
    /// Set to true to end running answers with an error; see [`App::cut_answers`].
    pub cut: watch::Sender<bool>,
}

impl App {
    /// An app that serves `registry`.
    pub fn new(settings: Settings, registry: Registry) -> Self {
        Self {
            keys: auth::Keys::new(&settings.api_keys, settings.allow_anonymous),
            memory: Memory::new(settings.request_memory_bytes),
            settings: Arc::new(settings),
            registry,
            // One a process, and alive until its end: clean-up may outlive the app's other parts.
            janitor: Box::leak(Box::default()),
            is_draining: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            cut: watch::Sender::new(false),
        }
    }

    /// Whether nothing is left to do before the process may end.
    pub fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) == 0 && self.janitor.pending() == 0
    }

    /// Ends every running answer with an error that says so: a stream with an event, a whole answer with a status.
    pub fn cut_answers(&self) {
        self.cut.send_replace(true);
    }

    /// Brings the gauges that are read off rather than counted up to date.
    pub fn measure(&self) {
        METRICS
            .build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION"), &self.settings.worker_name])
            .set(1);
        METRICS
            .draining
            .set(self.is_draining.load(Ordering::SeqCst).into());
        let providers = self.registry.providers().iter();
        METRICS.set_expiries(providers.flat_map(|provider| {
            let ends = provider.expiries().into_iter();
            ends.map(|(account, end)| (provider.name(), account, end))
        }));
        for provider in self.registry.providers() {
            METRICS.expect_shapes(provider.name());
            let Census {
                ready,
                cooling,
                disabled,
                in_flight: _,
            } = provider.accounts().census();
            for (state, count) in [
                ("ready", ready),
                ("cooling", cooling),
                ("disabled", disabled),
            ] {
                METRICS
                    .accounts
                    .with_label_values(&[provider.name(), state])
                    .set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
}

/// All routes. `/v1` is the documented base; a doubled `/v1/v1` and a missing `/v1` are accepted because clients
/// differ in whether they add it (conformance H1).
///
/// They are looked through in this order, so what is asked most comes first, and patterns last.
pub fn routes(config: &mut web::ServiceConfig) {
    for base in ["/v1", "", "/v1/v1"] {
        config
            .service(
                web::resource(format!("{base}/chat/completions"))
                    .route(web::post().to(openai::chat::completions))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/models"))
                    .route(web::get().to(openai::models::list))
                    .default_service(web::to(error::method_not_allowed)),
            );
    }
    config
        .route("/health", web::get().to(probes::health))
        .route("/ready", web::get().to(probes::ready))
        .route("/metrics", web::get().to(probes::metrics))
        .route("/admin/key", web::get().to(probes::key))
        .route("/", web::get().to(probes::hello))
        .route("/api/hello", web::get().to(probes::hello));
    for base in ["/v1", "", "/v1/v1"] {
        config.service(
            web::resource(format!("{base}/models/{{id:.+}}"))
                .route(web::get().to(openai::models::one))
                .default_service(web::to(error::method_not_allowed)),
        );
    }
    config
        .app_data(web::PathConfig::default().error_handler(|error, _| {
            error::in_openais_form(&error, "The path cannot be read").into()
        }))
        .app_data(web::QueryConfig::default().error_handler(|error, _| {
            error::in_openais_form(&error, "The query cannot be read").into()
        }))
        .configure(docs::routes)
        .default_service(web::to(error::not_found));
}

/// What fuzz/ looks into.
#[cfg(fuzzing)]
pub mod fuzz {
    use bytes::Bytes;

    use super::unpack;

    /// A request's body without its `Content-Encoding`, if it can be taken off and is at most so long.
    pub fn unpacked(encoding: &str, body: &[u8], most: usize) -> Option<Bytes> {
        let encodings = unpack::encodings(std::iter::once(encoding.as_bytes())).ok()?;
        unpack::unpack(Bytes::copy_from_slice(body), &encodings, most, |_| Ok(())).ok()
    }
}
