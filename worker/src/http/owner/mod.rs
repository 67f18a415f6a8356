//! The doors for the owner of the gateway: keys, accounts and what was used. All speak JSON and take the master key; of usage every
//! caller sees its own. Source: issue "What a cluster must know together", items 4 to 6.

mod accounts;
mod keys;
mod rows;
mod usage;

use actix_web::{
    HttpRequest,
    web::{self, Data, Payload},
};
use serde::de::DeserializeOwned;

use super::{
    body,
    error::{self, ApiError},
};
use crate::{app::App, chat::Invalid};

/// Its routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/v1/keys")
                .route(web::get().to(keys::list))
                .route(web::post().to(keys::create))
                .default_service(web::to(error::method_not_allowed)),
        )
        .service(
            web::resource("/v1/keys/{id}")
                .route(web::get().to(keys::one))
                .route(web::patch().to(keys::change))
                .route(web::delete().to(keys::delete))
                .default_service(web::to(error::method_not_allowed)),
        )
        .service(
            web::resource("/v1/accounts")
                .route(web::get().to(accounts::list))
                .route(web::post().to(accounts::add))
                .default_service(web::to(error::method_not_allowed)),
        )
        .service(
            web::resource("/v1/accounts/{id}")
                .route(web::get().to(accounts::one))
                .route(web::delete().to(accounts::delete))
                .default_service(web::to(error::method_not_allowed)),
        )
        .service(
            web::resource("/v1/accounts/{id}/check")
                .route(web::post().to(accounts::check))
                .default_service(web::to(error::method_not_allowed)),
        )
        .service(
            web::resource("/v1/usage")
                .route(web::get().to(usage::sums))
                .default_service(web::to(error::method_not_allowed)),
        )
        .service(
            web::resource("/v1/usage/requests")
                .route(web::get().to(usage::requests))
                .default_service(web::to(error::method_not_allowed)),
        );
}

/// A body of JSON; an empty one is an empty object.
async fn read<T: DeserializeOwned>(
    http: &HttpRequest,
    app: &Data<App>,
    payload: Payload,
) -> Result<T, ApiError> {
    let mut share = app.memory.share();
    let body = body::read(http, payload, &app.settings.http, &mut share).await?;
    let body = match body.trim_ascii() {
        b"" => b"{}".as_slice(),
        // A list would be taken for the members' values in their order.
        body if !body.starts_with(b"{") => {
            return Err(Invalid::field("body", "The body must be a JSON object.").into());
        }
        body => body,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let message = format!("The body cannot be read: {}.", error.into_inner());
        Invalid {
            message,
            param: (path != ".").then_some(path),
            code: None,
        }
        .into()
    })
}
