//! Log lines, gathered and written together by a thread of their own: a line for each request would cost a system call
//! each, and nobody who logs may ever wait for whoever reads standard output. Where that does not keep up, lines are
//! dropped and counted, and the log says how many as soon as there is room.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    os::fd::AsFd as _,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::Thread,
    time::Duration,
};

use serde::{Serializer as _, ser::SerializeMap as _};
use tracing::{Event, Subscriber};
use tracing_serde::SerdeMapVisitor;
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use crate::{
    impossible::OrImpossible as _,
    metrics::METRICS,
    settings::{Log, LogFormat},
};

/// How long a line may wait for company.
const WAIT: Duration = Duration::from_millis(50);
/// With this much waiting it is written without waiting for more.
const SOON_BYTES: usize = 128 << 10;
/// What may wait beside what is being written; more is dropped.
const MOST_WAITING_BYTES: usize = 1 << 20;
/// How long the end of the process may be held up by a reader that does not read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What a line, and the time in it, hardly exceed.
const USUAL_LINE_BYTES: usize = 512;
const USUAL_TIME_BYTES: usize = 32;

static LINES: Lines = Lines::new();

/// Starts logging to standard output as the settings say. [`flush`] before the process ends.
pub fn start(settings: &Log) {
    // The level was checked with the settings; should it be none after all, a log is better than none.
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(|| &LINES);
    match settings.format {
        LogFormat::Json => builder.event_format(Json).init(),
        LogFormat::Text => builder.init(),
    }
    // Not std's own handle: what holds its lock while a write waits would hold up everybody else who prints.
    let Ok(out) = io::stdout().as_fd().try_clone_to_owned() else {
        return;
    };
    let mut out = File::from(out);
    let writer = std::thread::spawn(move || {
        loop {
            std::thread::park();
            // Ended early when much is waiting.
            std::thread::park_timeout(WAIT);
            LINES.write_waiting(&mut out);
        }
    });
    // Set once; lines before that wait for the first write behind it.
    let _ = LINES.writer.set(writer.thread().clone());
}

/// Waits until all lines are written, or for a second where nobody reads them.
pub fn flush() {
    if let Some(writer) = LINES.writer.get() {
        LINES.wait_written(writer, LAST_WORDS);
    }
}

/// One flat JSON object a line: time, level, fields. tracing-subscriber's own says the same in three times the
/// instructions: it hands every quote and comma through a formatter.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::with_capacity(USUAL_TIME_BYTES);
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Vec::with_capacity(USUAL_LINE_BYTES);
        // Rendered apart and handed over in one piece: the writer takes whole lines.
        object(&mut line, &time, event).map_err(|_| fmt::Error)?;
        line.push(b'\n');
        writer.write_str(std::str::from_utf8(&line).map_err(|_| fmt::Error)?)
    }
}

fn object(line: &mut Vec<u8>, time: &str, event: &Event<'_>) -> serde_json::Result<()> {
    let mut serializer = serde_json::Serializer::new(line);
    let mut members = serializer.serialize_map(None)?;
    members.serialize_entry("timestamp", time)?;
    members.serialize_entry("level", event.metadata().level().as_str())?;
    let mut fields = SerdeMapVisitor::new(members);
    event.record(&mut fields);
    fields.finish()
}

struct Lines {
    state: Mutex<State>,
    /// Told whenever the writer has written.
    written: Condvar,
    writer: OnceLock<Thread>,
}

struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Lines since the last word about them.
    dropped: u64,
}

impl Lines {
    const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Vec::new(),
                is_writing: false,
                dropped: 0,
            }),
            written: Condvar::new(),
            writer: OnceLock::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a thread that panicked has logged is as good as any other line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is waiting, however long it takes; only the writer calls this.
    fn write_waiting(&self, out: &mut impl Write) {
        let lines = {
            let mut state = self.state();
            // Taken, so that loggers have an empty buffer while the disk is slow.
            state.is_writing = true;
            std::mem::take(&mut state.waiting)
        };
        write_all(out, &lines);
        let dropped = {
            let mut state = self.state();
            state.is_writing = false;
            // With little room this line would be dropped as well.
            let has_room = state.waiting.len() < MOST_WAITING_BYTES / 2;
            if has_room {
                std::mem::take(&mut state.dropped)
            } else {
                0
            }
        };
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were dropped: nobody read them");
        }
        // Behind everything: whoever waits in `flush` looks at the state again.
        self.written.notify_all();
    }

    fn wait_written(&self, writer: &Thread, longest_wait: Duration) {
        let started = std::time::Instant::now();
        let mut state = self.state();
        while state.is_writing || !state.waiting.is_empty() {
            let Some(left) = longest_wait.checked_sub(started.elapsed()) else {
                return;
            };
            // Again each time: a wake-up may have come while it was writing.
            writer.unpark();
            let waited = self.written.wait_timeout(state, left.min(WAIT));
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Write for &Lines {
    /// Takes one line: the formatter hands over whole ones.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (before, after) = {
            let mut state = self.state();
            let before = state.waiting.len();
            if before + line.len() > MOST_WAITING_BYTES {
                state.dropped += 1;
                drop(state);
                METRICS.log_lines_dropped_total.inc();
                return Ok(line.len());
            }
            state.waiting.extend_from_slice(line);
            (before, state.waiting.len())
        };
        // Only at the step over the line: one wake-up is enough.
        let is_much = before < SOON_BYTES && after >= SOON_BYTES;
        if (before == 0 || is_much)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As far as it can be written: a log that cannot be is nothing that a log could complain about.
fn write_all(out: &mut impl Write, mut lines: &[u8]) {
    while !lines.is_empty() {
        match out.write(lines) {
            Ok(0) => return,
            Ok(written) => {
                lines = lines
                    .get(written..)
                    .or_impossible("no more is written than was to be")
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Some parents hand over a pipe that never waits.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(WAIT),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_find_no_room_are_dropped_and_counted() {
        let lines = Lines::new();
        let line = [b'a'; 1000];
        for _ in 0..2000 {
            (&lines).write_all(&line).unwrap();
        }
        let (waiting, dropped) = {
            let state = lines.state();
            (state.waiting.len(), state.dropped)
        };
        assert!(waiting <= MOST_WAITING_BYTES && waiting + 1000 > MOST_WAITING_BYTES);
        assert_eq!(waiting as u64 / 1000 + dropped, 2000);
        let mut out = Vec::new();
        lines.write_waiting(&mut out);
        assert_eq!(out.len(), waiting);
        (&lines).write_all(&line).unwrap();
        lines.write_waiting(&mut out);
        assert_eq!(out.len(), waiting + 1000);
    }
}
