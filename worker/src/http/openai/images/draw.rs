//! The turns behind one request: so many at a time, each for its share of the pictures, and each picture brought into the
//! form in which it is handed over. What came is given, even where some of it failed.

use std::{cell::RefCell, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    budget::Share,
    chat::{
        Kind, ProviderError,
        media::{Draws, ImageRequest, Picture, Place, Size, Sizes},
    },
    metrics::METRICS,
    providers::{Images, Job, Route, Served, Turn, media, registry::Candidate},
    upstream::fetch::Attachment,
};

/// Waits before a picture is fetched again, which is there, but could not be had.
const FETCH_AGAIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// A fetched picture, its base64, and the answer that it stands in.
const COPIES: usize = 4;

/// A picture as it is handed over.
pub(super) struct Drawn {
    /// Where it is.
    pub(super) at: At,
    pub(super) revised_prompt: Option<String>,
}

/// See [`Drawn`].
pub(super) enum At {
    /// A link that anybody can open.
    Link(String),
    /// Here, with its type; and the share that it has of the memory, which is held until the answer is written.
    Here(Attachment, #[expect(dead_code, reason = "held")] Share),
}

impl At {
    /// As base64.
    pub(super) fn base64(bytes: &[u8]) -> String {
        BASE64.encode(bytes)
    }
}

/// What came of all turns, beside the pictures.
pub(super) struct Outcome {
    /// How many pictures; never none.
    pub(super) pictures: usize,
    /// Why there are fewer than were asked for.
    pub(super) failure: Option<ProviderError>,
    pub(super) served: Served,
}

/// How many pictures each turn is to draw.
pub(super) fn shares(n: u32, per_turn: u32) -> Vec<u32> {
    // A provider that says none a turn would divide by nothing.
    let per_turn = per_turn.max(1);
    let turns = n.div_ceil(per_turn);
    (0..turns)
        // The last turn draws what is left, else a caller would be given, and an account pay for, more than was asked.
        .map(|turn| (n - turn * per_turn).min(per_turn))
        .collect()
}

/// The size that a model is asked for in place of the caller's.
pub(super) fn fitted(sizes: Sizes, asked: Option<Size>) -> Option<Size> {
    match sizes {
        Sizes::Own => None,
        Sizes::Only(offered) => asked.and_then(|asked| asked.nearest(offered)),
        Sizes::Shapes | Sizes::Any => asked,
    }
}

/// Has all pictures drawn, and hands each over as it comes, in their order. `is_here`: as files, whatever they are
/// otherwise.
///
/// # Errors
/// That of the first turn where none brought any; with who was asked.
pub(super) async fn draw(
    job: &Job,
    route: &Route,
    request: &ImageRequest,
    first: Draws,
    is_here: bool,
    mut hand_over: impl AsyncFnMut(Drawn),
) -> Result<Outcome, (ProviderError, Served)> {
    let kind = if request.is_edit() { "edit" } else { "image" };
    let deadline = Instant::now() + job.settings.providers.request_timeout;
    let turns = shares(request.n, first.per_turn).into_iter();
    let turns = turns.map(|share| turn(job, route, request, share, is_here));
    let at_once = usize::try_from(first.at_once.max(1)).unwrap_or(1);
    // `buffered`, not `buffer_unordered`: pictures come back in the order in which they were asked for.
    let mut turns = std::pin::pin!(stream::iter(turns).buffered(at_once));
    let (mut pictures, mut failure, mut served) = (0, None, Served::default());
    let started = std::time::Instant::now();
    loop {
        // Each turn has its own limit; this one is for those that wait for others.
        let Ok(next) = timeout_at(deadline, turns.next()).await else {
            let late = ProviderError::new(
                Kind::Timeout,
                "the pictures took longer than REQUEST_TIMEOUT allows, and some turns were still at work on them",
            );
            // The first failure is the one to tell: those that follow it are often its consequence.
            failure = failure.or(Some(late));
            // What is still at work is dropped with the stream, and the lease with it; what came until then is given.
            break;
        };
        let Some((result, by)) = next else {
            break;
        };
        let outcome = result
            .as_ref()
            .err()
            .map_or("ok", |error| error.kind.label());
        METRICS.media(by.provider.as_deref(), kind, outcome, started.elapsed());
        match result {
            Ok(drawn) => {
                served = by;
                for picture in drawn {
                    pictures += 1;
                    hand_over(picture).await;
                }
            }
            Err(error) => {
                if pictures == 0 {
                    // Who failed is told only where nobody brought anything; else who drew is.
                    served = by;
                }
                failure = failure.or(Some(error));
            }
        }
    }
    match failure {
        Some(error) if pictures == 0 => Err((error, served)),
        failure => Ok(Outcome {
            pictures,
            failure,
            served,
        }),
    }
}

/// One turn: draws, and fetches what has to be here.
async fn turn(
    job: &Job,
    route: &Route,
    request: &ImageRequest,
    share: u32,
    is_here: bool,
) -> (Result<Vec<Drawn>, ProviderError>, Served) {
    // So many at most, however many a service draws: the share of the memory and the caller's `n` rest on it.
    let most = usize::try_from(share).unwrap_or(usize::MAX);
    media::run(
        job,
        route,
        async |candidate: &Candidate, turn: &mut Turn| {
            let provider = candidate.provider.images();
            let images = provider.zip(provider.and_then(|it| it.draws(&candidate.model)));
            let Some((images, draws)) = images else {
                // The route holds none of these.
                return Err(ProviderError::new(
                    Kind::NotConfigured,
                    "this model makes no pictures",
                ));
            };
            let ask = Arc::new(ImageRequest {
                // Another candidate of the route may draw fewer at once than the first, for which the shares were cut.
                n: share.min(draws.per_turn.max(1)),
                size: fitted(draws.sizes_for(request), request.size),
                ..request.clone()
            });
            let mut drawn = Vec::new();
            // One after the other: each is held whole, and that there is no more room is seen before the next one is
            // fetched.
            for picture in images.draw(&ask, turn).await?.into_iter().take(most) {
                let handed = handed_over(job, images, picture, is_here, turn).await;
                match handed {
                    Ok(picture) => drawn.push(picture),
                    // It is drawn, and only cannot be had: not the account's fault, and nothing that another one would mend.
                    Err(error) if drawn.is_empty() => {
                        turn.absolve();
                        return Err(error.lasting());
                    }
                    // Those that came are given; asking again would draw, and count, all of them anew.
                    Err(_) => break,
                }
            }
            if drawn.is_empty() {
                // It failed without a word of it, so another account may do better: unlike a picture that cannot be
                // had.
                return Err(ProviderError::empty_answer());
            }
            Ok(drawn)
        },
    )
    .await
}

/// A picture in the form in which the caller gets it.
async fn handed_over(
    job: &Job,
    images: &dyn Images,
    picture: Picture,
    is_here: bool,
    turn: &Turn,
) -> Result<Drawn, ProviderError> {
    let mut share = job.memory.share();
    let at = match picture.place {
        Place::Link {
            url,
            is_public: true,
        } if !is_here => At::Link(url),
        // Also a public one where the caller wants base64, and one that opens only with the service's cookie, which no
        // caller has.
        Place::Link { url, .. } => {
            let file = fetched(images, &url, turn, &mut share).await?;
            At::Here(file, share)
        }
        Place::Bytes(bytes) => {
            share
                // Counted before it is encoded; the base64 alone is a third more than the file.
                .grow_to(bytes.len() * COPIES)
                .map_err(|full| ProviderError::new(Kind::Overloaded, full.to_string()))?;
            let mime = picture.mime.unwrap_or_default();
            At::Here(
                crate::upstream::fetch::file("", &mime, bytes, "picture"),
                share,
            )
        }
    };
    Ok(Drawn {
        at,
        revised_prompt: picture.revised_prompt,
    })
}

/// The file behind a link; once or twice more where that fails for a reason that passes.
async fn fetched(
    images: &dyn Images,
    url: &str,
    turn: &Turn,
    share: &mut Share,
) -> Result<Attachment, ProviderError> {
    // A cell, as the check is called from within the download, which borrows it while this function still has it.
    let share = RefCell::new(share);
    let room = |bytes: usize| share.borrow_mut().grow_to(bytes * COPIES).is_ok();
    let mut waits = FETCH_AGAIN.iter();
    loop {
        let fetched = async {
            let answer = images.open(url, turn).await?;
            turn.download(answer, &room).await
        };
        let error = match fetched.await {
            Ok(file) if file.is_image() => return Ok(file),
            // Some stores answer 200 with a page that says "not yet".
            Ok(_) => ProviderError::malformed("picture"),
            Err(error) => error,
        };
        match waits.next().filter(|_| error.kind.is_passing()) {
            Some(wait) => sleep(*wait).await,
            None => return Err(error),
        }
    }
}

/// Whether bytes are a picture of the format that was asked for.
pub(super) fn format_of(file: &Attachment) -> Option<&str> {
    file.content_type.strip_prefix("image/")
}

/// A picture as a data URL.
pub(super) fn data_url(mime: &str, bytes: &Bytes) -> String {
    format!("data:{mime};base64,{}", At::base64(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_shared_among_turns() {
        assert_eq!(shares(1, 1), [1]);
        assert_eq!(shares(3, 1), [1, 1, 1]);
        assert_eq!(shares(4, 4), [4]);
        assert_eq!(shares(10, 4), [4, 4, 2]);
        assert_eq!(shares(2, 0), [1, 1]);
    }

    #[test]
    fn a_model_is_asked_for_a_size_that_it_has() {
        const OFFERED: &[Size] = &[Size::of(1, 1), Size::of(4, 3)];
        let asked = Some(Size::of(1600, 1200));
        assert_eq!(fitted(Sizes::Only(OFFERED), asked), Some(Size::of(4, 3)));
        assert_eq!(fitted(Sizes::Only(OFFERED), None), None);
        assert_eq!(fitted(Sizes::Own, asked), None);
        assert_eq!(fitted(Sizes::Any, asked), asked);
    }
}
