//! What becomes of broken answers: a simulator says each of a table (`table`), the real door is asked with tools, and what
//! a client gets is compared with what it must get. Nobody else measures how many answers a gateway saves.

mod fate;
mod table;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

use awc::Client;
use clap::Args;
use serde_json::{Value, json};

use self::{
    fate::{Fate, Told, fate},
    table::{Case, Expected, SECOND, TABLE, tools},
};

/// How long one answer may take, and most bytes of it.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_BYTES: usize = 16 << 20;
/// Small pieces, whose odd length cuts tags everywhere in turn.
const PIECE_CHARS: usize = 5;

/// How a model's broken tool calls reach a client: asks the gateway while a simulator answers badly in every way of a table.
///
/// One line a kind of answer: how many came out right as they were, were repaired, were asked for again, ended in an error, and
/// let markup through. Exits with 1 where markup has leaked or an answer is not what it must be.
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
    /// Seconds after which the whole table is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    within: u64,
}

/// How often each fate was met.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    answers: usize,
    fates: [usize; 5],
}

impl Row {
    fn count(&mut self, fate: Fate) {
        self.answers += 1;
        if let Some(count) = self.fates.get_mut(fate as usize) {
            *count += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        for (sum, count) in self.fates.iter_mut().zip(other.fates) {
            *sum += count;
        }
    }

    fn line(&self, kind: &str) -> String {
        let [right, repaired, again, failed, leaked] = self.fates;
        let answers = self.answers;
        format!("{kind:24}{answers:>9}{right:>9}{repaired:>11}{again:>14}{failed:>9}{leaked:>9}\n")
    }
}

/// Runs the table and prints it, a kind as soon as it is through; `false` if markup has leaked or an answer came out wrong.
///
/// # Errors
/// When gateway or simulator cannot be asked, or take too long.
pub fn run(options: &Options) -> io::Result<bool> {
    actix_web::rt::System::new().block_on(async {
        let limit = Duration::from_secs(options.within);
        let all = tokio::time::timeout(limit, run_all(options)).await;
        all.unwrap_or_else(|_| {
            let words = format!("the table was not through within {} s", options.within);
            Err(io::Error::new(io::ErrorKind::TimedOut, words))
        })
    })
}

async fn run_all(options: &Options) -> io::Result<bool> {
    let client = Client::builder().timeout(PATIENCE).finish();
    let mut bench = Bench { client, options };
    let (mut all, mut wrong) = (Row::default(), String::new());
    say(&format!(
        "{:24}{:>9}{:>9}{:>11}{:>14}{:>9}{:>9}\n",
        "broken", "answers", "right", "repaired", "asked again", "failed", "leaked"
    ))?;
    for cases in TABLE.chunk_by(|one, next| one.kind == next.kind) {
        let mut row = Row::default();
        for case in cases {
            for streamed in [false, true] {
                let (told, questions) = bench.ask(case, streamed).await?;
                let found = fate(case, &told, questions);
                row.count(found.fate);
                if !found.is_expected {
                    // Memory cannot fail to be written.
                    let _ = writeln!(
                        wrong,
                        "{}, streamed: {streamed}: {:?} became {told:?} after {questions} questions",
                        case.kind, case.says
                    );
                }
            }
        }
        let kind = cases.first().map_or("", |case| case.kind);
        say(&row.line(kind))?;
        all.add(row);
    }
    say(&all.line("all"))?;
    io::stderr().write_all(wrong.as_bytes())?;
    Ok(wrong.is_empty())
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

struct Bench<'a> {
    client: Client,
    options: &'a Options,
}

impl Bench<'_> {
    /// Has the simulator say it and asks; what the client got, and how many questions the simulator got.
    async fn ask(&mut self, case: &Case, streamed: bool) -> io::Result<(Told, u64)> {
        let before = self.questions().await?;
        let second = match case.expected {
            Expected::Error(_) => case.says,
            Expected::Words(_) | Expected::Calls(_) | Expected::Second => SECOND,
        };
        for text in [case.says, second] {
            // Without pauses: that a model thinks before each word is not what is measured.
            let script =
                json!({"text": text, "notation": true, "pace_ms": 0, "piece_chars": PIECE_CHARS});
            let ordered = self.client.post(self.control("script")).send_json(&script);
            if !ordered.await.map_err(failed)?.status().is_success() {
                return Err(io::Error::other("the simulator takes no script"));
            }
        }
        let question = json!({"model": self.options.model, "stream": streamed, "tools": tools(),
            "messages": [{"role": "user", "content": "Go on."}]});
        let url = self.options.url.trim_end_matches('/');
        let answer = self
            .client
            .post(format!("{url}/v1/chat/completions"))
            .bearer_auth(&self.options.key)
            .send_json(&question);
        let mut answer = answer.await.map_err(failed)?.timeout(PATIENCE);
        let body = answer.body().limit(MOST_BYTES).await.map_err(failed)?;
        let body = String::from_utf8_lossy(&body);
        let told = match answer.status().as_u16() {
            200 if streamed => Told::streamed(&body),
            200 => Told::whole(&body),
            401 | 403 | 404 => {
                let words = format!("the gateway refuses the question: {body}");
                return Err(io::Error::other(words));
            }
            _ => Told::error(&body),
        };
        let questions = self.questions().await?.saturating_sub(before);
        if questions == 0 {
            let words = format!(
                "the simulator was not asked: it does not play the provider of {}",
                self.options.model
            );
            return Err(io::Error::other(words));
        }
        let cleared = self.client.delete(self.control("script")).send();
        cleared.await.map_err(failed)?;
        Ok((told, questions))
    }

    fn control(&self, path: &str) -> String {
        let simulator = self.options.simulator.trim_end_matches('/');
        format!("{simulator}/__sim/{path}")
    }

    /// How many questions the simulator has been asked. Its figures, not its log: that grows with every prompt.
    async fn questions(&self) -> io::Result<u64> {
        let state = self.client.get(self.control("state")).send().await;
        let state = state.map_err(failed)?.json::<Value>().await;
        let state = state.map_err(failed)?;
        let questions = state["questions"].as_u64();
        questions.ok_or_else(|| io::Error::other("this is no simulator of hive2api"))
    }
}

/// An error of the client's as one that threads may share.
fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_one_line_and_the_lines_add_up() {
        let mut row = Row::default();
        for fate in [Fate::Repaired, Fate::Repaired, Fate::Leaked] {
            row.count(fate);
        }
        let mut all = Row::default();
        all.add(row);
        all.add(row);
        let words = |row: &Row| -> Vec<String> {
            let line = row.line("kind");
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words(&row), ["kind", "3", "0", "2", "0", "0", "1"]);
        assert_eq!(words(&all), ["kind", "6", "0", "4", "0", "0", "2"]);
    }

    #[test]
    fn kinds_stand_together_and_names_fit_their_column() {
        let mut kinds: Vec<&str> = TABLE
            .chunk_by(|one, next| one.kind == next.kind)
            .filter_map(|cases| cases.first())
            .map(|case| case.kind)
            .collect();
        assert!(kinds.iter().all(|kind| kind.len() < 24));
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), count, "a kind in two places has two lines");
    }
}
