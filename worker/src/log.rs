//! Log lines, gathered and written together: a line for each request would cost a system call each, and a slow reader
//! of standard output would hold up an event loop.

use std::{
    fmt,
    io::{self, Write},
    sync::{Mutex, OnceLock, PoisonError},
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

use crate::settings::{LogFormat, Settings};

/// How long a line may wait for company.
const WAIT: Duration = Duration::from_millis(50);
/// With more than this waiting, whoever logs writes: memory stays bounded when nobody reads the log.
const MOST_WAITING_BYTES: usize = 1 << 20;
/// What a line, and the time in it, hardly exceed.
const USUAL_LINE_BYTES: usize = 512;
const USUAL_TIME_BYTES: usize = 32;

static LINES: Lines = Lines {
    waiting: Mutex::new(Vec::new()),
    writer: OnceLock::new(),
};

/// Starts logging to standard output as the settings say. [`flush`] before the process ends.
pub fn start(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(|| &LINES);
    match settings.log_format {
        LogFormat::Json => builder.event_format(Json).init(),
        LogFormat::Text => builder.init(),
    }
    let writer = std::thread::spawn(|| {
        loop {
            std::thread::park();
            std::thread::sleep(WAIT);
            flush();
        }
    });
    let _ = LINES.writer.set(writer.thread().clone());
}

/// Writes what is waiting.
pub fn flush() {
    let mut out = io::stdout().lock();
    let lines = std::mem::take(&mut *LINES.waiting());
    // A log that cannot be written cannot be complained about either.
    let _ = out.write_all(&lines).and_then(|()| out.flush());
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
    waiting: Mutex<Vec<u8>>,
    writer: OnceLock<Thread>,
}

impl Lines {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        // What a thread that panicked has logged is as good as any other line.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &Lines {
    /// Takes one line: the formatter hands over whole ones.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (was_empty, length) = {
            let mut waiting = self.waiting();
            let was_empty = waiting.is_empty();
            waiting.extend_from_slice(line);
            (was_empty, waiting.len())
        };
        if length > MOST_WAITING_BYTES {
            flush();
        } else if was_empty && let Some(writer) = self.writer.get() {
            writer.unpark();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
