//! Pictures, new ones and edited ones: the same stream as words, of which one address counts. Source: `wire/qwen_intl.md`
//! sections 4.5 and 7.4.

use std::time::Duration;

use super::{
    QwenIntl,
    account::moment,
    call, detail,
    flow::{Asked, Place},
    refusal::Refusal,
    stream::{self, Decoder, Output},
    wire,
};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError},
    providers::Turn,
    upstream::linger,
};

/// How often the chat is looked through for a picture that the stream did not show, and how long after another.
const LOOKS: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(800);

impl QwenIntl {
    /// A picture, shown in Markdown.
    pub(super) async fn draw(
        &self,
        turn: &mut Turn,
        place: Place<'_>,
        asked: &Asked,
    ) -> Result<(), Refusal> {
        let url = self.drawn(turn, place, asked).await?;
        // Before the usage, which `drawn` has left there.
        turn.events
            .insert(0, ChatEvent::Text(stream::picture(&url)));
        turn.events.push(ChatEvent::Finish(FinishReason::Stop));
        turn.emit().await?;
        Ok(())
    }

    /// Where the picture is; what the answer says besides stands in the turn's events.
    pub(super) async fn drawn(
        &self,
        turn: &mut Turn,
        place: Place<'_>,
        asked: &Asked,
    ) -> Result<String, Refusal> {
        let (mut answer, response) = self.begin(turn, place, asked).await?;
        let mut decoder = Decoder::new(&place.account.variable, Output::Increments).drawing();
        // Thoughts about a picture are of no use to anybody.
        let mut aside = Vec::new();
        while !decoder.is_over() {
            let Some(bytes) = answer.chunk().await.map_err(ProviderError::from)? else {
                break;
            };
            let read = decoder.read(&bytes, &mut aside);
            // At once: the next piece may be long in coming, and the list would only grow.
            aside.clear();
            // Before an error is passed on: what failed can still be stopped.
            self.heed(turn, &decoder, &response);
            read?;
        }
        let is_over = decoder.is_over();
        // What is missing in the stream may be in the chat, but an error is an error.
        decoder.end(&mut aside)?;
        turn.upstream_is_over();
        if is_over {
            linger::let_end(answer).await;
        }
        // Pushed after the loop: usage is cumulative, and the last one counts.
        turn.events.extend(decoder.usage().map(ChatEvent::Usage));
        // The first of them counts (section 7.4).
        if let Some(url) = decoder.pictures().first() {
            return Ok(url.clone());
        }
        // Without its id nothing tells our message from the question's.
        let Some(response_id) = decoder.response_id() else {
            return Err(ProviderError::empty_answer().into());
        };
        self.looked_up(turn, place, response_id).await
    }

    /// The picture in the chat, once it is there.
    async fn looked_up(
        &self,
        turn: &Turn,
        place: Place<'_>,
        response_id: &str,
    ) -> Result<String, Refusal> {
        // The chat knows the picture a moment after the stream has ended (section 7.4).
        for at in 0..LOOKS {
            if at > 0 {
                tokio::time::sleep(BETWEEN).await;
            }
            let caller = place.account.caller(&self.site, Some(place.access));
            let request = wire::detail(caller, place.chat_id, moment());
            let (head, body) = call::sent(turn, request).await?;
            // Any failure is one look less: the picture is made, only not found yet.
            if head.status < 300
                && let Some(url) = detail::picture(&body, response_id)
            {
                return Ok(url);
            }
        }
        Err(ProviderError::new(Kind::Unavailable, "the service made no picture").into())
    }
}
