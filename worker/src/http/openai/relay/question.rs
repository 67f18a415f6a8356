//! The request, read until its model is known. What the model is called is said anew for each lane that it goes to.

use actix_web::{
    HttpRequest,
    web::{Data, Payload},
};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::Deserialize;

use super::MOST_KEPT_BYTES;
use crate::{
    app::App,
    budget::Share,
    chat::{Invalid, request::MOST_MODEL_BYTES},
    http::{
        body::{self, Incoming},
        error::ApiError,
        form::{self, Found, Scanner},
        reading::{self, Form, Member},
    },
    impossible::OrImpossible as _,
    providers::relay::{Body, Spelling},
};

/// A request that goes on.
#[derive(Debug)]
pub(in crate::http) struct Asked {
    /// The model as the caller wrote it.
    pub(in crate::http) model: Option<String>,
    /// The end user's id, where it was seen before the model.
    pub(in crate::http) user: Option<String>,
    /// Of the body.
    pub(in crate::http) content_type: String,
    /// The body.
    pub(in crate::http) body: Body,
}

impl Asked {
    /// The same request for another model; said in it where it says none.
    #[must_use]
    pub(in crate::http) fn named(mut self, model: String) -> Self {
        if !self.body.names_model() {
            let (pieces, rest) = self.body.into_pieces("");
            let whole = pieces.concat();
            let body = match form::boundary(&self.content_type) {
                Ok(Some(boundary)) => form_with_model(&whole, &boundary),
                Ok(None) | Err(_) => json_with_model(&whole),
            };
            self.body = body.followed_by(rest);
        }
        self.model = Some(model);
        self
    }
}

/// An object with a place for a model in front of its members.
fn json_with_model(whole: &[u8]) -> Body {
    // An object, as its model was looked for in it; the first brace is its own, whatever stands before it.
    let behind = whole.iter().position(|byte| *byte == b'{').map(|at| at + 1);
    let (_, members) = whole.split_at(behind.unwrap_or(0));
    // `{}` takes no comma behind the member.
    let is_empty = members.trim_ascii_start().starts_with(b"}");
    let after = [if is_empty { &b""[..] } else { b"," }, members].concat();
    let before = Bytes::from_static(b"{\"model\":");
    Body::around(before, Spelling::Json, after.into())
}

/// A form with a field for a model in front of its fields.
fn form_with_model(whole: &[u8], boundary: &str) -> Body {
    let line = format!("--{boundary}");
    // What stands before the first line is nobody's.
    let at = memchr::memmem::find(whole, line.as_bytes()).unwrap_or(0);
    let (_, fields) = whole.split_at(at);
    let before = format!("{line}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n");
    let after = [b"\r\n", fields].concat();
    Body::around(before.into(), Spelling::Plain, after.into())
}

/// Reads a request as far as it must be known. `share` grows with what is held of it.
///
/// # Errors
/// As [`body::read`]; 400 for a body of a wrong form, or a model with a name that is none's.
pub(in crate::http) async fn take_in(
    http: &HttpRequest,
    app: &Data<App>,
    payload: Payload,
    share: &mut Share,
) -> Result<Asked, ApiError> {
    let content_type = content_type(http);
    let boundary = form::boundary(&content_type)?;
    let is_packed = http.headers().contains_key("content-encoding");
    let settings = &app.settings.http;
    let asked = match boundary {
        None => {
            let whole = body::read(http, payload, settings, share).await?;
            share.grow_for_body(whole.len(), 0)?;
            let most = settings.most_messages;
            json(whole, most)?
        }
        // What it was packed in is off by then, so nothing of it says how it goes on.
        Some(boundary) if is_packed => {
            let whole = body::read(http, payload, settings, share).await?;
            whole_form(whole, &boundary, content_type)?
        }
        Some(boundary) => {
            let incoming = Incoming::new(http, payload, settings)?;
            form(incoming, &boundary, content_type, share).await?
        }
    };
    checked(asked)
}

/// A request that was read whole.
///
/// # Errors
/// 400 as [`take_in`].
pub(in crate::http) fn of_whole(
    content_type: &str,
    whole: Bytes,
    app: &App,
) -> Result<Asked, ApiError> {
    let asked = match form::boundary(content_type)? {
        Some(boundary) => whole_form(whole, &boundary, content_type.to_owned())?,
        None => json(whole, app.settings.http.most_messages)?,
    };
    checked(asked)
}

/// The content type of a body; JSON where nobody says.
pub(in crate::http) fn content_type(http: &HttpRequest) -> String {
    let said = http.headers().get("content-type");
    let said = said.and_then(|it| it.to_str().ok());
    said.unwrap_or("application/json").to_owned()
}

fn checked(asked: Asked) -> Result<Asked, ApiError> {
    match &asked.model {
        Some(model) if model.len() > MOST_MODEL_BYTES => Err(Invalid::too_long_a_model().into()),
        _ => Ok(asked),
    }
}

fn whole_form(whole: Bytes, boundary: &str, content_type: String) -> Result<Asked, ApiError> {
    let (model, user) = fields(&mut Scanner::new(boundary), &whole)?;
    form_around(whole, model, user, content_type)
}

/// All of a request's body, for a door that answers it itself.
///
/// # Errors
/// 400 for a body that breaks off, or is larger than it may be; 503 where there is no memory for it.
pub(in crate::http) async fn whole(asked: Asked, share: &mut Share) -> Result<Bytes, ApiError> {
    let model = asked.model.unwrap_or_default();
    let (mut pieces, rest) = asked.body.into_pieces(&model);
    pieces.retain(|piece| !piece.is_empty());
    if rest.is_none()
        && let [only] = pieces.as_slice()
    {
        // As most bodies are: one piece, which is not copied.
        return Ok(only.clone());
    }
    let mut whole = BytesMut::new();
    let mut add = |piece: &Bytes| {
        // Twice, as a buffer that grows holds the old and the new for a moment.
        share.grow_to(2 * (whole.len() + piece.len()))?;
        whole.extend_from_slice(piece);
        Ok::<(), ApiError>(())
    };
    for piece in &pieces {
        add(piece)?;
    }
    if let Some(rest) = rest {
        while let Some(piece) = rest.next().await {
            let piece = piece.map_err(|_| {
                ApiError::bad_request("The body broke off before its end, or is too large.")
            })?;
            add(&piece)?;
        }
    }
    Ok(whole.freeze())
}

/// The members that are looked at; everything else is the API's affair.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    model: Member<'a, String>,
    #[serde(borrow, default)]
    user: Member<'a, String>,
}

struct JsonForm;

impl Form for JsonForm {
    type Body<'a> = Members<'a>;
    type Read = Asked;

    fn check(members: Members<'_>, text: &ByteString) -> Result<Asked, Invalid> {
        // Where in the text it stands, so that all else goes out byte for byte: numbers and order are the caller's.
        let place = members.model.place(text);
        let bytes = text.as_bytes();
        // In the place of a null there can be a name as well.
        let body = match place {
            Some(place) => Body::around(
                bytes.slice(..place.start),
                Spelling::Json,
                bytes.slice(place.end..),
            ),
            None => Body::fixed(bytes.clone()),
        };
        Ok(Asked {
            model: members.model.value,
            user: members.user.value,
            content_type: "application/json".to_owned(),
            body,
        })
    }
}

fn json(whole: Bytes, most_pieces: usize) -> Result<Asked, Invalid> {
    reading::read::<JsonForm>(whole, most_pieces)
}

type Place = std::ops::Range<usize>;

/// A form, up to its model at least, and to its end where it is short.
async fn form(
    mut incoming: Incoming,
    boundary: &str,
    content_type: String,
    share: &mut Share,
) -> Result<Asked, ApiError> {
    let is_long = incoming
        .declared
        // An undeclared length is found out by reading: the second condition below sees it.
        .is_some_and(|length| length > MOST_KEPT_BYTES);
    let (mut scanner, mut held) = (Scanner::new(boundary), BytesMut::new());
    let (mut model, mut user) = (None, None);
    loop {
        if model.is_none() {
            // Goes on where it stopped, so that a file that comes in small pieces is not searched from its beginning
            // each time.
            let found = fields(&mut scanner, &held)?;
            model = found.0;
            user = found.1.or(user);
        }
        // Once the model is known and it is too long to keep, the rest streams; without the model it is held further,
        // up to the limits.
        if model.is_some() && (is_long || held.len() > MOST_KEPT_BYTES) {
            let rest = incoming.into_rest();
            let mut asked = form_around(held.freeze(), model, user, content_type)?;
            asked.body = asked.body.followed_by(Some(rest));
            return Ok(asked);
        }
        let Some(piece) = incoming.next().await? else {
            return form_around(held.freeze(), model, user, content_type);
        };
        let length = held.len() + piece.len();
        if length > held.capacity() {
            // As a buffer grows, and counted before it does.
            let wanted = length.max(2 * held.capacity());
            share.grow_to(wanted)?;
            // `reserve` counts from the length, not from the capacity.
            held.reserve(wanted - held.len());
        }
        held.extend_from_slice(&piece);
    }
}

/// Where the model and the user stand, as far as the form has come; not looked for behind the model.
fn fields(scanner: &mut Scanner, form: &[u8]) -> Result<(Option<Place>, Option<Place>), ApiError> {
    let mut user = None;
    loop {
        match scanner.next(form)? {
            // A file may have that name too; a model is never one.
            Found::Part(part) if part.file_name.is_none() && part.name == "model" => {
                return Ok((Some(part.content), user));
            }
            Found::Part(part) if part.file_name.is_none() && part.name == "user" => {
                user = Some(part.content);
            }
            Found::Part(_) => {}
            Found::End | Found::More => return Ok((None, user)),
        }
    }
}

/// The form with the model's name taken out.
fn form_around(
    whole: Bytes,
    model: Option<Place>,
    user: Option<Place>,
    content_type: String,
) -> Result<Asked, ApiError> {
    let text = |place: Place| {
        let bytes = whole.get(place).or_impossible("it was found there");
        let text = std::str::from_utf8(bytes).map_err(|_| {
            ApiError::bad_request("A field of the form (`model` or `user`) is no UTF-8.")
        });
        text.map(|text| text.trim().to_owned())
    };
    let name = model.clone().map(text).transpose()?;
    let user = user.map(text).transpose()?;
    // An empty field is what forms send for what was left empty; it goes on as it came, or with a name that it is given.
    let body = match model {
        Some(place) => Body::around(
            whole.slice(..place.start),
            Spelling::Plain,
            whole.slice(place.end..),
        ),
        None => Body::fixed(whole),
    };
    Ok(Asked {
        model: name.filter(|name| !name.is_empty()),
        user,
        content_type,
        body,
    })
}
