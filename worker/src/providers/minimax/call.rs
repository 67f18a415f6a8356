//! The calls of one account: short ones are made, judged and read here; which clock and which ids they carry stands here
//! once. Source: `wire/minimax.md` sections 2, 7 and 12.

use bytes::Bytes;

use super::{
    account::{Access, Account},
    refusal::{self, Refusal},
    site::Site,
    wire::{self, Caller, Target},
};
use crate::{
    chat::ProviderError,
    providers::Messenger,
    upstream::{Answer, Request},
};

/// Most bytes of a short answer; a conversation that is looked at has all its messages.
const MOST_BYTES: usize = 16 << 20;

/// Who calls with which token.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) messenger: Messenger,
    pub(super) site: &'a Site,
    pub(super) account: &'a Account,
    pub(super) access: &'a Access,
    /// `user_id`, where it is known; before that the token's own.
    pub(super) user: Option<&'a str>,
}

impl Call<'_> {
    /// For a request that is made now.
    pub(super) fn caller(&self) -> Caller<'_> {
        self.account.caller(self.site, self.access, self.user)
    }

    /// `user.id` of the token.
    pub(super) fn claimed_user(&self) -> &str {
        &self.access.claimed.user
    }

    /// A short call whose answer is a success.
    ///
    /// # Errors
    /// What the answer means otherwise; transport faults.
    pub(super) async fn json(&self, request: Request) -> Result<Bytes, Refusal> {
        let answer = self.messenger.send(request).await?;
        self.judged(answer).await
    }

    /// `GET /v1/api/user/info`.
    ///
    /// # Errors
    /// As [`Call::json`].
    pub(super) async fn user_info(&self, target: Target) -> Result<Bytes, Refusal> {
        self.json(wire::user_info(self.caller(), target)).await
    }

    /// The body of an answer that is a success.
    ///
    /// # Errors
    /// What the answer means otherwise; a body that breaks off.
    pub(super) async fn judged(&self, mut answer: Answer) -> Result<Bytes, Refusal> {
        let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
        let body = match answer.bytes(MOST_BYTES).await {
            Ok(body) => body,
            // The status alone says something.
            // A refusal is passed on even where its text cannot be read.
            Err(_) if status != 200 => Bytes::new(),
            Err(error) => return Err(ProviderError::from(error).into()),
        };
        match refusal::refusal(status, &body, &self.account.variable) {
            None => Ok(body),
            Some(refusal) => Err(Refusal {
                error: refusal.error.with_retry_after(retry_after),
                ..refusal
            }),
        }
    }
}
