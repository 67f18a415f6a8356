//! Reading an answer to its end: its stream, the continuations of one that is incomplete, and the one resumption of one
//! whose connection broke. Source: `wire/deepseek.md` sections 6 and 8.
//!
//! ```text
//!   completion ──► read ──► over
//!                  │  ▲
//!                  │  ├── continue (eight times at most) ◄── incomplete
//!                  │  └── resume (once, after text) ◄─────── connection broke
//!                  └────► finished meanwhile: the whole message ──► over
//! ```

use std::time::Duration;

use super::{
    NAME,
    call::{self, is_stream, refused},
    refusal::{self, Refusal},
    stream::Decoder,
    wire::{self, Aside, Caller},
};
use crate::{
    chat::{Kind, ProviderError},
    providers::Turn,
    upstream::Answer,
};

/// Continuations of one answer (section 6).
const MOST_CONTINUATIONS: usize = 8;
/// After a silence: time for the service to notice that the old connection has closed.
const AFTER_SILENCE: Duration = Duration::from_millis(100);

/// Where an answer is being said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listening<'a> {
    pub(super) caller: Caller<'a>,
    pub(super) session_id: &'a str,
    pub(super) aside: &'a Aside,
    /// The longest silence.
    pub(super) silence: Duration,
}

/// Passes the answer on as it comes.
///
/// # Errors
/// Refusals within the stream, and a connection that stays broken.
pub(super) async fn listen(
    turn: &mut Turn,
    listening: Listening<'_>,
    mut answer: Answer,
) -> Result<(), ProviderError> {
    let mut decoder = Decoder::new();
    let (mut continuations, mut may_fail, mut may_resume) = (0, true, true);
    loop {
        // The stream's own errors end the answer; only a broken connection comes back here.
        let broken = read(turn, listening, answer, &mut decoder).await?;
        if decoder.is_cut() {
            // Nobody wants the rest that the model is still writing.
            // Without an id there is nothing to stop it by.
            if let Some(id) = decoder.response_id() {
                let stop = wire::stop(listening.caller, listening.session_id, id);
                // Nobody waits for its answer, and its failure costs the service more than us.
                let _ = turn.send(stop).await;
            }
            break;
        }
        if let Some(error) = broken {
            // Once: a connection that breaks twice is the network's, and each time all is sent again.
            if !std::mem::replace(&mut may_resume, false) {
                return Err(error);
            }
            match resume(turn, listening, &mut decoder, &error).await? {
                Resumed::Stream(more) => {
                    answer = more;
                    decoder.resume();
                    continue;
                }
                // What the service holds has been passed on; it may still be incomplete.
                Resumed::Whole => {}
                Resumed::Broken => return Err(error),
            }
        }
        // The generator may break once and be asked again (section 7), but not in a loop.
        let is_worth_it = decoder.is_incomplete() && (!decoder.has_failed() || may_fail);
        let Some(response_id) = decoder
            .response_id()
            .filter(|_| is_worth_it && continuations < MOST_CONTINUATIONS)
        else {
            break;
        };
        continuations += 1;
        // Spent by the failure, not by the continuation.
        may_fail &= !decoder.has_failed();
        let mut request = wire::go_on(
            listening.caller,
            listening.session_id,
            response_id,
            listening.aside,
        );
        // `go_on` has taken the short call's bound away; a continuation may be as slow as an answer.
        request.timeout = Some(listening.silence);
        let mut more = turn.send(request).await?;
        if !is_stream(&mut more).await {
            // What is there is honestly too short: finish says so.
            let refusal = refused(turn, more).await;
            tracing::warn!(
                provider = NAME,
                ?refusal,
                "the answer could not be continued"
            );
            break;
        }
        answer = more;
        decoder.resume();
    }
    let finished = decoder.finish(&mut turn.events);
    // Also of an answer that fails: what is over needs no call to stop.
    if decoder.has_final_status() {
        turn.upstream_is_over();
    }
    // After the id and the end are noted, as both are true of a failed answer too.
    finished?;
    if let Some(id) = decoder.response_id() {
        turn.answered_as(&id.to_string());
    }
    turn.emit().await
}

/// Reads one stream to its end, passing everything on as it comes; why it broke off before its end, if it did.
///
/// # Errors
/// What the stream itself says.
async fn read(
    turn: &mut Turn,
    listening: Listening<'_>,
    mut answer: Answer,
    decoder: &mut Decoder,
) -> Result<Option<ProviderError>, ProviderError> {
    // Known from the stream before, where this is a continuation.
    let mut stops = decoder.response_id();
    loop {
        let bytes = match answer.chunk().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break,
            // A service that is done owes no proper end of the connection.
            Err(_) if decoder.has_final_status() => break,
            Err(error) => return Ok(Some(error.into())),
        };
        let fed = decoder.feed(&bytes, &mut turn.events);
        // Once: the errand is the same for all continuations of the answer.
        if stops.is_none() {
            stops = decoder.response_id();
            if let Some(id) = stops {
                turn.on_abort(wire::stop(listening.caller, listening.session_id, id));
            }
        }
        if fed.is_err() {
            // The service has ended the answer by itself.
            turn.upstream_is_over();
        }
        turn.emit_then(fed).await?;
        // `close` is the service's word, and the connection may stay open behind it.
        if decoder.is_closed() || decoder.is_cut() {
            break;
        }
    }
    // Before it is judged: the last event may be the final status.
    decoder.drain(&mut turn.events)?;
    let is_over = decoder.has_final_status() || decoder.is_closed() || decoder.is_cut();
    Ok((!is_over).then(ProviderError::broken_stream))
}

enum Resumed {
    /// The answer goes on, from its beginning: the decoder knows what was said.
    Stream(Answer),
    /// It had been finished meanwhile, and all of it has been passed on.
    Whole,
    /// It stays broken.
    Broken,
}

/// Takes a broken answer up again, if any of it has come.
///
/// # Errors
/// That of [`Turn::emit`] alone; whatever else goes wrong leaves the answer broken.
async fn resume(
    turn: &mut Turn,
    listening: Listening<'_>,
    decoder: &mut Decoder,
    error: &ProviderError,
) -> Result<Resumed, ProviderError> {
    // Section 8: before some of it has come there is nothing to take up.
    let Some(response_id) = decoder.resumable() else {
        return Ok(Resumed::Broken);
    };
    // A silence: the service must notice that the old connection is gone, or it refuses.
    if error.kind == Kind::Timeout {
        tokio::time::sleep(AFTER_SILENCE).await;
    }
    let mut request = wire::resume(
        listening.caller,
        listening.session_id,
        response_id,
        listening.aside,
    );
    // As for an answer: what was missed is sent at once, but the rest takes its time.
    request.timeout = Some(listening.silence);
    let Ok(mut answer) = turn.send(request).await else {
        return Ok(Resumed::Broken);
    };
    if is_stream(&mut answer).await {
        tracing::info!(provider = NAME, "a broken answer goes on");
        return Ok(Resumed::Stream(answer));
    }
    let head = call::head(turn.unix_ms(), &answer);
    let Ok(body) = answer.short().await else {
        return Ok(Resumed::Broken);
    };
    // Finished meanwhile: the answer is here instead of the stream.
    let Some(message) = refusal::finished_meanwhile(head, &body) else {
        let refusal: Refusal = refusal::refusal(head, &body);
        tracing::warn!(provider = NAME, ?refusal, "the answer could not be resumed");
        return Ok(Resumed::Broken);
    };
    if decoder.complete(message, &mut turn.events).is_err() {
        return Ok(Resumed::Broken);
    }
    turn.emit().await?;
    Ok(Resumed::Whole)
}
