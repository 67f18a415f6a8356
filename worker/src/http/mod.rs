//! The doors: what clients speak. Authentication, request ids, errors and the docs page stand here; one folder a
//! dialect below ([`openai`]). A door never names a provider. Source: design.md section 2, conformance sections 1 to 5.

pub mod answering;
pub mod anthropic;
pub mod auth;
pub mod body;
pub mod dialect;
pub mod docs;
pub mod edge;
pub mod error;
pub mod form;
pub mod openai;
pub mod owner;
mod path;
pub mod place;
pub mod probes;
mod reading;
#[cfg(test)]
#[path = "../../tests/checkers/responses.rs"]
mod responses_checker;
mod through;
mod unpack;

use actix_web::web;

/// All routes. `/v1` is the documented base; a doubled `/v1/v1` and a missing `/v1` are accepted because clients
/// differ in whether they add it (conformance H1).
///
/// Anthropic's door also stands below `/anthropic`, as other gateways have it, with that dialect's listing of models.
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
                web::resource(format!("{base}/responses"))
                    .route(web::post().to(openai::responses::create))
                    .default_service(web::to(openai::responses::other_method)),
            )
            .service(
                web::resource(format!("{base}/completions"))
                    .route(web::post().to(openai::completions::create))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/models"))
                    .route(web::get().to(openai::models::list))
                    .default_service(web::to(error::method_not_allowed)),
            );
    }
    for base in ["/v1", "", "/v1/v1", "/anthropic/v1", "/anthropic"] {
        config
            .service(
                web::resource(format!("{base}/messages"))
                    .route(web::post().to(anthropic::messages::create))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/messages/count_tokens"))
                    .route(web::post().to(anthropic::messages::count_tokens))
                    .default_service(web::to(error::method_not_allowed)),
            );
    }
    for base in ["/v1", "", "/v1/v1"] {
        config
            .service(
                web::resource(format!("{base}/images/generations"))
                    .route(web::post().to(openai::images::generations))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/images/edits"))
                    .route(web::post().to(openai::images::edits))
                    .default_service(web::to(error::method_not_allowed)),
            );
        for endpoint in openai::relay::ENDPOINTS {
            let pass = move |http, caller, app, payload| {
                openai::relay::pass(endpoint, http, caller, app, payload)
            };
            config.service(
                web::resource(format!("{base}{}", endpoint.path))
                    .route(web::post().to(pass))
                    .default_service(web::to(error::method_not_allowed)),
            );
        }
    }
    for base in ["/v1", "", "/v1/v1"] {
        use openai::videos;
        config
            .service(
                web::resource(format!("{base}/videos"))
                    .route(web::post().to(videos::create))
                    .route(web::get().to(videos::list))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/videos/{{id}}"))
                    .route(web::get().to(videos::retrieve))
                    .route(web::delete().to(videos::delete))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/videos/{{id}}/content"))
                    .route(web::get().to(videos::content))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/videos/{{id}}/remix"))
                    .route(web::post().to(videos::remix))
                    .default_service(web::to(error::method_not_allowed)),
            );
    }
    config
        .service(
            web::resource("/anthropic/v1/models")
                .route(web::get().to(openai::models::list))
                .default_service(web::to(error::method_not_allowed)),
        )
        .service(
            web::resource("/anthropic/v1/models/{id:.+}")
                .route(web::get().to(openai::models::one))
                .default_service(web::to(error::method_not_allowed)),
        )
        .route("/anthropic", web::get().to(probes::hello))
        .route("/anthropic/api/hello", web::get().to(probes::hello))
        .route("/health", web::get().to(probes::health))
        .route("/ready", web::get().to(probes::ready))
        .route("/metrics", web::get().to(probes::metrics))
        .route("/admin/key", web::get().to(probes::key))
        .route("/", web::get().to(probes::hello))
        .route("/api/hello", web::get().to(probes::hello));
    owner::routes(config);
    for base in ["/v1", "", "/v1/v1"] {
        config
            .service(
                web::resource(format!("{base}/models/{{id:.+}}"))
                    .route(web::get().to(openai::models::one))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/responses/compact"))
                    .route(web::post().to(openai::responses::compact))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/responses/{{id}}"))
                    .route(web::get().to(openai::responses::stored))
                    .route(web::delete().to(openai::responses::forget))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/responses/{{id}}/cancel"))
                    .route(web::post().to(openai::responses::cancel))
                    .default_service(web::to(error::method_not_allowed)),
            )
            .service(
                web::resource(format!("{base}/responses/{{id}}/input_items"))
                    .route(web::get().to(openai::responses::input_items))
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
