//! A run: held streams, warm-up, the measured time, the end.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::{JoinHandle, LocalSet, spawn_local},
    time::{Instant, interval_at, sleep, sleep_until, timeout},
};

use super::{
    connection::{Connection, Shared},
    options::{Options, Watch},
    proc::{self, Cost},
    progress::Progress,
    request::{self, Target},
    schedule::{Schedule, counts_from},
    tally::{Group, Second},
};
use crate::marker;

/// How many held streams are being opened at a time.
const OPENING: usize = 256;
/// After this while the next one's turn has come.
const OPENS_WITHIN: Duration = Duration::from_millis(20);
/// How long opening them may take.
const OPENED_WITHIN: Duration = Duration::from_secs(120);
/// How long answers may go on after the measured time before they are cut.
const GRACE: Duration = Duration::from_millis(500);
/// The rest of a connection after a failure, so that a dead gateway is not hammered.
const REST: Duration = Duration::from_millis(50);

/// What a run has brought.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) load: Rc<Shared>,
    pub(super) held: Rc<Shared>,
    /// How many held streams were open at the end.
    pub(super) open: u64,
    pub(super) line: Vec<(Second, Second)>,
    pub(super) watched: Vec<Watched>,
    /// This process's own CPU time while it measured.
    pub(super) own_cpu: Duration,
}

/// A watched process at three moments.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: String,
    /// Before the first connection.
    pub(super) at_rest: Cost,
    pub(super) begin: Cost,
    pub(super) end: Cost,
}

pub(super) async fn run(options: &Options) -> io::Result<Measured> {
    let target = Target::new(options)?;
    let place = target.place().await?;
    let shared = || {
        Rc::new(Shared {
            place: place.clone(),
            is_cumulative: options.cumulative,
            timeout: Duration::from_secs(options.timeout.into()),
            group: Group::new().into(),
        })
    };
    let body = request::body(options)?;
    let at_rest = costs(&options.watch_pid);
    let (load, held, tasks) = (shared(), shared(), LocalSet::new());
    let measuring = async {
        let mut progress = Progress::new(options);
        hold(options, &target, &held, &progress).await;
        let left = Rc::new(Cell::new(options.requests.unwrap_or(u64::MAX)));
        let senders = start(options, &target, &body, &load, &left);
        sleep(Duration::from_secs(options.warmup.into())).await;
        let figures = measure(options, &load, &held, &mut progress).await;
        left.set(0);
        let all = async {
            for sender in senders {
                // A task that panicked has said so on stderr.
                let _panicked = sender.await;
            }
        };
        let _cut = timeout(GRACE, all).await;
        figures
    };
    let (seconds, open, line, own_cpu, begin, end) = tasks.run_until(measuring).await;
    // Cuts what still runs; what it has read so far is counted as it goes.
    drop(tasks);
    let costs = at_rest
        .into_iter()
        .zip(begin)
        .zip(end)
        .zip(&options.watch_pid);
    let watched = costs.map(|(((at_rest, begin), end), watch)| Watched {
        name: watch.name.clone(),
        at_rest,
        begin,
        end,
    });
    Ok(Measured {
        seconds,
        open,
        line,
        own_cpu,
        watched: watched.collect(),
        load,
        held,
    })
}

fn costs(watches: &[Watch]) -> Vec<Cost> {
    watches.iter().map(proc::cost).collect()
}

/// Opens the held streams and waits until each has spoken or failed.
async fn hold(options: &Options, target: &Target, held: &Rc<Shared>, progress: &Progress) {
    let body = request::question(&options.model, &options.hold_prompt, true);
    let opening = Rc::new(Semaphore::new(OPENING));
    for number in 0..options.hold as usize {
        let mut connection = Connection::new(Rc::clone(held), target.request(number, &body));
        let (held, opening) = (Rc::clone(held), Rc::clone(&opening));
        spawn_local(async move {
            let Ok(permit) = opening.acquire().await else {
                return;
            };
            let mut asking = std::pin::pin!(connection.ask(marker::now()));
            // What a stream has said cannot be asked while it is being read; a while is as good.
            let is_whole = match timeout(OPENS_WITHIN, &mut asking).await {
                Ok(is_whole) => is_whole,
                Err(_) => {
                    drop(permit);
                    asking.await
                }
            };
            if is_whole {
                held.group
                    .borrow_mut()
                    .failed("a held stream has ended".to_owned());
            }
        });
    }
    let begun = Instant::now();
    while begun.elapsed() < OPENED_WITHIN {
        let (open, failed) = {
            let group = held.group.borrow();
            (group.open, group.failures.values().sum::<u64>())
        };
        progress.opening(open);
        if open + failed >= options.hold.into() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn start(
    options: &Options,
    target: &Target,
    body: &[u8],
    load: &Rc<Shared>,
    left: &Rc<Cell<u64>>,
) -> Vec<JoinHandle<()>> {
    let schedule = options
        .rate
        .map(|rate| Rc::new(Schedule::new(marker::now(), rate)));
    let connections = if options.hold_only {
        0
    } else {
        options.connections
    };
    let each = |number: u32| {
        let mut connection =
            Connection::new(Rc::clone(load), target.request(number as usize, body));
        let (schedule, left) = (schedule.clone(), Rc::clone(left));
        // Spread over the warm-up: streams that all speak at the same moment would measure a queue.
        let delay = Duration::from_secs(options.warmup.into()) * number / connections;
        spawn_local(async move {
            if schedule.is_none() {
                sleep(delay).await;
            }
            while left.get() > 0 {
                let from = match &schedule {
                    None => marker::now(),
                    Some(schedule) => wait(schedule.next(), marker::now()).await,
                };
                // Another connection may have taken the last one meanwhile.
                let Some(rest) = left.get().checked_sub(1) else {
                    return;
                };
                left.set(rest);
                if !connection.ask(from).await {
                    sleep(REST).await;
                }
            }
        })
    };
    (0..connections).map(each).collect()
}

/// Waits until a request is due; from when on its time counts.
async fn wait(due: u64, free: u64) -> u64 {
    if free < due {
        sleep_until(Instant::now() + Duration::from_nanos(due - free)).await;
    }
    counts_from(due, free, marker::now())
}

/// Whether all requests that were asked for have been answered, one way or the other.
fn is_done(options: &Options, load: &Shared) -> bool {
    options
        .requests
        .is_some_and(|all| load.group.borrow().ended >= all)
}

type Figures = (
    f64,
    u64,
    Vec<(Second, Second)>,
    Duration,
    Vec<Cost>,
    Vec<Cost>,
);

async fn measure(
    options: &Options,
    load: &Shared,
    held: &Shared,
    progress: &mut Progress,
) -> Figures {
    let set = |is_measuring| {
        for shared in [load, held] {
            let mut group = shared.group.borrow_mut();
            // What happened before belongs to no second.
            group.tick();
            group.is_measuring = is_measuring;
        }
    };
    let this = Watch {
        name: String::new(),
        pid: std::process::id(),
    };
    let (begin, own) = (costs(&options.watch_pid), proc::cost(&this));
    let start = Instant::now();
    set(true);
    let second = Duration::from_secs(1);
    let (mut ticks, mut line) = (interval_at(start + second, second), Vec::new());
    let end = start + second * options.duration;
    while Instant::now() < end && !is_done(options, load) {
        tokio::select! {
            _ = ticks.tick() => {
                line.push((load.group.borrow_mut().tick(), held.group.borrow_mut().tick()));
                progress.tick(&load.group.borrow(), &held.group.borrow(), line.last());
            }
            // Only looks whether there were enough.
            () = sleep(Duration::from_millis(10)), if options.requests.is_some() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    let (seconds, open) = (start.elapsed().as_secs_f64(), held.group.borrow().open);
    for shared in [load, held] {
        shared.group.borrow_mut().is_measuring = false;
    }
    let end = costs(&options.watch_pid);
    (
        seconds,
        open,
        line,
        proc::cost(&this).cpu.saturating_sub(own.cpu),
        begin,
        end,
    )
}
