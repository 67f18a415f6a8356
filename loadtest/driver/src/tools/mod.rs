//! What becomes of broken answers: a simulator says each of a table (`table`), the real door is asked with tools, and what
//! a client gets is compared with what it must get. Nobody else measures how many answers a gateway saves.

mod table;

use std::{fmt::Write as _, io};

use awc::Client;
use clap::Args;
use serde_json::{Value, json};

use self::table::{Case, Expected, SECOND, SECOND_CALLS, TABLE, tools};

/// How a model's broken tool calls reach a client: asks the gateway while a simulator answers badly in every way of a table.
#[derive(Args, Debug)]
pub struct Options {
    /// The gateway.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// The gateway's key.
    #[arg(
        long,
        env = "API_MASTER_KEY",
        hide_env_values = true,
        default_value = ""
    )]
    key: String,
    /// A model whose provider is the simulator.
    #[arg(long, default_value = "qwen-plus")]
    model: String,
    /// The simulator that plays the model's provider, at its own address.
    #[arg(long)]
    simulator: String,
}

/// What became of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Right,
    Repaired,
    AskedAgain,
    Failed,
    Leaked,
}

/// How often each fate was met.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    answers: usize,
    fates: [usize; 5],
}

/// Runs the table and prints it; `false` if markup has leaked or an answer came out wrong.
///
/// # Errors
/// When gateway or simulator cannot be asked.
pub fn run(options: &Options) -> io::Result<bool> {
    actix_web::rt::System::new().block_on(async {
        let client = Client::builder()
            .timeout(std::time::Duration::from_secs(60))
            .finish();
        let mut rows: Vec<(&str, Row)> = Vec::new();
        for streamed in [false, true] {
            for case in TABLE {
                let fate = ask(&client, options, case, streamed).await?;
                if rows.iter().all(|(kind, _)| *kind != case.kind) {
                    rows.push((case.kind, Row::default()));
                }
                let Some((_, row)) = rows.iter_mut().find(|(kind, _)| *kind == case.kind) else {
                    continue;
                };
                row.answers += 1;
                row.fates[fate as usize] += 1;
            }
        }
        let (text, all) = written(&rows);
        io::Write::write_all(&mut io::stdout(), text.as_bytes())?;
        let of = |fate: Fate| all.fates[fate as usize];
        Ok(of(Fate::Failed) == 0 && of(Fate::Leaked) == 0)
    })
}

fn written(rows: &[(&str, Row)]) -> (String, Row) {
    let mut text = format!(
        "{:24}{:>9}{:>9}{:>11}{:>14}{:>9}{:>9}\n",
        "broken", "answers", "right", "repaired", "asked again", "failed", "leaked"
    );
    let mut all = Row::default();
    for (kind, row) in rows {
        all.answers += row.answers;
        for (sum, fate) in all.fates.iter_mut().zip(row.fates) {
            *sum += fate;
        }
        line(kind, *row, &mut text);
    }
    line("all", all, &mut text);
    (text, all)
}

fn line(kind: &str, row: Row, text: &mut String) {
    let [right, repaired, again, failed, leaked] = row.fates;
    // Memory cannot fail to be written.
    let _ = writeln!(
        text,
        "{kind:24}{:>9}{right:>9}{repaired:>11}{again:>14}{failed:>9}{leaked:>9}",
        row.answers
    );
}

async fn ask(client: &Client, options: &Options, case: &Case, streamed: bool) -> io::Result<Fate> {
    let control = |path: &str| format!("{}/__sim/{path}", options.simulator.trim_end_matches('/'));
    let asked_before = questions(client, &control("log")).await?;
    for text in [case.says, SECOND] {
        let script = json!({"text": text, "notation": true});
        let ordered = client.post(control("script")).send_json(&script).await;
        let ordered = ordered.map_err(failed)?;
        if !ordered.status().is_success() {
            return Err(io::Error::other("the simulator takes no script"));
        }
    }
    let question = json!({"model": options.model, "stream": streamed, "tools": tools(),
        "messages": [{"role": "user", "content": "Go on."}]});
    let url = format!("{}/v1/chat/completions", options.url.trim_end_matches('/'));
    let answer = client
        .post(url)
        .bearer_auth(&options.key)
        .send_json(&question)
        .await;
    let mut answer = answer.map_err(failed)?;
    let body = answer.body().limit(64 << 20).await.map_err(failed)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let told = if answer.status().is_success() {
        if streamed {
            stream(&text)
        } else {
            whole(&text)
        }
    } else {
        None
    };
    let asked = questions(client, &control("log")).await? - asked_before;
    let cleared = client.delete(control("script")).send().await;
    cleared.map_err(failed)?;
    Ok(fate(case, told, asked))
}

/// An error of the client's as one that threads may share.
fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// How many questions the simulator has been asked.
async fn questions(client: &Client, log: &str) -> io::Result<usize> {
    let mut answer = client.get(log).send().await.map_err(failed)?;
    let log: Value = answer.json().limit(256 << 20).await.map_err(failed)?;
    let calls = log.as_array().or_else(|| log["calls"].as_array());
    let is_question = |call: &&Value| call["prompt"].is_string();
    Ok(calls.into_iter().flatten().filter(is_question).count())
}

/// What a client has got: words, and calls as a list of names and arguments.
type Told = (String, Value);

fn whole(text: &str) -> Option<Told> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let message = &answer["choices"][0]["message"];
    let mut calls = Vec::new();
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let function = &call["function"];
        let arguments: Value = serde_json::from_str(function["arguments"].as_str()?).ok()?;
        calls.push(json!([function["name"], arguments]));
    }
    Some((
        message["content"].as_str().unwrap_or_default().to_owned(),
        calls.into(),
    ))
}

fn stream(text: &str) -> Option<Told> {
    let mut words = String::new();
    let mut calls: Vec<(Value, String)> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if line == "[DONE]" {
            let calls = calls.into_iter().map(|(name, arguments)| {
                let arguments: Value = serde_json::from_str(&arguments).ok()?;
                Some(json!([name, arguments]))
            });
            return Some((words, calls.collect::<Option<Vec<_>>>()?.into()));
        }
        let chunk: Value = serde_json::from_str(line).ok()?;
        let delta = &chunk["choices"][0]["delta"];
        words.push_str(delta["content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            if function["name"].is_string() {
                calls.push((function["name"].clone(), String::new()));
            }
            let (_, arguments) = calls.last_mut()?;
            arguments.push_str(function["arguments"].as_str().unwrap_or_default());
        }
    }
    None
}

fn fate(case: &Case, told: Option<Told>, asked: usize) -> Fate {
    let Some((words, calls)) = told else {
        return Fate::Failed;
    };
    const MARKUP: [&str; 8] = [
        "calls-",
        "call-",
        "arg-",
        "results-",
        "result-",
        "tool_call",
        "invoke",
        "<function",
    ];
    let is_talk = matches!(case.expected, Expected::Words(_));
    if !is_talk && MARKUP.iter().any(|mark| words.contains(mark)) {
        return Fate::Leaked;
    }
    let expected = match case.expected {
        Expected::Words(expected) => {
            return if words == expected && calls == json!([]) {
                Fate::Right
            } else {
                Fate::Failed
            };
        }
        Expected::Calls(expected) => expected,
        Expected::Second => SECOND_CALLS,
    };
    let is_expected = serde_json::from_str::<Value>(expected)
        .is_ok_and(|expected| without_marks(&calls) == expected);
    match (is_expected, asked) {
        (false, _) => Fate::Failed,
        (true, 2..) => Fate::AskedAgain,
        (true, _) if case.kind == "as asked for" => Fate::Right,
        (true, _) => Fate::Repaired,
    }
}

/// The mark of the conversation in an argument is not known to the table, which says N.
fn without_marks(calls: &Value) -> Value {
    let text = calls.to_string();
    let Some((before, rest)) = text.split_once("</arg-") else {
        return calls.clone();
    };
    let after = rest.split_once('>').map_or(rest, |(_, after)| after);
    serde_json::from_str(&format!("{before}</arg-N>{after}")).unwrap_or_default()
}
