//! What is known of an account while the worker runs: its real id, the agent that answers it, the models that it is offered.
//! Each is asked for once, by one turn, while the others wait. Source: `wire/minimax.md` sections 2 and 12.3.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    account::Account,
    answers,
    call::Call,
    offers::{self, Offer},
    refusal::{Refusal, Remedy},
    site::Generation,
    wire::{self, Target},
};
use crate::chat::{Kind, ProviderError};

/// What is known of an account.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// `realUserID`, once it was asked for; held while it is.
    user: tokio::sync::Mutex<Option<Arc<str>>>,
    /// The generation that has been prepared, and its agent; held while it is.
    agent: tokio::sync::Mutex<Option<(Generation, Arc<str>)>>,
    /// What `config` has listed; held for a moment.
    offers: Mutex<Arc<[Offer]>>,
}

impl Standing {
    /// The models that the service lists, as far as they are known.
    pub(super) fn offers(&self) -> Arc<[Offer]> {
        let offers = self.offers.lock();
        Arc::clone(&offers.unwrap_or_else(PoisonError::into_inner))
    }

    fn learn(&self, offers: Vec<Offer>) {
        let known = self.offers.lock();
        // A panic of another thread leaves a list in order.
        *known.unwrap_or_else(PoisonError::into_inner) = offers.into();
    }
}

/// Whether something is to be asked for although it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Only where it is not known.
    Once,
    /// What is known was refused.
    Anew,
}

/// The account's real id: pasted with the token, or asked for.
///
/// # Errors
/// Refusals and transport faults, of a call that the cloud generations cannot do without.
pub(super) async fn user(
    call: &Call<'_>,
    account: &Account,
    ask: Ask,
) -> Result<Arc<str>, Refusal> {
    // Held over the call: the other turns wait for this one's answer instead of asking too.
    let mut known = account.standing.user.lock().await;
    if ask == Ask::Once {
        if let Some(known) = &*known {
            return Ok(Arc::clone(known));
        }
        if let Some(pasted) = &account.real_user {
            let pasted: Arc<str> = pasted.as_str().into();
            // Pasted once, then kept here, so that a refusal ([`Ask::Anew`]) is answered by asking, not by the paste.
            return Ok(Arc::clone(known.insert(pasted)));
        }
    }
    // Signed as it is sent; where that is not accepted, in the other form once (section 12.2).
    let asked = match call.user_info(Target::Path).await {
        Err(refusal) if refusal.remedy == Remedy::OtherForm => call.user_info(Target::Ticket).await,
        asked => asked,
    };
    let user: Arc<str> = match asked {
        Ok(body) => match answers::real_user(&body) {
            Some(user) => user.into(),
            None => return Err(ProviderError::malformed("user info").into()),
        },
        // A site without that call: the token's own id is the best that there is.
        // Remembered as well: that call will not appear while the worker runs.
        Err(refusal) if refusal.remedy == Remedy::OtherGeneration => call.claimed_user().into(),
        Err(refusal) => return Err(refusal),
    };
    Ok(Arc::clone(known.insert(user)))
}

/// Prepares an account for a generation: the three calls of the page in their order. The agent's number.
///
/// # Errors
/// [`Remedy::OtherGeneration`] where this one is not there; refusals; transport faults.
pub(super) async fn agent(
    call: &Call<'_>,
    account: &Account,
    generation: Generation,
    ask: Ask,
) -> Result<Arc<str>, Refusal> {
    // As above; a preparation is three calls, and made twice at a time they would be six.
    let mut known = account.standing.agent.lock().await;
    if ask == Ask::Once
        && let Some((prepared, agent)) = &*known
        // Another generation keeps accounts of its own.
        && *prepared == generation
    {
        return Ok(Arc::clone(agent));
    }
    // First of the three: it creates the account's record (section 12.3).
    let body = call.json(wire::config(call.caller(), generation)).await?;
    // What cannot be read leaves what is known.
    if let Some(offers) = offers::offers(&body) {
        account.standing.learn(offers);
    }
    let body = call.json(wire::agents(call.caller(), generation)).await?;
    let agent = offers::agent(&body).ok_or_else(|| ProviderError::malformed("list of agents"))?;
    // Its answer does not matter, its being made does; but an account that is refused is so here as well.
    match call
        .json(wire::connections(call.caller(), generation))
        .await
    {
        Err(refusal) if refusal.error.kind == Kind::AuthExpired => return Err(refusal),
        Ok(_) | Err(_) => {}
    }
    let agent: Arc<str> = agent.into();
    // Only after all three: half a preparation is none.
    *known = Some((generation, Arc::clone(&agent)));
    Ok(agent)
}

/// Reads anew what the service offers, where the generation is there; whatever fails leaves what was known.
pub(super) async fn look_at_offers(
    call: &Call<'_>,
    account: &Account,
    generation: Generation,
) -> bool {
    let body = call.json(wire::config(call.caller(), generation)).await;
    // A generation that answers without a list is not the one to ask.
    let offers = body.ok().and_then(|body| offers::offers(&body));
    let is_there = offers.is_some();
    if let Some(offers) = offers {
        account.standing.learn(offers);
    }
    is_there
}
