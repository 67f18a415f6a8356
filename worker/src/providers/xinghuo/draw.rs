//! Drawing: an ordinary chat whose text says that something is to be drawn; the pictures come in its answer. No model is
//! there for it, and none but bots refuses it. Source: `wire/xinghuo.md` section 4.7.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{Xinghuo, models};
use crate::{
    chat::{
        ChatRequest, Message, ProviderError, Role,
        media::{Draws, ImageRequest, Picture},
    },
    providers::{Images, Model, Provider as _, Turn, drawing},
};

/// The text of the question.
fn text(prompt: &str) -> String {
    // Section 4.7: with the word in it the service draws by itself.
    if prompt.contains('画') {
        prompt.to_owned()
    } else {
        format!("请画：{prompt}")
    }
}

impl Images for Xinghuo {
    fn draws(&self, model: &Model) -> Option<Draws> {
        models::bot(model).is_none().then_some(Draws::PLAIN)
    }

    fn draw<'a>(
        &'a self,
        ask: &'a Arc<ImageRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Vec<Picture>, ProviderError>> {
        Box::pin(async move {
            let question = Message::new(Role::User, text(&ask.prompt));
            let chat = Arc::new(ChatRequest {
                // The door's own count: the text is longer than the prompt by one word.
                bytes: ask.bytes,
                ..ChatRequest::new(ask.model.as_str(), vec![question])
            });
            let asked = async |turn: &mut Turn| self.chat(&chat, turn).await;
            // As a chat, and the words beside the picture are no part of the answer.
            drawing::drawn(turn, asked).await?.pictures(turn)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_say_that_it_is_to_be_drawn_is_told_so() {
        assert_eq!(text("一只猫"), "请画：一只猫");
        assert_eq!(text("画一只猫"), "画一只猫");
    }
}
