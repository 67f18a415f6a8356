//! Pictures of services that draw within a chat: the chat is asked as ever, and of its events the pictures are kept. What
//! else is said is chatter ("here is your picture"), or, where no picture comes, the reason. Source: `wire/xinghuo.md`
//! section 4.7, `wire/zhipu.md` section 4.3, `wire/doubao.md` section 4.5.

use std::{
    future::{Future as _, poll_fn},
    mem,
    pin::pin,
    rc::Rc,
    task::Poll,
};

use super::{Turn, outbox::Outbox};
use crate::chat::{ChatEvent, FinishReason, Kind, ProviderError, media::Picture};
use crate::impossible::OrImpossible as _;

/// Most of the words that are kept; an error shows less of them.
const MOST_WORDS_BYTES: usize = 16 << 10;
/// More than any answer has.
const MOST_PICTURES: usize = 64;

/// What a chat has drawn, and said.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// Links, each once, in their order.
    pub(super) links: Vec<String>,
    /// The beginning of what was said.
    pub(super) words: String,
    is_moderated: bool,
}

/// Has `chat` answer, and keeps the pictures.
///
/// # Errors
/// Those of `chat`.
pub(super) async fn drawn(
    turn: &mut Turn,
    chat: impl AsyncFnOnce(&mut Turn) -> Result<(), ProviderError>,
) -> Result<Drawn, ProviderError> {
    // The chat's events go into a box of their own: in the turn's they would count as output that a client has seen, and a
    // failure could not be tried again.
    let own = Rc::<Outbox>::default();
    let outer = mem::replace(&mut turn.outbox, Rc::clone(&own));
    let (mut drawn, mut events) = (Drawn::default(), Vec::new());
    let result = {
        let mut chat = pin!(chat(turn));
        // Polled here and not awaited: the box has to be emptied between two polls, or the chat waits in `emit` for
        // ever.
        poll_fn(|cx| {
            loop {
                let polled = chat.as_mut().poll(cx);
                // As soon as it is known: a time-out drops this future, and is to name the account.
                if let Some(account) = own.served().account {
                    outer.set_account(account);
                }
                let has_taken = own.take(&mut events);
                for event in events.drain(..) {
                    drawn.keep(event);
                }
                match polled {
                    Poll::Ready(result) => return Poll::Ready(result),
                    // It waits until its events are taken, and nobody would wake it: round again.
                    Poll::Pending if has_taken => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    };
    // Put back before the result is judged: whatever follows (`absolve`, another try) belongs to the outer one.
    turn.outbox = outer;
    result.map(|()| drawn)
}

impl Drawn {
    fn keep(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Image { url } => self.add(url),
            ChatEvent::Text(text) => {
                let left = MOST_WORDS_BYTES.saturating_sub(self.words.len());
                // Whole texts only: one cut in the middle of a character or of a link would be worse than none.
                if text.len() <= left {
                    self.words.push_str(&text);
                }
            }
            ChatEvent::Finish(FinishReason::ContentFilter) => self.is_moderated = true,
            _ => {}
        }
    }

    fn add(&mut self, url: String) {
        // Services repeat a picture's link in each event about it.
        if self.links.len() < MOST_PICTURES && !self.links.contains(&url) {
            self.links.push(url);
        }
    }

    /// Where no picture came as one, those that the words link to (`(https://…)`).
    #[must_use]
    pub(super) fn or_linked(mut self) -> Self {
        if !self.links.is_empty() {
            return self;
        }
        let words = mem::take(&mut self.words);
        for piece in words.split('(').skip(1) {
            let link = piece
                .split([')', ' ', '\n'])
                .next()
                .or_impossible("a split has one part at least");
            if link.starts_with("https://") {
                self.add(link.to_owned());
            }
        }
        self.words = words;
        self
    }

    /// The pictures.
    ///
    /// # Errors
    /// None came: moderated, or [`Kind::Unavailable`] with what was said instead. That is not tried again, as the service has
    /// answered and would answer the same; nor does the account rest for it, as it may well chat.
    pub(super) fn pictures(self, turn: &mut Turn) -> Result<Vec<Picture>, ProviderError> {
        if !self.links.is_empty() {
            return Ok(self.links.into_iter().map(Picture::public).collect());
        }
        if self.is_moderated {
            let error = ProviderError::new(Kind::Moderated, "the service refused to draw this");
            return Err(error.saying(&self.words));
        }
        turn.absolve();
        let error = ProviderError::new(Kind::Unavailable, "the service drew no picture");
        Err(error
            .saying(&self.words)
            .with_code("image_generation_failed")
            .lasting())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        accounts::Choice,
        providers::{
            Provider as _, media,
            registry::Candidate,
            testing::{Fake, Step, fails, job, question, route},
        },
    };

    fn image(url: &str) -> Step {
        Step::Event(ChatEvent::Image {
            url: url.to_owned(),
        })
    }

    async fn draw(fake: &Arc<Fake>) -> (Result<Vec<Picture>, ProviderError>, Option<usize>) {
        let ask = question("");
        let work = async |_: &Candidate, turn: &mut Turn| {
            let chat = async |turn: &mut Turn| fake.chat(&ask, turn).await;
            drawn(turn, chat).await?.pictures(turn)
        };
        let (result, served) = media::run(&job(&[]), &route(&[fake]), work).await;
        (result, served.account)
    }

    #[actix_web::test]
    async fn of_a_chat_the_pictures_are_kept_each_once_in_their_order() {
        let script = vec![
            Step::Text("here: "),
            image("https://e/2"),
            image("https://e/1"),
            image("https://e/2"),
        ];
        let fake = Arc::new(Fake::new("a", 1).saying([script]));
        let (pictures, account) = draw(&fake).await;
        let expected = ["https://e/2", "https://e/1"].map(Picture::public);
        assert_eq!(pictures.unwrap(), expected);
        assert_eq!(account, Some(1));
    }

    /// Nobody has seen what was said before it failed.
    #[actix_web::test]
    async fn a_chat_that_fails_amid_its_words_is_tried_again() {
        let fake = Arc::new(Fake::new("a", 2).saying([
            vec![Step::Text("drawing"), fails(Kind::RateLimited)],
            vec![image("https://e/1")],
        ]));
        assert_eq!(draw(&fake).await.0.unwrap().len(), 1);
        assert_eq!(fake.asked().len(), 2);
    }

    #[actix_web::test]
    async fn words_alone_are_the_reason_and_are_not_asked_for_twice() {
        let fake = Arc::new(Fake::new("a", 2).saying([vec![Step::Text("no more today")]]));
        let error = draw(&fake).await.0.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.message.ends_with("no more today"), "{error}");
        assert_eq!(fake.asked().len(), 1);
        let moderated = vec![Step::Event(ChatEvent::Finish(FinishReason::ContentFilter))];
        let fake = Arc::new(Fake::new("a", 2).saying([moderated]));
        assert_eq!(draw(&fake).await.0.unwrap_err().kind, Kind::Moderated);
    }

    #[actix_web::test]
    async fn a_chat_is_left_in_the_middle_without_a_trace() {
        let fake = Arc::new(Fake::new("a", 1).saying([vec![Step::Text("x"), Step::Hangs]]));
        let ask = question("");
        let job = job(&[]);
        tokio::time::pause();
        let work = async |_: &Candidate, turn: &mut Turn| {
            let _lease = turn.lease(fake.pool(), Choice::Any(0)).await?;
            let chat = async |turn: &mut Turn| fake.chat(&ask, turn).await;
            drawn(turn, chat).await.map(drop)
        };
        let (result, served) = media::run(&job, &route(&[&fake]), work).await;
        assert_eq!(result.unwrap_err().kind, Kind::Timeout);
        assert_eq!(served.account, Some(1));
    }

    #[test]
    fn links_in_words_count_where_there_is_nothing_else() {
        let said = |links: &[&str], words: &str| Drawn {
            links: links.iter().map(|link| (*link).to_owned()).collect(),
            words: words.to_owned(),
            is_moderated: false,
        };
        let words = "![a](https://e/1.png \"t\") and ![b](https://e/2.png), (http://e/3) (x";
        assert_eq!(
            said(&[], words).or_linked().links,
            ["https://e/1.png", "https://e/2.png"]
        );
        assert_eq!(said(&["https://e/0"], words).or_linked().links.len(), 1);
    }
}
