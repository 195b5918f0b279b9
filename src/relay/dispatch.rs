//! The thread that hands copies to the relay host, beside the analysis.
//!
//! One connection, one copy after the other: what is relayed is counted in dozens. Memory is
//! bounded ([`JOBS_MAX`], [`BYTES_MAX`]); what finds no room is not relayed and counted. A relay host
//! that fails is left alone for a while ([`super::pauses`]), and nothing takes a slot meanwhile.
//!
//! Every job comes back as one [`Settlement`]. Before each delivery the kill switch and the window are
//! looked at: jobs of a window that has closed come back untried, so that it never waits for longer
//! than the delivery that is under way.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::Reason;
use super::delivery::{Delivery, Mail, Outcome};
use super::pauses::Pauses;
use super::switch::Switch;
use crate::config;
use crate::crash;
use crate::escape;
use crate::logging::Rarely;
use crate::store::{Fate, Settlement};
use crate::timestamp::Timestamp;

/// Copies that may wait for the relay host.
pub const JOBS_MAX: usize = 1000;

/// Bytes of copies that may wait for the relay host; one larger copy may wait alone.
pub const BYTES_MAX: usize = 64 << 20;

/// How long the thread waits for a copy while it has no connection.
const WITHOUT: Duration = Duration::from_secs(3600);

const STOPPING: &str = "the analyzer stops";
const WINDOW_CLOSED: &str = "the window closed";

/// A copy that has a slot.
pub struct Outgoing {
    /// The name of its queue file.
    pub name: String,
    /// Its record's number in the window.
    pub record: u32,
    /// Its record's id.
    pub id: String,
    /// The envelope's sender; empty for `<>`.
    pub sender: String,
    /// The envelope's recipients.
    pub recipients: Vec<String>,
    /// The bytes of its queue file.
    pub file: Vec<u8>,
    /// Where in them the message begins.
    pub begins: usize,
}

/// A copy on its way, with the window of its slot and the room it takes.
pub struct Job {
    copy: Outgoing,
    window: u64,
    _room: Room,
}

/// What the thread and its owner share.
#[derive(Default)]
struct Shared {
    jobs: AtomicUsize,
    bytes: AtomicUsize,
    window: AtomicU64,
    stopped: AtomicBool,
    paused_until: Mutex<Option<Instant>>,
}

impl Shared {
    fn is_paused(&self) -> bool {
        let until = self.paused_until.lock();
        let until = until.unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self, pause: Option<Duration>) {
        let until = pause.map(|pause| Instant::now() + pause);
        *self
            .paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// Room that a copy takes; given back when it is dropped.
struct Room {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.jobs.fetch_sub(1, Ordering::Relaxed);
        self.shared.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The way to the thread.
pub struct Dispatch {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    /// The thread's own end: what it has not begun can be taken back.
    waiting: Receiver<Job>,
    settled: Receiver<Settlement>,
    settle: Sender<Settlement>,
}

impl Dispatch {
    /// Starts the thread; it ends when this value is gone and its jobs are settled.
    pub fn start(config: &config::Relay, switch: Switch) -> io::Result<Dispatch> {
        let shared = Arc::new(Shared::default());
        let (jobs, waiting) = unbounded();
        let (settle, settled) = unbounded();
        let (work, back) = (waiting.clone(), settle.clone());
        let thread = Thread {
            delivery: Delivery::new(&config.host, config.port, &config.hostname),
            switch,
            shared: Arc::clone(&shared),
            pauses: Pauses::default(),
            accepted: Rarely::default(),
            failed: Rarely::default(),
        };
        std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || thread.work(&work, &back))?;
        Ok(Dispatch {
            shared,
            jobs,
            waiting,
            settled,
            settle,
        })
    }

    /// Whether a copy of this many bytes can be sent now.
    pub fn has_room(&self, bytes: usize) -> Result<(), Reason> {
        if self.shared.is_paused() {
            return Err(Reason::Away);
        }
        let (jobs, taken) = (&self.shared.jobs, &self.shared.bytes);
        let (jobs, taken) = (jobs.load(Ordering::Relaxed), taken.load(Ordering::Relaxed));
        match jobs == 0 || jobs < JOBS_MAX && taken + bytes <= BYTES_MAX {
            true => Ok(()),
            false => Err(Reason::Busy),
        }
    }

    /// The copy as a job, with its room taken.
    pub fn job(&self, copy: Outgoing) -> Job {
        let (shared, bytes) = (Arc::clone(&self.shared), copy.file.len());
        shared.jobs.fetch_add(1, Ordering::Relaxed);
        shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        Job {
            copy,
            window: shared.window.load(Ordering::Relaxed),
            _room: Room { shared, bytes },
        }
    }

    /// Hands a job over; false when the thread is gone.
    pub fn send(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }

    /// What was settled since it was last asked.
    pub fn settled(&self) -> impl Iterator<Item = Settlement> {
        self.settled.try_iter()
    }

    /// Says which window is open: jobs of others come back untried.
    pub fn open_window(&self, window: u64) {
        if self.shared.window.swap(window, Ordering::Relaxed) != window {
            self.withdraw(WINDOW_CLOSED);
        }
    }

    /// Lets every job come back untried.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.withdraw(STOPPING);
    }

    /// Takes back what the thread has not begun: it may be busy for minutes.
    fn withdraw(&self, why: &str) {
        for job in self.waiting.try_iter() {
            let _ = self.settle.send(job.settled(Fate::Withdrawn, why.into()));
        }
    }
}

impl Job {
    fn settled(self, fate: Fate, answer: String) -> Settlement {
        Settlement {
            window: self.window,
            seq: u64::from(self.copy.record),
            name: self.copy.name,
            at: Timestamp::now(),
            fate,
            answer,
        }
    }
}

struct Thread {
    delivery: Delivery,
    switch: Switch,
    shared: Arc<Shared>,
    pauses: Pauses,
    accepted: Rarely,
    failed: Rarely,
}

impl Thread {
    fn work(mut self, jobs: &Receiver<Job>, settled: &Sender<Settlement>) {
        loop {
            let until = self.delivery.idle_until();
            let wait = until.map_or(WITHOUT, |until| {
                until.saturating_duration_since(Instant::now())
            });
            match jobs.recv_timeout(wait) {
                Ok(job) => {
                    let (fate, answer) = self.relay(&job);
                    self.say(&job.copy, fate, &answer);
                    // Who no longer listens learns it at the next start.
                    let _ = settled.send(job.settled(fate, answer));
                }
                Err(RecvTimeoutError::Timeout) => self.delivery.hang_up(),
                Err(RecvTimeoutError::Disconnected) => return self.delivery.hang_up(),
            }
        }
    }

    fn relay(&mut self, job: &Job) -> (Fate, String) {
        if let Some(why) = self.withdrawn(job) {
            return (Fate::Withdrawn, why.into());
        }
        if self.shared.is_paused() {
            return (
                Fate::Unreached,
                "the relay host is left alone for a while".into(),
            );
        }
        crash::point("relay-before-delivery");
        let copy = &job.copy;
        let outcome = self.delivery.deliver(&Mail {
            from: &copy.sender,
            to: &copy.recipients,
            message: copy.file.get(copy.begins..).unwrap_or_default(),
        });
        crash::point("relay-answered");
        self.shared.pause(self.pauses.after(&outcome));
        match outcome {
            Outcome::Accepted(answer) => (Fate::Accepted, answer),
            Outcome::Refused { text, .. } => (Fate::Refused, text),
            Outcome::Unreached(what) => (Fate::Unreached, what),
            Outcome::Unknown(what) => (Fate::Unknown, what),
        }
    }

    /// Why a job is not tried any more.
    fn withdrawn(&self, job: &Job) -> Option<&'static str> {
        if self.shared.stopped.load(Ordering::Relaxed) {
            return Some(STOPPING);
        }
        if job.window != self.shared.window.load(Ordering::Relaxed) {
            return Some(WINDOW_CLOSED);
        }
        self.switch.is_off().then_some("relaying was switched off")
    }

    fn say(&mut self, copy: &Outgoing, fate: Fate, answer: &str) {
        let (id, answer) = (&copy.id, escape::value(answer));
        if fate == Fate::Accepted {
            let recipients = copy.recipients.len();
            if let Some(held_back) = self.accepted.now() {
                log::info!(
                    "event=relay.accepted spam={id} recipients={recipients} answer={answer} \
                     held_back={held_back}"
                );
            }
        } else if let Some(held_back) = self.failed.now() {
            let fate = fate.as_str();
            log::warn!(
                "event=relay.failed spam={id} fate={fate} reason={answer} held_back={held_back}"
            );
        }
    }
}
