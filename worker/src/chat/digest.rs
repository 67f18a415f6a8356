//! What shapes an answer, as bytes to be hashed: two requests that give the same bytes ask for the same. All fields of a request
//! stand here by name, so that a new one cannot be forgotten: whoever adds it decides.

use std::fmt::{self, Write as _};

use super::{
    ChatRequest, Content, Message, Part,
    request::{Extras, Sampling},
    verbatim::Anew,
};

/// Members of a body that say how the answer is to come, and not what it is.
const OF_THE_WAY: [(&str, Anew<'static>); 2] =
    [("stream", Anew::Remove), ("stream_options", Anew::Remove)];

/// Hands on values as `Debug` writes them: texts in quotes with escapes, so that no two lists of values are written alike.
#[derive(Debug)]
pub struct Digest<F>(pub F);

impl<F: FnMut(&[u8])> fmt::Write for Digest<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.0)(text.as_bytes());
        Ok(())
    }
}

impl<F: FnMut(&[u8])> Digest<F> {
    /// Adds what is no part of the request.
    pub fn add(&mut self, value: &dyn fmt::Debug) {
        // It takes everything.
        let _ = writeln!(self, "{value:?}");
    }

    /// Adds the request. `has_lane`: its own body goes to somebody, which may say more than the fields know. Takes time in
    /// proportion to the request.
    pub fn request(&mut self, request: &ChatRequest, has_lane: bool) {
        let ChatRequest {
            model,
            messages,
            tools,
            tool_choice,
            parallel_tool_calls,
            calls_as_functions,
            format,
            sampling,
            thinking,
            effort,
            thinking_budget,
            search,
            stop,
            max_tokens,
            // Who asks: people behind one key are kept apart.
            user,
            extras,
            n,
            // How it comes, and what is told of it.
            stream: _,
            include_usage: _,
            asked: _,
            // Only whoever gets the body itself takes such a question.
            odd_part: _,
            bytes: _,
            verbatim,
            counted: _,
        } = request;
        self.add(&(model, tools, tool_choice, parallel_tool_calls));
        self.add(&(calls_as_functions, format));
        self.add(&(thinking, effort, thinking_budget));
        self.add(&(search, stop, max_tokens, user, n));
        let Sampling {
            temperature,
            top_p,
            top_k,
            frequency_penalty,
            presence_penalty,
            seed,
            logit_bias,
            logprobs,
            top_logprobs,
        } = sampling;
        self.add(&(temperature, top_p, top_k, frequency_penalty));
        self.add(&(presence_penalty, seed, logit_bias, logprobs, top_logprobs));
        let Extras {
            verbosity,
            modalities,
            audio,
            prediction: _,
            search_options,
            // The caller's books, and how fast and where it is answered.
            metadata: _,
            prompt_cache_key: _,
            safety_identifier: _,
            service_tier: _,
            store: _,
        } = extras;
        self.add(&(verbosity, modalities, audio, search_options));
        for message in messages {
            self.message(message);
        }
        if has_lane && let Some(body) = verbatim {
            self.add(&(body.dialect, &body.headers));
            for piece in body.splice(&OF_THE_WAY) {
                (self.0)(&piece);
            }
        }
    }

    fn message(&mut self, message: &Message) {
        let Message {
            role,
            content,
            name,
            tool_calls,
            tool_call_id,
            is_error,
            reasoning,
        } = message;
        self.add(&(role, name, tool_calls, tool_call_id, is_error, reasoning));
        if is_text(content) {
            // The same text, in one part or in several.
            self.add(&message.text());
        } else {
            self.add(content);
        }
    }
}

/// Whether it is nothing but text.
fn is_text(content: &Content) -> bool {
    match content {
        Content::Text(_) => true,
        Content::Parts(parts) => {
            !parts.is_empty() && parts.iter().all(|part| matches!(part, Part::Text { .. }))
        }
        Content::Empty => false,
    }
}
