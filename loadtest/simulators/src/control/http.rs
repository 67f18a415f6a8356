//! [`Control`] over HTTP, under `/__sim/`, for tests that do not run in this process.
//!
//! - `fault`: GET lists the known ones, POST orders one ([`Order`]), DELETE forgets them all;
//! - `script`: GET lists the known quirks, POST orders an answer ([`Script`]), DELETE forgets them all;
//! - `generation`: GET says which one is spoken and which there are, POST `{"name":"newest"}` changes it from the next call
//!   on: one of the service's own names, `oldest`, `newest`, or `both` for all at once;
//! - `log`, `state`, `env`: GET; `reset`: POST;
//! - `picture.png`, `video.mp4`: what answers link to.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Control, Order};
use crate::{Reply, Request, Script, Simulator, media::Film};

/// Where the control lives; no provider has such a path.
pub(crate) const PREFIX: &str = "/__sim/";

/// A white square of one pixel: what the pictures of the answers link to.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\xdac\xf8\x0f\0\x01\
    \x01\x01\0\x1c\xb0\x8c\x99\0\0\0\0IEND\xaeB`\x82";

/// Answers a request under [`PREFIX`].
pub(crate) fn reply(request: &Request, control: &Control, simulator: &dyn Simulator) -> Reply {
    let name = request.path.strip_prefix(PREFIX).unwrap_or_default();
    match (request.method.as_str(), name) {
        ("POST", "fault") => done(fault(request, control)),
        ("POST", "script") => done(script(request, control)),
        ("POST", "generation") => done(generation(request, control)),
        ("DELETE", "fault") => {
            control.clear_faults();
            done(Ok(()))
        }
        ("DELETE", "script") => {
            control.clear_scripts();
            done(Ok(()))
        }
        ("POST", "reset") => {
            control.reset(simulator);
            done(Ok(()))
        }
        ("GET", "fault") => Reply::json(200, &json!({"faults": control.known_faults()})),
        ("GET", "script") => Reply::json(200, &json!({"quirks": control.known_quirks()})),
        ("GET", "generation") => Reply::json(
            200,
            &json!({"generation": control.generation(), "generations": control.known_generations()}),
        ),
        ("GET", "log") => shown(serde_json::to_value(control.log())),
        ("GET", "state") => shown(serde_json::to_value(control.state())),
        ("GET", "env") => Reply::json(200, &Value::Object(env(simulator, control))),
        // `?bytes=N`: as large as that.
        ("GET", "video.mp4") => {
            let bytes = request
                .query
                .split('&')
                .find_map(|it| it.strip_prefix("bytes="));
            Film::of(bytes.and_then(|it| it.parse().ok()).unwrap_or(0)).serve(request)
        }
        ("GET", "picture.png") if request.query.is_empty() => Reply::new(200, "image/png", PICTURE),
        // Each another one, and the same whenever it is asked for.
        ("GET", "picture.png") => Reply::new(200, "image/png", crate::picture::png(&request.query)),
        _ => Reply::json(404, &json!({"ok": false, "error": "no such control"})),
    }
}

fn done(result: Result<(), String>) -> Reply {
    match result {
        Ok(()) => Reply::json(200, &json!({"ok": true})),
        Err(why) => Reply::json(400, &json!({"ok": false, "error": why})),
    }
}

fn fault(request: &Request, control: &Control) -> Result<(), String> {
    let order: Order = read(request)?;
    control.order(order).map_err(|unknown| unknown.to_string())
}

fn script(request: &Request, control: &Control) -> Result<(), String> {
    let script: Script = read(request)?;
    control
        .script(script)
        .map_err(|unknown| unknown.to_string())
}

/// `{"name":"newest"}`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Generation {
    name: String,
}

fn generation(request: &Request, control: &Control) -> Result<(), String> {
    let order: Generation = read(request)?;
    control
        .set_generation(&order.name)
        .map_err(|unknown| unknown.to_string())
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    serde_json::from_slice(&request.body).map_err(|error| error.to_string())
}

fn shown(value: serde_json::Result<Value>) -> Reply {
    match value {
        Ok(value) => Reply::json(200, &value),
        Err(error) => Reply::json(500, &json!({"ok": false, "error": error.to_string()})),
    }
}

fn env(simulator: &dyn Simulator, control: &Control) -> serde_json::Map<String, Value> {
    let settings = simulator.env(crate::ACCOUNTS, control);
    settings
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect()
}
