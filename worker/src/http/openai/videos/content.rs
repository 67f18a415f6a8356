//! The file of a video, piece by piece. Source: OpenAI's public API reference, Videos.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path, Query},
};
use serde::Deserialize;

use super::{back, header_text, is_lane, lane, look, looks, no_store, nobody_films, told};
use crate::{
    app::App,
    chat::{
        ProviderError,
        media::{Place as File, VideoStatus},
    },
    http::{answering, auth::Principal, error::ApiError, through},
    providers::media,
};

/// The query of [`content`].
#[derive(Debug, Deserialize)]
pub struct Variant {
    variant: Option<String>,
}

/// `GET /v1/videos/{id}/content`: the file, piece by piece as it comes; a `Range` is passed on.
///
/// # Errors
/// 400 for a video that is not there yet, 404 for an id that is not this caller's, 416 for a range that it does not have.
pub async fn content(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
    query: Query<Variant>,
) -> Result<HttpResponse, ApiError> {
    let (job, route, mut record) = back(&http, &caller, &app, &id)?;
    if is_lane(&route) {
        let about = (id.as_str(), &job, &route);
        return lane::content(
            &http,
            &caller,
            &app,
            about,
            query.variant.as_deref(),
            record,
        )
        .await;
    }
    let opened = async {
        if query.variant.as_deref().is_some_and(|it| it != "video") {
            return Err(ApiError::unsupported("variant", &job.model));
        }
        // A look at a finished video serves for minutes, since players ask for a file in many ranges.
        let state = match app.looks.last(&job).or_else(|| app.looks.finished(&job)) {
            Some(state) => state,
            None => {
                // Whoever asks for the file has seen that it is there: by another worker, as this one has not looked, and
                // that may have been just now.
                tokio::time::sleep(looks::FRESH).await;
                look(&http, &caller, &app, (&job, &route), &mut record.served).await?
            }
        };
        let file = match (state.status, state.file, state.error) {
            (VideoStatus::Completed, Some(file), _) => file,
            // Its own error, as the status door tells it, and not "not ready": the caller would ask for ever.
            (VideoStatus::Failed, _, Some(error)) => return Err(told(error)),
            _ => return Err(ApiError::video_not_ready()),
        };
        let url = match file {
            File::Bytes(bytes) => return Ok(Err(bytes)),
            File::Link { url, .. } => url,
        };
        // Passed on, since a player that seeks would else load the whole file from the beginning.
        let range = header_text(&http, "range");
        let run = answering::job(&http, &caller, &app, answering::Sign::None)?;
        let (answer, served) = media::run(&run, &route, async |candidate, turn| {
            let videos = candidate.provider.videos().ok_or_else(nobody_films)?;
            videos.open(&job.ticket, &url, range.as_deref(), turn).await
        })
        .await;
        record.served = served;
        let answer = answer.map_err(|error| {
            // It may have moved: the next request looks again.
            app.looks.forget(&job);
            told(error)
        })?;
        // A store's error page under 200 is no video.
        if answer.content_type().starts_with("text/") {
            let error = ProviderError::malformed("video file").with_code("result_not_fetched");
            return Err(error.into());
        }
        Ok(Ok(answer))
    };
    match opened.await.inspect_err(|error| record.fail(error))? {
        Ok(answer) => Ok(through::respond(answer, (), record, &app)),
        Err(bytes) => {
            record.done();
            let mut response = HttpResponse::Ok();
            response.insert_header((header::CONTENT_TYPE, "video/mp4"));
            Ok(no_store(&mut response).body(bytes))
        }
    }
}
