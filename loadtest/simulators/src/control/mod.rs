//! What a test may order from a simulator, and what it may look at afterwards.
//!
//! The same for every simulator: in process through [`Control`], over HTTP under `/__sim/` (`http`).

mod generation;
pub(super) mod http;
mod log;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub(super) use self::log::Answering;
pub use self::{
    generation::BOTH,
    log::{Call, State, Turn},
};
use super::{
    Reply, Script, Simulator,
    faults::{self, Drawn, Fault},
};

/// How many calls and violations are remembered: plenty for a test, and bounded under load.
const KEPT: usize = 10_000;

/// Orders and records of one simulator. One lock for all of it: calls are short, and what a test reads is one moment.
pub struct Control {
    faults: Vec<Fault>,
    quirks: &'static [&'static str],
    generations: &'static [&'static str],
    /// The generation at the start; `None`: all of them.
    first_generation: Option<&'static str>,
    /// The pause before each piece of an answer.
    pub(super) pace: Duration,
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The generation that is spoken alone; `None`: all of them.
    generation: Option<&'static str>,
    faults: VecDeque<Order>,
    scripts: VecDeque<Script>,
    next_id: u64,
    /// How many calls were seen; the last [`KEPT`] of them are below, under consecutive ids.
    seen: usize,
    questions: usize,
    calls: VecDeque<(u64, Call)>,
    violations: Vec<String>,
    created: usize,
    deleted: usize,
    /// The answers that are under way: id of the call, account.
    open: BTreeMap<u64, Option<usize>>,
    max_concurrent: BTreeMap<String, usize>,
}

/// A fault that was ordered: `{"name":"rate_limited","times":1}` and, if wanted, more.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// One of [`Control::known_faults`].
    pub name: String,
    /// How often it strikes; 0: until [`Control::clear_faults`]. `None`: once.
    #[serde(default)]
    pub times: Option<u32>,
    /// Strike on this step instead of the fault's own.
    #[serde(default)]
    pub step: Option<String>,
    /// How long `slow_headers` and `slow_text` wait.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// What a `Retry-After` says, in seconds.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// An order that the simulator cannot carry out; says what it knows instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<&'static str>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown name {:?}; there are {}",
            self.name,
            self.known.join(", ")
        )
    }
}

impl std::error::Error for Unknown {}

impl Control {
    pub(super) fn new(
        simulator: &dyn Simulator,
        pace: Duration,
        generation: &str,
    ) -> Result<Self, Unknown> {
        let generations = simulator.generations();
        let first_generation = generation::choose(generations, generation)?;
        Ok(Self {
            faults: [simulator.faults(), faults::SHARED].concat(),
            quirks: simulator.quirks(),
            generations,
            first_generation,
            pace,
            started: Instant::now(),
            inner: Mutex::new(Inner {
                generation: first_generation,
                ..Inner::default()
            }),
        })
    }

    /// The names that [`Control::fault`] takes.
    pub fn known_faults(&self) -> Vec<&'static str> {
        self.faults.iter().map(|(name, _)| *name).collect()
    }

    /// The quirks that a [`Script`] for this simulator may name.
    pub fn known_quirks(&self) -> &'static [&'static str] {
        self.quirks
    }

    /// Orders a fault for the next `times` calls of the step it belongs to; 0: for all of them until cleared.
    pub fn fault(&self, name: &str, times: u32) -> Result<(), Unknown> {
        self.order(Order {
            name: name.to_owned(),
            times: Some(times),
            ..Order::default()
        })
    }

    /// Orders a fault with everything that can be said about it.
    pub fn order(&self, order: Order) -> Result<(), Unknown> {
        if !self.faults.iter().any(|(name, _)| *name == order.name) {
            return Err(Unknown {
                name: order.name,
                known: self.known_faults(),
            });
        }
        self.inner().faults.push_back(order);
        Ok(())
    }

    /// Forgets the faults that have not struck yet.
    pub fn clear_faults(&self) {
        self.inner().faults.clear();
    }

    /// Sets what the next answers say; several scripts queue up.
    pub fn script(&self, script: Script) -> Result<(), Unknown> {
        if let Some(name) = script
            .quirks
            .iter()
            .find(|quirk| !self.quirks.contains(&quirk.as_str()))
        {
            return Err(Unknown {
                name: name.clone(),
                known: self.quirks.to_vec(),
            });
        }
        self.inner().scripts.push_back(script);
        Ok(())
    }

    /// Back to answers that follow the prompt.
    pub fn clear_scripts(&self) {
        self.inner().scripts.clear();
    }

    /// The last 10,000 calls, in the order in which they arrived.
    pub fn log(&self) -> Vec<Call> {
        self.inner()
            .calls
            .iter()
            .map(|(_, call)| call.clone())
            .collect()
    }

    /// The calls of one step, in the order in which they arrived.
    pub fn calls(&self, step: &str) -> Vec<Call> {
        self.log()
            .into_iter()
            .filter(|call| call.step == step)
            .collect()
    }

    /// The figures of this moment.
    pub fn state(&self) -> State {
        let inner = self.inner();
        State {
            open_streams: inner.open.len(),
            conversations: inner.created.saturating_sub(inner.deleted),
            created: inner.created,
            deleted: inner.deleted,
            calls: inner.seen,
            questions: inner.questions,
            faults_pending: inner
                .faults
                .iter()
                .map(|order| order.name.clone())
                .collect(),
            scripts_pending: inner.scripts.len(),
            generation: inner.generation.unwrap_or(BOTH),
            violations: inner.violations.clone(),
            max_concurrent_per_account: inner.max_concurrent.clone(),
        }
    }

    /// Forgets orders, records and figures. Streams that are under way stay counted until they end.
    fn forget(&self) {
        let mut inner = self.inner();
        let (next_id, open) = (inner.next_id, std::mem::take(&mut inner.open));
        *inner = Inner {
            generation: self.first_generation,
            next_id,
            open,
            ..Inner::default()
        };
    }

    /// Resets the records and the simulator's own memory.
    pub(super) fn reset(&self, simulator: &dyn Simulator) {
        simulator.reset();
        self.forget();
    }

    /// Draws the fault that strikes this call, if one is queued for its step. `Err`: the reply of a service that never
    /// got to the question.
    pub(super) fn strike(&self, call: &mut Call) -> Result<Option<&'static str>, Reply> {
        let Some(drawn) = self.draw(&call.step) else {
            return Ok(None);
        };
        call.fault = Some(drawn.name);
        let instead = drawn.instead();
        let name = drawn.name;
        call.drawn = Some(drawn);
        instead.map_or(Ok(Some(name)), Err)
    }

    fn draw(&self, step: &str) -> Option<Drawn> {
        let mut inner = self.inner();
        let own = |order: &Order| self.faults.iter().find(|(name, _)| *name == order.name);
        let at = inner.faults.iter().position(|order| {
            let own_step = own(order).map(|(_, own_step)| *own_step);
            order.step.as_deref().or(own_step) == Some(step)
        })?;
        let order = inner.faults.get_mut(at)?;
        let name = own(order)?.0;
        let drawn = Drawn {
            name,
            delay: order.delay_ms.map(Duration::from_millis),
            retry_after: order.retry_after,
        };
        match order.times {
            Some(0) => {}
            Some(times) if times > 1 => order.times = Some(times - 1),
            _ => {
                inner.faults.remove(at);
            }
        }
        Some(drawn)
    }

    /// The script for the next answer.
    pub(super) fn next_script(&self) -> Option<Script> {
        let mut inner = self.inner();
        let script = inner.scripts.front_mut()?;
        match script.times {
            Some(0) => Some(script.clone()),
            Some(times) if times > 1 => {
                script.times = Some(times - 1);
                Some(script.clone())
            }
            _ => inner.scripts.pop_front(),
        }
    }

    pub(super) fn created(&self) {
        self.inner().created += 1;
    }

    pub(super) fn deleted(&self) {
        self.inner().deleted += 1;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic in a test thread must not hide the records from the others.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Which calls count as open: plain answers are over at once, streams are not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Plain,
    Stream,
}
