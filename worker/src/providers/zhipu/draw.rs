//! Drawing: the chat with the drawing agent, and of its answer the pictures. Source: `wire/zhipu.md` sections 4.3 and 6.5.

use std::{cell::Cell, sync::Arc};

use futures_util::future::LocalBoxFuture;

use super::{
    Zhipu,
    models::{self, Mode},
};
use crate::{
    chat::{
        ChatRequest, Message, ProviderError, Role,
        media::{Draws, ImageRequest, Picture, Size, Sizes},
    },
    providers::{Images, Model, Turn, drawing},
};

/// Four pictures come, whatever is asked.
const PER_TURN: u32 = 4;
/// The site's own shapes for OpenAI's sizes, some of which are a little off.
const RATIOS: [(Size, &str); 5] = [
    (Size::of(1024, 1024), "1:1"),
    (Size::of(1024, 1536), "2:3"),
    (Size::of(1536, 1024), "3:2"),
    (Size::of(1024, 1792), "9:16"),
    (Size::of(1792, 1024), "16:9"),
];

/// `aspect_ratio`.
pub(super) fn ratio(size: Option<Size>) -> String {
    let Some(size) = size else {
        return "1:1".to_owned();
    };
    let known = RATIOS.iter().find(|(known, _)| *known == size);
    known.map_or_else(
        || {
            let shape = size.reduced();
            format!("{}:{}", shape.width, shape.height)
        },
        |(_, ratio)| (*ratio).to_owned(),
    )
}

impl Images for Zhipu {
    fn draws(&self, model: &Model) -> Option<Draws> {
        // The mode is asked without thinking, which a drawing never has.
        let mode = models::route(&model.upstream, false).mode;
        (mode == Mode::Draw).then_some(Draws {
            per_turn: PER_TURN,
            sizes: Sizes::Shapes,
            ..Draws::PLAIN
        })
    }

    fn draw<'a>(
        &'a self,
        ask: &'a Arc<ImageRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Vec<Picture>, ProviderError>> {
        Box::pin(async move {
            let question = Message::new(Role::User, ask.prompt.as_str());
            let chat = Arc::new(ChatRequest {
                // A moderated drawing is then an error that says why.
                stream: false,
                bytes: ask.bytes,
                ..ChatRequest::new(ask.model.as_str(), vec![question])
            });
            let ratio = ratio(ask.size);
            // A cell, as the closure lends it out while the drawing runs.
            let revised = Cell::new(None);
            let asked = async |turn: &mut Turn| {
                revised.set(self.answer(&chat, &ratio, turn).await?);
                Ok(())
            };
            // Some answers have the address in their words alone (section 6.5).
            let drawn = drawing::drawn(turn, asked).await?.or_linked();
            let (mut pictures, revised) = (drawn.pictures(turn)?, revised.take());
            for picture in &mut pictures {
                picture.revised_prompt.clone_from(&revised);
            }
            Ok(pictures)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openais_sizes_have_the_sites_ratios_and_others_their_own() {
        for (size, expected) in [
            (None, "1:1"),
            (Some("1024x1024"), "1:1"),
            (Some("1024x1536"), "2:3"),
            (Some("1536x1024"), "3:2"),
            (Some("1024x1792"), "9:16"),
            (Some("1792x1024"), "16:9"),
            (Some("800x600"), "4:3"),
            (Some("21:9"), "7:3"),
        ] {
            let size = size.map(|size| Size::read(size).unwrap());
            assert_eq!(ratio(size), expected, "{size:?}");
        }
    }
}
