//! Pictures: the chat with the painter's ability, and of its answer the pictures. A given picture goes along as an
//! attachment, to be drawn after. Source: `wire/doubao.md` sections 4.5 and 6.5.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{
    Asked, Doubao, models,
    models::{Depth, Wanted},
    refusal,
    stream::Shows,
};
use crate::{
    chat::{
        ProviderError,
        media::{Draws, ImageRequest, Picture, Size, Sizes},
    },
    providers::{Images, Model, Turn, drawing},
};

/// The painter's shapes.
const RATIOS: &[Size] = &[
    Size::of(1, 1),
    Size::of(4, 3),
    Size::of(3, 4),
    Size::of(16, 9),
    Size::of(9, 16),
];
/// More references than anybody has been seen to give.
const MOST_INPUTS: usize = 4;

/// The text of the question; the ratio is said in it as well, as its own field is not always obeyed.
fn text(prompt: &str, ratio: Option<&str>) -> String {
    let ratio = ratio.map(|ratio| format!("，图片比例为{ratio}"));
    format!("生成图片：{prompt}{}", ratio.unwrap_or_default())
}

impl Images for Doubao {
    fn draws(&self, model: &Model) -> Option<Draws> {
        let wanted = models::read(&model.upstream)?;
        (wanted == Wanted::Pictures).then_some(Draws {
            // More of them at a time get an account throttled (section 9).
            at_once: 2,
            sizes: Sizes::Only(RATIOS),
            inputs: MOST_INPUTS,
            ..Draws::PLAIN
        })
    }

    fn draw<'a>(
        &'a self,
        ask: &'a Arc<ImageRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Vec<Picture>, ProviderError>> {
        Box::pin(async move {
            // Before the lease: pictures are fetched without holding an account.
            let mut files = Vec::new();
            for (at, image) in ask.images.iter().enumerate() {
                let file = turn.input(&format!("image[{at}]"), image).await?;
                if !file.is_picture() {
                    return Err(refusal::file_rejected("only pictures can go along here"));
                }
                files.push(file);
            }
            let ratio = ask
                .size
                .map(|size| format!("{}:{}", size.width, size.height));
            let asked = Asked {
                bot: models::BOT.to_owned(),
                depth: Depth::Quick,
                text: text(&ask.prompt, ratio.as_deref()),
                ratio,
                shows: Shows::Pictures,
                files,
            };
            let chat = async |turn: &mut Turn| self.put(&asked, turn).await;
            drawing::drawn(turn, chat).await?.pictures(turn)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_said_where_a_size_is_asked_for() {
        assert_eq!(text("一只猫", None), "生成图片：一只猫");
        assert_eq!(
            text("一只猫", Some("16:9")),
            "生成图片：一只猫，图片比例为16:9"
        );
    }
}
