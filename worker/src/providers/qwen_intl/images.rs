//! Pictures for `/v1/images`: new ones, and others made of given ones. Source: `wire/qwen_intl.md` sections 4.3 to 4.5 and
//! 7.4.

use std::{cell::Cell, sync::Arc};

use futures_util::future::LocalBoxFuture;

use super::{
    QwenIntl,
    flow::{Asked, Place},
    models::{self, Kind, SHAPES},
    upload,
};
use crate::{
    accounts::Choice,
    chat::{
        ProviderError,
        media::{Draws, ImageRequest, Makes, Picture, Sizes},
    },
    providers::{Images, Model, Turn},
    upstream::Answer,
};

/// One picture a chat, and four chats at most, one after the other (section 7.4). The page says "one or more pictures" of an edit; more than
/// these nobody has tried.
const DRAWS: Draws = Draws {
    per_turn: 1,
    most: 4,
    at_once: 1,
    sizes: Sizes::Only(SHAPES),
    // The message of an edit has no place for it (section 4.3).
    resizes: false,
    inputs: 4,
    ..Draws::PLAIN
};

impl Images for QwenIntl {
    fn draws(&self, model: &Model) -> Option<Draws> {
        (model.makes == Makes::Image).then_some(DRAWS)
    }

    fn draw<'a>(
        &'a self,
        ask: &'a Arc<ImageRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Vec<Picture>, ProviderError>> {
        Box::pin(async move {
            let mut files = Vec::new();
            for (at, input) in ask.images.iter().enumerate() {
                let field = format!("image[{at}]");
                // By address where it has one: pictures are passed on by link (section 4.4).
                files.push(upload::given(turn, &field, input, false).await?);
            }
            let (kind, size) = if ask.is_edit() {
                // An edit keeps its picture's own shape; the call has no place for another.
                (Kind::ImageEdit, None)
            } else {
                (Kind::Image, Some(models::ratio(ask.size, Kind::Image)))
            };
            let mut asked = Asked {
                model: turn.model.upstream.clone(),
                kind,
                prompt: ask.prompt.clone(),
                files,
                items: Vec::new(),
                thinking: false,
                thinking_budget: None,
                size,
                is_streamed: false,
                is_submitted: Cell::default(),
            };
            // After the inputs were fetched: nobody waits for an account while a stranger's server dawdles.
            let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
            let drawn = async |turn: &mut Turn, place: Place<'_>, asked: &Asked| {
                self.drawn(turn, place, asked).await
            };
            let url = self.ask_again(turn, &account, &mut asked, drawn).await?;
            // The count of tokens: nobody asks for it here.
            turn.events.clear();
            Ok(vec![Picture::public(url)])
        })
    }

    fn open<'a>(
        &'a self,
        url: &'a str,
        turn: &'a Turn,
    ) -> LocalBoxFuture<'a, Result<Answer, ProviderError>> {
        Box::pin(async move { turn.open(&self.site.fetched_from(url), None).await })
    }
}
