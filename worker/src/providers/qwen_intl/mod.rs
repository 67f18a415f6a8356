//! Qwen's international site: the web chat of chat.qwen.ai. Steps: token or login (section 2), files (4.4), chat (4.2),
//! question (4.3), answer (7), clean-up (9) of `wire/qwen_intl.md`.

mod account;
mod call;
mod card;
mod catalogue;
mod check;
mod count;
mod detail;
mod device;
mod draw;
mod film;
mod images;
mod login;
mod models;
mod oss;
mod prompt;
mod refusal;
mod site;
mod sources;
pub mod stream;
mod task;
mod upload;
mod videos;
mod wire;

pub use card::CARD;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use self::{
    account::{Access, Account, moment},
    catalogue::Catalogue,
    film::Abandoned,
    models::{Kind, Purpose},
    refusal::{Head, Refusal, Remedy},
    site::Site,
    stream::{Decoder, Output},
    upload::File,
    wire::{Api, Question},
};
use super::{Checking, Errand, Images, Messenger, Model, Provider, Turn, Videos, checking};
use crate::{
    accounts::{Accounts, Choice, Kept, Lease, Pace, Patience, Pool},
    chat::{
        ChatRequest, Field, Kind as ErrorKind, ProviderError, Support,
        emulate::{plan::OwnTools, turn::Taken},
        fields,
        media::Makes,
    },
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
    upstream::{Answer, linger},
};

const NAME: &str = "qwen_intl";
/// What the site says, as the whole answer, of a tool that it has looked for among its own.
const OWN_TOOLS: OwnTools = OwnTools {
    names: &[],
    taken: Some(Taken {
        before: "Tool ",
        after: " does not exists",
    }),
};

/// Before the question is asked once more that the service did not take (section 8).
const AGAIN: Duration = Duration::from_millis(800);
/// Waits between the three tries while the chat is at work (section 8).
const BUSY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];

/// The provider.
#[derive(Debug)]
pub struct QwenIntl {
    accounts: Pool<Account>,
    models: Vec<Model>,
    catalogue: Catalogue,
    site: Arc<Site>,
    /// Videos that nobody waited for.
    abandoned: Abandoned,
    /// Where the token of a login survives a restart.
    kept: Kept,
    patience: Patience,
}

/// What a turn asks, whichever token and chat it is asked with.
#[derive(Debug)]
struct Asked {
    model: String,
    kind: Kind,
    prompt: String,
    files: Vec<File>,
    /// What has come of the files; uploaded once, whatever else is tried again.
    items: Vec<Value>,
    thinking: bool,
    thinking_budget: Option<u64>,
    /// One of the site's five shapes, for pictures and videos.
    size: Option<String>,
    /// The client watches it come.
    is_streamed: bool,
    /// The service has taken the question for a video, or may have: a day has three of them.
    is_submitted: Cell<bool>,
}

/// Where and as whom a question is asked.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    account: &'a Account,
    access: &'a Arc<Access>,
    chat_id: &'a str,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let site = Site::read(vars, problems);
    let provider = QwenIntl {
        // The service scores accounts by their rate of requests (section 10).
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("QWEN_INTL_MAX_CONCURRENCY", 4, 1, 1000, problems),
        )
        .paced(Pace::read("QWEN_INTL", vars, problems)),
        models: models::listed(&site),
        catalogue: Catalogue::default(),
        site: Arc::new(site),
        abandoned: Abandoned::default(),
        kept: settings.providers.kept.clone(),
        patience: settings.providers.patience,
    };
    let accounts = account::accounts(vars, &provider.kept, provider.patience, problems);
    provider.accounts.replace(accounts);
    vec![Arc::new(provider)]
}

impl Provider for QwenIntl {
    fn card(&self) -> &'static super::Card {
        &CARD
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        models::find(id, &self.site, &self.catalogue.ids())
    }

    fn accept(&self, id: &str) -> Option<Model> {
        let is_name = !id.is_empty();
        is_name.then(|| models::accept(id, &self.site, &self.catalogue.ids()))
    }

    fn discovered(&self) -> Vec<Model> {
        let ids = self.catalogue.ids();
        let mut found: Vec<Model> = ids
            .iter()
            .map(|id| models::discovered(id, &self.site))
            .collect();
        // The table's own rows know what a name alone does not say.
        found.retain(|it| self.models.iter().all(|known| known.id != it.id));
        found
    }

    fn upkeep(&self, messenger: Messenger, _unix_seconds: u64) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            self.abandoned.sweep(&self.site, &messenger).await;
            self.learn_models(&messenger).await;
        })
    }

    fn fields(&self) -> &[&'static [(Field, Support)]] {
        &[fields::THINKING, fields::SEARCH]
    }

    fn reports_usage(&self) -> bool {
        true
    }

    fn own_tools(&self) -> Option<&'static OwnTools> {
        Some(&OWN_TOOLS)
    }

    fn check(&self, account: usize, messenger: Messenger) -> Option<Checking<'_>> {
        checking(Self::who_am_i, self, self.accounts.of(account)?, messenger)
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn expiries(&self) -> Vec<(usize, u64)> {
        self.accounts.read(Account::end)
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    fn videos(&self) -> Option<&dyn Videos> {
        Some(self)
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, &self.kept, self.patience, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    /// A question names the chat's last answer; a chat makes one answer at a time (sections 4.3 and 9).
    fn continues(&self, model: &Model) -> Continues {
        match model.makes {
            Makes::Text => Continues::Linear,
            _ => Continues::No,
        }
    }

    fn abandon<'a>(
        &'a self,
        thread: &'a Thread,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
            let access = login::token(&self.site, turn, &account).await?;
            turn.opened(
                &thread.id,
                Some(self.deletion(&account, &access, &thread.id)),
            );
            Ok(())
        })
    }

    fn chat<'a>(
        &'a self,
        ask: &'a Arc<ChatRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.answer(ask, turn))
    }
}

impl QwenIntl {
    /// Reads the site's own list, with the first account's token or as a guest: nobody logs in for it. The newer call where
    /// the older one is gone.
    async fn learn_models(&self, messenger: &Messenger) {
        let accounts = self.accounts.read(|account| Some(account.clone()));
        let Some((_, account)) = accounts.first() else {
            return;
        };
        let access = account.tokens.latest();
        // The older first: it is open to guests, and the newer one has listed only six models (section 5).
        for api in [Api::V1, Api::V2] {
            let caller = account.caller(&self.site, access.as_deref());
            let request = wire::models(caller, api, moment());
            let read = async {
                let mut answer = messenger.send(request).await.ok()?;
                let body = answer.short().await.ok()?;
                // 200 with an error's body has no list, so [`catalogue::read`] refuses it.
                catalogue::read(&body).filter(|_| answer.status.as_u16() == 200)
            };
            if let Some(ids) = read.await {
                return self.catalogue.learn(ids);
            }
        }
    }

    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        // Before the lease: attachments are fetched from strangers.
        let mut asked = self.asked(ask, turn).await?;
        if asked.prompt.trim().is_empty() && asked.files.is_empty() {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        // A closure, so that chats, pictures and films share the tries below and nothing else.
        let answer = async |turn: &mut Turn, place: Place<'_>, asked: &Asked| match asked.kind {
            Kind::Text | Kind::Search => self.talk(turn, place, asked).await,
            Kind::Image | Kind::ImageEdit => self.draw(turn, place, asked).await,
            Kind::Video | Kind::VideoOfImage => self.film(turn, place, asked).await,
        };
        self.ask_again(turn, &account, &mut asked, answer).await
    }

    /// What a chat request means for its model (sections 4.3, 4.5, 4.6, 5).
    async fn asked(&self, ask: &Arc<ChatRequest>, turn: &Turn) -> Result<Asked, ProviderError> {
        let purpose = models::purpose(&turn.model.id);
        let is_video = purpose == Purpose::Film;
        let mut files = upload::files(ask, turn, is_video).await?;
        let (build, kind) = match purpose {
            Purpose::Text { .. } => {
                let searches = ask.search.unwrap_or(turn.model.search);
                let kind = if searches { Kind::Search } else { Kind::Text };
                // As function pointers, which are of one type.
                (prompt::flattened as fn(&ChatRequest) -> String, kind)
            }
            Purpose::Draw | Purpose::Edit => {
                // Section 4.5: documents are of no use to a picture.
                files.retain(File::is_image);
                // The last picture counts, of the user's own before those that were shown.
                // `files` has those of the last question alone.
                let own = files.pop();
                let shown = || prompt::last_shown(ask).map(File::Link);
                let picture = match purpose {
                    Purpose::Edit => own.or_else(shown),
                    // A new picture is made of the user's own pictures only, never of what was shown before.
                    _ => own,
                };
                let kind = match &picture {
                    Some(_) => Kind::ImageEdit,
                    None => Kind::Image,
                };
                files = picture.into_iter().collect();
                (prompt::question as fn(&ChatRequest) -> String, kind)
            }
            Purpose::Film => {
                files.retain(File::is_image);
                // Section 4.6: the picture is the first element; of others nothing is known.
                files.truncate(1);
                let kind = if files.is_empty() {
                    Kind::Video
                } else {
                    Kind::VideoOfImage
                };
                (prompt::question as fn(&ChatRequest) -> String, kind)
            }
        };
        let is_text = matches!(purpose, Purpose::Text { .. });
        Ok(Asked {
            model: turn.model.upstream.clone(),
            kind,
            prompt: turn.prompt(ask, build).await?,
            files,
            items: Vec::new(),
            // Sections 4.5, 4.6: thinking about a picture only takes longer.
            thinking: is_text && ask.thinking.unwrap_or(turn.model.thinking),
            thinking_budget: ask.thinking_budget,
            size: match kind {
                // An edit has the shape of its picture.
                Kind::Image | Kind::Video | Kind::VideoOfImage => Some(models::ratio(None, kind)),
                Kind::Text | Kind::Search | Kind::ImageEdit => None,
            },
            is_streamed: ask.stream,
            is_submitted: Cell::default(),
        })
    }

    /// Asks, and once more for what another token, another chat or a moment's patience can mend (section 8).
    async fn ask_again<T>(
        &self,
        turn: &mut Turn,
        account: &Lease<Account>,
        asked: &mut Asked,
        answer: impl AsyncFn(&mut Turn, Place<'_>, &Asked) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        let continued = turn.continued();
        // A chat is of one kind from its beginning.
        if let Some(thread) = &continued
            && thread.more.as_deref() != Some(asked.kind.word())
        {
            let error = ProviderError::new(ErrorKind::Protocol, "the chat is of another kind");
            return Err(error);
        }
        let mut chat = continued.map(|thread| thread.id);
        let result = self.tries(turn, account, asked, &mut chat, answer).await;
        // A video's chat stays until its task is over; without a task nothing is waited for.
        // Here and not where the chat was made: only now is it known that no task will come.
        if result.is_err()
            && asked.kind.is_video()
            && !asked.is_submitted.get()
            && let (Some(chat_id), Some(access)) = (chat, account.tokens.latest())
        {
            turn.afterwards(self.deletion(account, &access, &chat_id));
        }
        result
    }

    async fn tries<T>(
        &self,
        turn: &mut Turn,
        account: &Lease<Account>,
        asked: &mut Asked,
        chat: &mut Option<String>,
        answer: impl AsyncFn(&mut Turn, Place<'_>, &Asked) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        let (mut may_renew, mut may_repeat) = (true, true);
        // A new chat would have to be told everything.
        let mut may_open_anew = chat.is_none();
        let mut waits = BUSY.iter();
        let mut access = login::token(&self.site, turn, account).await?;
        if let Some(chat_id) = chat.as_deref() {
            self.opened(turn, account, &access, chat_id, asked.kind);
        }
        loop {
            let made = self.ask(turn, account, &access, asked, chat, &answer);
            let refusal = match made.await {
                Ok(made) => {
                    // Only an answer proves a token: lists are open to guests (section 10).
                    account.tokens.served(&access);
                    return Ok(made);
                }
                Err(refusal) => refusal,
            };
            let error = refusal.error;
            // What was said cannot be taken back, so no remedy is left.
            if turn.has_output() {
                return Err(error);
            }
            match refusal.remedy {
                // Each remedy once: a loop that mends the same fault twice would go on for ever.
                Remedy::NewToken if std::mem::take(&mut may_renew) => {
                    let renewal = login::renewal(&self.site, account, turn.messenger());
                    access = account.tokens.replaced(&access, error, renewal).await?;
                }
                Remedy::NewToken => {
                    // A new token was refused too: the account rests, instead of logging in with every turn.
                    account.tokens.refused(&access, &error);
                    return Err(error);
                }
                Remedy::Repeat if std::mem::take(&mut may_repeat) => {
                    tokio::time::sleep(AGAIN).await;
                }
                Remedy::Wait => {
                    // The two waits of section 8, then the error itself.
                    let wait = waits.next().ok_or(error)?;
                    tokio::time::sleep(*wait).await;
                }
                Remedy::NewChat if std::mem::take(&mut may_open_anew) => {
                    // What is not there cannot be deleted. (Of a video's chat no deletion is registered yet.)
                    if chat.take().is_some() && !asked.kind.is_video() {
                        turn.withdraw();
                    }
                }
                Remedy::None | Remedy::Repeat | Remedy::NewChat => return Err(error),
            }
            // Nothing was sent of them: `has_output` says so above.
            turn.events.clear();
        }
    }

    /// One question with one token, in the chat that there is or in a new one.
    async fn ask<T>(
        &self,
        turn: &mut Turn,
        account: &Account,
        access: &Arc<Access>,
        asked: &mut Asked,
        chat: &mut Option<String>,
        answer: &impl AsyncFn(&mut Turn, Place<'_>, &Asked) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Asked { files, items, .. } = asked;
        upload::upload(turn, &self.site, account, access, files, items).await?;
        // A try that only needs patience or a token asks in the same chat (section 8).
        let chat_id = match chat {
            Some(chat_id) => chat_id,
            None => {
                let caller = account.caller(&self.site, Some(access));
                let request = wire::create_chat(caller, &asked.model, asked.kind, moment());
                let id = call::call(turn, request, &account.variable, wire::chat_id).await?;
                // Registered before the question: whatever happens from here on, the chat is known.
                self.opened(turn, account, access, &id, asked.kind);
                chat.insert(id)
            }
        };
        let place = Place {
            account,
            access,
            chat_id,
        };
        answer(turn, place, asked).await
    }

    /// The turn is in this chat, which is deleted after it; that of a video once the task is over: until then it is at work,
    /// and nothing stops it.
    fn opened(
        &self,
        turn: &mut Turn,
        account: &Account,
        access: &Arc<Access>,
        chat_id: &str,
        kind: Kind,
    ) {
        let deletion = self.deletion(account, access, chat_id);
        turn.opened(chat_id, Some(deletion).filter(|_| !kind.is_video()));
        turn.remembers(kind.word());
    }

    /// An answer in words.
    async fn talk(&self, turn: &mut Turn, place: Place<'_>, asked: &Asked) -> Result<(), Refusal> {
        let (mut answer, response) = self.begin(turn, place, asked).await?;
        let mut decoder = Decoder::new(&place.account.variable, Output::Increments);
        while !decoder.is_over() {
            let Some(bytes) = answer.chunk().await.map_err(ProviderError::from)? else {
                break;
            };
            let read = decoder.read(&bytes, &mut turn.events);
            // Before an error is passed on: the id is what a call to stop needs.
            self.heed(turn, &decoder, &response);
            turn.emit_then(read).await?;
        }
        let is_over = decoder.is_over();
        // A regular end of the body ends the answer (section 7.1): there is no `[DONE]`.
        let ended = decoder.end(&mut turn.events);
        // Also where `ended` is an error: the body has ended, so there is nothing to stop.
        turn.upstream_is_over();
        turn.emit_then(ended).await?;
        if is_over {
            linger::let_end(answer).await;
        }
        Ok(())
    }

    /// Notes the answer's id as soon as it is known.
    fn heed(&self, turn: &mut Turn, decoder: &Decoder, response: &RefCell<String>) {
        if let Some(id) = decoder.response_id()
            // Compared first: the id comes with every frame.
            && *response.borrow() != id
        {
            id.clone_into(&mut response.borrow_mut());
            turn.answered_as(id);
        }
    }

    /// Asks: the stream of the answer, and the place where its id is written down for the call that stops it.
    async fn begin(
        &self,
        turn: &mut Turn,
        place: Place<'_>,
        asked: &Asked,
    ) -> Result<(Answer, Rc<RefCell<String>>), Refusal> {
        // Shared with the errand, which is built before the id is known and sent after it.
        let response = Rc::default();
        // Before the question is sent: an answer may begin while nobody is there to read it.
        turn.on_abort(self.stopping(place, &response));
        let mut answer = turn.send(self.question(turn, place, asked)).await?;
        // A refusal has status 200 as well, as JSON or as a page (section 3).
        if answer.status.as_u16() == 200 && answer.is_event_stream().await {
            return Ok((answer, response));
        }
        // It has refused: nothing is under way that could be stopped.
        turn.upstream_is_over();
        let head = Head::of(&answer);
        // The status alone says something when the body breaks off.
        let body = match answer.short().await {
            Err(error) if head.status < 400 => return Err(ProviderError::from(error).into()),
            body => body.unwrap_or_default(),
        };
        Err(refusal::refusal(head, &body, &place.account.variable))
    }

    fn question(&self, turn: &Turn, place: Place<'_>, asked: &Asked) -> crate::upstream::Request {
        let parent = turn.continued().and_then(|thread| thread.message);
        let question = Question {
            chat_id: place.chat_id,
            parent: parent.as_deref(),
            model: &asked.model,
            kind: asked.kind,
            prompt: &asked.prompt,
            files: &asked.items,
            thinking: asked.thinking,
            thinking_budget: asked.thinking_budget,
            size: asked.size.as_deref(),
            fid: turn.uuid(),
        };
        let caller = place.account.caller(&self.site, Some(place.access));
        wire::ask(caller, &question, moment())
    }

    /// The call that ends an answer that nobody reads: without it the chat stays at work, and is not deleted (section 9).
    fn stopping(&self, place: Place<'_>, response: &Rc<RefCell<String>>) -> Errand {
        let (site, account) = (Arc::clone(&self.site), place.account.clone());
        let (access, chat_id) = (Arc::clone(place.access), place.chat_id.to_owned());
        // `Rc`: turn and errand live on one thread.
        let response = Rc::clone(response);
        Errand::new(move || {
            let caller = account.caller(&site, Some(&access));
            wire::stop(caller, &chat_id, &response.borrow(), moment())
        })
    }

    /// The deletion of a chat, with the account's token of that moment.
    fn deletion(&self, account: &Account, access: &Arc<Access>, chat_id: &str) -> Errand {
        let (site, account) = (Arc::clone(&self.site), account.clone());
        let (used, chat_id) = (Arc::clone(access), chat_id.to_owned());
        Errand::new(move || {
            // The outbox may get to it when the turn's token is long replaced.
            let latest = account.tokens.latest();
            let access = latest.as_deref().unwrap_or(&used);
            wire::delete(account.caller(&site, Some(access)), &chat_id, moment())
        })
    }
}
