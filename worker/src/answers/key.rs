//! What must be the same for an answer to be given again: the request ([`crate::chat::digest`]), its caller and those who
//! would answer it.

use std::fmt::Write as _;

use sha3::{Digest as _, Sha3_256};

use crate::{
    accounts::Secret,
    chat::{ChatRequest, Content, Part, digest::Digest, normal::is_result},
    providers::Route,
    settings::Settings,
};

/// The form of what is hashed: another one finds nothing of the older's.
const FORM: &str = "hive2api answer 1";

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
        let mut hash = Sha3_256::new();
        let mut digest = Digest(|bytes: &[u8]| hash.update(bytes));
        let Self {
            secret,
            caller,
            candidates,
            has_lane,
        } = self;
        digest.add(&(FORM, secret.expose(), caller, candidates));
        digest.request(request, *has_lane);
        hash.finalize()
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Effort, Field, Message, Role, Text, Url, fields::Asked};

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
            with(|it| it.thinking_budget = Some(1024)),
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
