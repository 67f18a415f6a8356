//! The matrix generation: a message that opens a chat, and looks at the chat until the answer is there. Source:
//! `wire/minimax.md` sections 3, 4, 6 and 8.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Asked, MiniMax,
    account::{Access, Account},
    answers,
    call::Call,
    cloud::late,
    models,
    poll::{Growth, Look},
    refusal::Refusal,
    site::Generation,
    upload, wire,
};
use crate::{
    chat::{Kind, ProviderError},
    providers::{Errand, Turn},
};

/// Most bytes of a conversation.
const MOST_BYTES: usize = 16 << 20;

impl MiniMax {
    /// One question.
    pub(super) async fn ask_matrix(
        &self,
        turn: &mut Turn,
        account: &Account,
        access: &Arc<Access>,
        asked: &mut Asked,
    ) -> Result<(), Refusal> {
        let Some(model) = models::matrix(&turn.model.upstream) else {
            return Err(ProviderError {
                param: Some("model".to_owned()),
                ..ProviderError::new(Kind::ModelNotFound, "the service does not offer this model")
            }
            .into());
        };
        let call = Call {
            messenger: turn.messenger(),
            site: &self.site,
            account,
            access,
            // This generation goes by the token's own id (section 4).
            user: None,
        };
        let chat = match turn.continued() {
            Some(thread) => {
                let id = thread
                    .id
                    .parse()
                    .map_err(|_| ProviderError::malformed("chat"))?;
                // Before it is asked: one that is not gone on with after all is deleted.
                self.is_in(turn, account, access, id);
                Some(id)
            }
            None => None,
        };
        upload::upload(&call, turn, &asked.files, &mut asked.paths).await?;
        let items = upload::items(Generation::Matrix, &asked.files, &asked.paths);
        let request = wire::send_message(call.caller(), chat, &asked.prompt, model, &items);
        let sent = call.json(request).await?;
        let sent = answers::sent(&sent).ok_or_else(|| ProviderError::malformed("chat"))?;
        // Not at the turn's end: a chat exists, so this generation does, whatever becomes of the answer.
        self.memory.has_answered(Generation::Matrix);
        self.is_in(turn, account, access, sent.chat_id);
        let question = match chat {
            None => None,
            // Section 6, step 1: without it earlier answers could be taken for this one.
            Some(chat) if chat == sent.chat_id && sent.msg_id.is_some() => sent.msg_id,
            Some(_) => return Err(ProviderError::malformed("chat that goes on").into()),
        };
        self.watch(turn, &call, sent.chat_id, question).await
    }

    fn is_in(&self, turn: &mut Turn, account: &Account, access: &Arc<Access>, chat_id: i64) {
        let deletion = self.deletion(account, access, chat_id);
        turn.opened(&chat_id.to_string(), deletion);
        turn.remembers(Generation::Matrix.word());
    }

    /// Looks at the chat at the page's pace, the first time after one interval (section 6).
    async fn watch(
        &self,
        turn: &mut Turn,
        call: &Call<'_>,
        chat_id: i64,
        question: Option<i64>,
    ) -> Result<(), Refusal> {
        let variable = call.account.variable.as_str();
        // One for all looks: growth is told from what was passed on before.
        let (mut growth, mut grown) = (Growth::new(variable, question), Instant::now());
        // Before the first interval, which counts as well.
        let whole = Instant::now() + self.waits.whole;
        tokio::time::sleep(self.waits.poll).await;
        // What the wait has left: [`Turn::until`] measures from its own start.
        let left = whole.saturating_duration_since(Instant::now());
        let look = async |turn: &mut Turn| {
            let looked = look(turn, call, chat_id, &mut growth).await;
            // What the look brought goes out even where it also failed.
            let looked = turn.emit_then(looked).await?;
            match looked {
                Look::Over => return Ok(Some(())),
                Look::Grown => grown = Instant::now(),
                // Only a look that brought nothing asks: growth and the end are never late.
                Look::Goes if grown.elapsed() >= self.waits.stall => {
                    return Err(Refusal::from(late()));
                }
                Look::Goes => {}
            }
            Ok(None)
        };
        let looked = turn.until(self.waits.poll, left, look).await?;
        if let Some(answer) = growth.answer_id() {
            turn.answered_as(&answer.to_string());
        }
        looked.ok_or_else(|| late().into())
    }

    /// The deletion of a chat, signed anew for every try; while it is at work, again after a while (section 8).
    pub(super) fn deletion(
        &self,
        account: &Account,
        access: &Arc<Access>,
        chat_id: i64,
    ) -> Option<Errand> {
        let (site, account, used) = (self.site.clone(), account.clone(), Arc::clone(access));
        let build = move || {
            // Polling may outlast a token, and so may the outbox.
            let access = account.tokens.latest();
            let access = access.unwrap_or_else(|| Arc::clone(&used));
            wire::delete_chat(account.caller(&site, &access, None), chat_id)
        };
        self.deletes_chats
            .then(|| Errand::new(build).while_busy(answers::is_busy))
    }
}

/// One look, signed anew. One that fails is made again (section 6, rule 7).
async fn look(
    turn: &mut Turn,
    call: &Call<'_>,
    chat_id: i64,
    growth: &mut Growth,
) -> Result<Look, Refusal> {
    let sent = call
        .messenger
        .send(wire::chat_detail(call.caller(), chat_id))
        .await;
    let mut answer = match sent {
        Ok(answer) => answer,
        // As a failed look, not as a failed answer: the chat goes on without us.
        Err(error) => return growth.missed(error.into(), &mut turn.events),
    };
    let status = answer.status.as_u16();
    match answer.bytes(MOST_BYTES).await {
        Ok(body) => growth.take(status, &body, &mut turn.events),
        Err(error) => growth.missed(error.into(), &mut turn.events),
    }
}
