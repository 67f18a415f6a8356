//! What must be the same for an answer to be given again. All fields of a request stand here by name, so that a new one cannot
//! be forgotten: whoever adds it decides.

use std::fmt::{self, Write as _};

use sha3::{Digest as _, Sha3_256};

use crate::{
    accounts::Secret,
    chat::{
        ChatRequest, Content, Message, Part,
        normal::is_result,
        request::{Extras, Sampling},
        verbatim::Anew,
    },
    providers::Route,
    settings::Settings,
};

/// The form of what is hashed: another one finds nothing of the older's.
const FORM: &str = "hive2api answer 1";
/// Members of a body that say how the answer is to come, and not what it is.
const OF_THE_WAY: [(&str, Anew<'static>); 2] =
    [("stream", Anew::Remove), ("stream_options", Anew::Remove)];

/// Whether a question may be answered by what was said before.
///
/// Not one that wants several answers, which are to differ; nor one that holds tools' results, whose turn must go on in the
/// world; nor one that asks the web, which is asked because it changes; nor one with attachments by their addresses, behind
/// which something else may stand by now.
pub fn may_repeat(request: &ChatRequest) -> bool {
    let is_elsewhere = |part: &Part| match part {
        Part::ImageUrl { image_url, .. } => !image_url.url().starts_with("data:"),
        Part::File { file } => file.file_data.is_none() || file.url.is_some(),
        Part::FileUrl { .. } => true,
        Part::Text { .. } | Part::Refusal { .. } | Part::Other { .. } => false,
    };
    request.n == 1 && request.search != Some(true) && !request.messages.iter().any(|message| {
        is_result(message)
            || matches!(&message.content, Content::Parts(parts) if parts.iter().any(is_elsewhere))
    })
}

/// Who asks, and whom.
#[derive(Clone, Debug)]
pub struct Asker {
    /// With a secret of the cluster, so that nobody who reads the store can try out what was asked.
    secret: Secret,
    caller: String,
    candidates: Vec<String>,
    /// Some candidate gets the caller's own body.
    has_lane: bool,
}

impl Asker {
    /// `caller` is what its usage is kept under.
    pub fn new(settings: &Settings, caller: &str, request: &ChatRequest, route: &Route) -> Self {
        let dialect = request.verbatim.as_ref().map(|body| body.dialect);
        let own = settings.store.secret.as_ref();
        Self {
            secret: own.unwrap_or(&settings.http.seal_secret).clone(),
            caller: caller.to_owned(),
            candidates: route
                .candidates
                .iter()
                .map(|it| format!("{} {} {:?}", it.provider.name(), it.model.id, it.tools))
                .collect(),
            has_lane: dialect.is_some_and(|dialect| {
                route
                    .candidates
                    .iter()
                    .any(|it| it.provider.takes_body_in(dialect))
            }),
        }
    }

    /// What the answer is found by, in hexadecimal digits. Takes time in proportion to the request.
    pub fn key(&self, request: &ChatRequest) -> String {
        let mut digest = Digest(Sha3_256::new());
        let Self {
            secret,
            caller,
            candidates,
            has_lane,
        } = self;
        digest.add(&(FORM, secret.expose(), caller, candidates));
        digest.request(request);
        if *has_lane && let Some(body) = &request.verbatim {
            // It may say more than the fields know.
            digest.add(&(body.dialect, &body.headers));
            for piece in body.splice(&OF_THE_WAY) {
                digest.0.update(&piece);
            }
        }
        digest
            .0
            .finalize()
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

/// Takes values as `Debug` writes them: texts in quotes with escapes, so that no two lists of values are written alike.
struct Digest(Sha3_256);

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl Digest {
    fn add(&mut self, value: &dyn fmt::Debug) {
        // It takes everything.
        let _ = writeln!(self, "{value:?}");
    }

    fn request(&mut self, request: &ChatRequest) {
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
            search,
            stop,
            max_tokens,
            // Who asks: people behind one key are kept apart.
            user,
            extras,
            // One, or it is not looked for.
            n: _,
            // How it comes, and what is told of it.
            stream: _,
            include_usage: _,
            asked: _,
            // Only whoever gets the body itself takes such a question.
            odd_part: _,
            bytes: _,
            // See `key`.
            verbatim: _,
            counted: _,
        } = request;
        self.add(&(model, tools, tool_choice, parallel_tool_calls));
        self.add(&(calls_as_functions, format, thinking, effort));
        self.add(&(search, stop, max_tokens, user));
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
    }

    fn message(&mut self, message: &Message) {
        let Message {
            role,
            content,
            name,
            tool_calls,
            tool_call_id: _,
            is_error: _,
            reasoning,
        } = message;
        self.add(&(role, name, tool_calls, reasoning));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Effort, Field, Role, Text, Url, fields::Asked};

    fn asker(caller: &str, candidates: &[&str]) -> Asker {
        Asker {
            secret: Secret::new("s"),
            caller: caller.to_owned(),
            candidates: candidates.iter().map(|&it| it.to_owned()).collect(),
            has_lane: false,
        }
    }

    fn question(text: &str) -> ChatRequest {
        ChatRequest::new("m", vec![Message::new(Role::User, text)])
    }

    fn with(change: impl FnOnce(&mut ChatRequest)) -> ChatRequest {
        let mut request = question("hello");
        change(&mut request);
        request
    }

    #[test]
    fn whatever_shapes_the_answer_makes_another_key() {
        let mut me = asker("me", &["qwen a"]);
        let plain = me.key(&question("hello"));
        let others = [
            question("hello "),
            with(|it| it.model = "n".to_owned()),
            with(|it| {
                it.messages
                    .insert(0, Message::new(Role::System, "be brief"))
            }),
            with(|it| it.messages = vec![Message::new(Role::Assistant, "hello")]),
            with(|it| it.sampling.temperature = Some(0.0)),
            with(|it| it.sampling.seed = Some(1)),
            with(|it| it.thinking = Some(true)),
            with(|it| it.effort = Some(Effort::High)),
            with(|it| it.search = Some(false)),
            with(|it| it.stop = vec!["x".to_owned()]),
            with(|it| it.max_tokens = Some(1)),
            with(|it| it.format = crate::chat::Format::JsonObject),
            with(|it| it.parallel_tool_calls = Some(false)),
            with(|it| it.user = Some("eve".to_owned())),
            with(|it| it.extras.verbosity = Some(Text::from("low"))),
            with(|it| {
                it.messages[0].content = Content::Parts(vec![
                    Part::Text {
                        text: "hello".into(),
                    },
                    Part::ImageUrl {
                        image_url: Url::new("data:image/png;base64,AAAA"),
                        detail: None,
                    },
                ]);
            }),
        ];
        let mut keys: Vec<String> = others.iter().map(|other| me.key(other)).collect();
        keys.push(plain.clone());
        keys.push(asker("you", &["qwen a"]).key(&question("hello")));
        keys.push(asker("me", &["qwen b"]).key(&question("hello")));
        me.secret = Secret::new("t");
        keys.push(me.key(&question("hello")));
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
        assert_eq!(plain.len(), 64);
    }

    #[test]
    fn what_only_says_how_it_comes_makes_none() {
        let asker = asker("me", &["qwen a"]);
        let plain = asker.key(&question("a\nb"));
        let parts = vec![
            Part::Text { text: "a".into() },
            Part::Text { text: "b".into() },
        ];
        for same in [
            with(|it| {
                it.messages = vec![Message::new(Role::User, "a\nb")];
                it.stream = true;
                it.include_usage = true;
                it.bytes = 7;
                it.asked = vec![Asked {
                    field: Field::Stream,
                    name: "stream".into(),
                }];
            }),
            with(|it| it.messages[0].content = Content::Parts(parts)),
        ] {
            assert_eq!(asker.key(&same), plain);
        }
    }

    #[test]
    fn some_questions_are_always_asked() {
        assert!(may_repeat(&question("hello")));
        let picture = |url: &str| {
            with(|it| {
                it.messages[0].content = Content::Parts(vec![Part::ImageUrl {
                    image_url: Url::new(url),
                    detail: None,
                }]);
            })
        };
        assert!(may_repeat(&picture("data:image/png;base64,AAAA")));
        for never in [
            with(|it| it.n = 2),
            with(|it| it.search = Some(true)),
            with(|it| it.messages.push(Message::new(Role::Tool, "42"))),
            picture("https://example.com/a.png"),
        ] {
            assert!(!may_repeat(&never), "{never:?}");
        }
    }
}
