//! The second question, what both rounds have cost, and the error where it did not help either.

use std::sync::Arc;

use super::{Decided, Emulation, decoder};
use crate::chat::{
    ChatEvent, ChatRequest, Invalid, Kind, ProviderError,
    emulate::{
        fact::{Fact, FactKind},
        found::Failure,
        plan,
        turn::Round,
    },
    tokens,
};

impl Emulation {
    /// The second question. Its answer goes through what is left of this filter.
    pub(super) fn begin_again(&mut self, fact: &Fact) -> Result<Arc<ChatRequest>, Invalid> {
        self.account_for_round();
        // All names change, so the whole request is rendered anew instead of being added to.
        if fact.kind == FactKind::Taken {
            self.asked = plan::render(&self.original, &self.means, true)?;
        } else {
            let request = plan::again(&self.asked, &self.raw, words(fact));
            self.asked.request = Arc::new(request);
        }
        self.reasked = Some(fact.kind.label());
        self.round = Round::Second { because: fact.kind };
        self.decoder = decoder(&self.asked, &self.means, self.round);
        self.raw.clear();
        self.held.clear();
        (self.unquoted, self.silent) = (0, 0);
        self.decided = Decided::Open;
        self.is_cut = false;
        Ok(Arc::clone(&self.asked.request))
    }

    /// What this round has cost, as far as the service has not counted it. A second round adds both ways.
    pub(super) fn account_for_round(&mut self) {
        let request = &self.asked.request;
        let reported = self.usage.take().unwrap_or_default();
        // As exactly as the client wants to see it: counting costs far more than estimating.
        let prompt = match reported.prompt_tokens {
            0 if self.original.wants_usage() => request.prompt_tokens(),
            0 => tokens::estimate_request(request),
            reported => reported,
        };
        let completion = match reported.completion_tokens {
            0 if self.original.wants_usage() => tokens::count(&self.raw) + self.unquoted as u64 / 4,
            0 => (self.raw.len() + self.unquoted) as u64 / 4,
            reported => reported,
        };
        self.spent.prompt_tokens += prompt;
        self.spent.completion_tokens += completion;
        self.spent.reasoning_tokens += reported.reasoning_tokens;
        self.spent.cached_tokens += reported.cached_tokens;
    }

    /// What the turn has cost.
    pub(super) fn tell_usage(&mut self, passed: &mut Vec<ChatEvent>) {
        let own = self.usage.unwrap_or_default();
        self.account_for_round();
        let mut usage = self.spent;
        if self.round == Round::First && own.completion_tokens == 0 {
            // What was passed on is counted where it is said; here only the hidden round is added.
            usage.completion_tokens = 0;
        }
        passed.push(ChatEvent::Usage(usage));
    }
}

/// What the second question says: facts, no scolding. Source: tools.md section 8, step 7.
fn words(fact: &Fact) -> String {
    match fact.kind {
        FactKind::NoCall => format!(
            "Your last message cannot be used: {fact}. Nothing was run. Send the call in the form described above, and nothing else."
        ),
        FactKind::NoWords => {
            "Your last message held only a tool call, and no tool can be run now. Nothing was run. Answer in words.".to_owned()
        }
        FactKind::Nothing => "Your last message was empty. Answer it in words, or with a call in the form described above.".to_owned(),
        FactKind::Format => format!(
            "Your last message cannot be used: {fact}. Send the whole answer again as JSON in the form described above, and nothing else."
        ),
        FactKind::Void | FactKind::Unknown | FactKind::Unreadable | FactKind::Misfit | FactKind::Taken => format!(
            "Your last message contained a tool call that could not be carried out: {fact}. Nothing was run. Send the complete call again in the form described above, and nothing else."
        ),
    }
}

/// 502 before any output, the stream's error after it. Blames no account, quotes nothing of the model's.
pub(super) fn failed(failure: Failure, round: Round) -> ProviderError {
    let (words, again) = match failure {
        Failure::CallInvalid => (
            "the model wrote a tool call that cannot be carried out",
            ", and did so again when it was asked for another one",
        ),
        Failure::ChoiceNotMet => (
            "the model did not answer with what tool_choice asks for",
            ", and did not when it was asked again",
        ),
        Failure::OutputInvalid => (
            "the model did not answer with JSON in the form that was asked for",
            ", and did not when it was asked again",
        ),
    };
    let again = match round {
        // What is larger than any call may be is not asked for again.
        Round::First => "",
        Round::Second { .. } => again,
    };
    ProviderError::new(Kind::Protocol, format!("{words}{again}")).with_code(failure.code())
}
