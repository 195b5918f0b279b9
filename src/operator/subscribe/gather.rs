//! The thread that adds received records to the main store of this machine.
//!
//! Records gather for a moment and go in together ([`Gathering`]). A database that is away is waited
//! for, with the records in memory, up to a bound; then whoever hands records over waits, too. A record
//! that the database refuses for what it is, is found by halves, said and left out.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queue::{Next, Offered, Queue};
use super::rarely::Rarely;
use super::stop::Stop;
use super::{LOOK_EVERY, say, spawn};
use crate::analyzer::stores;
use crate::config::Config;
use crate::correlation::gathering::{Gathering, Published};
use crate::exit::{Exit, Failure};
use crate::hpfeeds::Message;
use crate::parsed::ParsedSpam;
use crate::sameness::Rule;
use crate::store::{Engine, Result, StoreErrorKind};

/// Bytes of records that may wait for those under way.
const QUEUE_MAX: usize = 48 << 20;

/// Records, and bytes of them, that go in together.
const TOGETHER: usize = 500;
const TOGETHER_BYTES: usize = 16 << 20;

/// How long records gather.
const GATHER_FOR: Duration = Duration::from_secs(2);

/// The pause after a failure of the database, doubled each time up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MOST: Duration = Duration::from_secs(10);

/// A record, and the bytes of its payload.
type Waiting = (Published, usize);

/// Hands records over to the thread.
pub(super) struct Gatherer {
    queue: Arc<Queue<Waiting>>,
    stop: Stop,
    /// Who publishes what this machine's own analyzer found.
    own: Option<String>,
    thread: JoinHandle<u64>,
    /// Records that were received and could not be handed over.
    lost: u64,
}

impl Gatherer {
    /// Starts the thread, with an index over the main store. A database that is away is waited for; one
    /// that is none is a failure.
    pub(super) fn start(config: &Config, stop: &Stop) -> std::result::Result<Gatherer, Failure> {
        let queue = Arc::new(Queue::new(QUEUE_MAX));
        let mut storing = Storing {
            queue: Arc::clone(&queue),
            stop: stop.clone(),
            stores: stores(config),
            rule: config.analyzer.rule,
            gathering: None,
            away: Rarely::default(),
        };
        match storing.stores.prepare().and_then(|()| storing.take_in(&[])) {
            Err(error) if error.kind == StoreErrorKind::Unavailable => say(&format!(
                "{error}; records wait in memory until the database is there"
            )),
            other => other?,
        }
        let hpfeeds = &config.hpfeeds;
        Ok(Gatherer {
            queue,
            stop: stop.clone(),
            own: hpfeeds.enabled.then(|| hpfeeds.ident.clone()),
            thread: spawn("gather", move || storing.run())?,
            lost: 0,
        })
    }

    /// Hands a record over, once there is room for it. What was published by this machine's own
    /// analyzer is in the store.
    pub(super) fn add(&mut self, message: &Message, record: &ParsedSpam) {
        if self.own.as_ref() == Some(&message.ident) {
            return;
        }
        let Some(published) = Published::new(&message.payload, record) else {
            self.lost += 1;
            return;
        };
        let bytes = message.payload.len();
        let mut offered = self.queue.offer((published, bytes), bytes, LOOK_EVERY);
        while let Offered::Full(waiting) = offered {
            if self.stop.is_set() {
                self.lost += 1;
                return;
            }
            offered = self.queue.offer(waiting, bytes, LOOK_EVERY);
        }
    }

    /// Waits until what was handed over is in the store, or was tried a last time.
    pub(super) fn finish(self) -> std::result::Result<(), Failure> {
        self.queue.close();
        let lost = self.lost + self.thread.join().unwrap_or(0);
        if lost == 0 {
            return Ok(());
        }
        let what = format!("{lost} records were received and are not in the main store");
        Err(Failure::new(Exit::Unavailable, what))
    }
}

/// The thread's work.
struct Storing {
    queue: Arc<Queue<Waiting>>,
    stop: Stop,
    stores: Box<dyn Engine>,
    rule: Rule,
    /// `None` before the first success and after a failure.
    gathering: Option<Gathering>,
    away: Rarely,
}

impl Storing {
    /// Stores what comes until nothing will come; returns how many records were not stored.
    fn run(mut self) -> u64 {
        let mut lost = 0;
        while let Some(together) = self.together() {
            lost += self.store(&together);
        }
        lost
    }

    /// What goes in together; `None` when nothing will come.
    fn together(&self) -> Option<Vec<Published>> {
        let (first, mut bytes) = loop {
            match self.queue.next(LOOK_EVERY) {
                Next::Item(first) => break first,
                Next::Nothing => {}
                Next::Closed => return None,
            }
        };
        let deadline = Instant::now() + GATHER_FOR;
        let mut together = vec![first];
        while together.len() < TOGETHER && bytes < TOGETHER_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.queue.next(left) {
                Next::Item((published, more)) => {
                    together.push(published);
                    bytes += more;
                }
                Next::Nothing | Next::Closed => break,
            }
        }
        Some(together)
    }

    /// Stores these, however often that has to be tried; returns how many were not stored.
    fn store(&mut self, together: &[Published]) -> u64 {
        let mut pause = PAUSE_FIRST;
        loop {
            let Err(error) = self.take_in(together) else {
                if self.away.over().is_some() {
                    say("the database is there again");
                }
                return 0;
            };
            match (error.kind, together) {
                (StoreErrorKind::Refused, [one]) => {
                    let id = &one.record.record.known.id;
                    say(&format!("the record {id} is left out: {error}"));
                    return 1;
                }
                (StoreErrorKind::Refused, several) => {
                    let (left, right) = several.split_at(several.len() / 2);
                    return self.store(left) + self.store(right);
                }
                _ if self.stop.is_set() => return together.len() as u64,
                _ => {}
            }
            if self.away.happened(Instant::now()) {
                say(&format!(
                    "{error}; records wait in memory until the database is there"
                ));
            }
            self.stop.sleep(pause);
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }

    fn take_in(&mut self, together: &[Published]) -> Result<()> {
        let mut gathering = match self.gathering.take() {
            Some(gathering) => gathering,
            None => Gathering::new(self.rule, self.stores.main()?),
        };
        let taken = gathering.take_in(together);
        // After a failure of the database with a fresh connection and a fresh index.
        if !matches!(&taken, Err(error) if error.kind != StoreErrorKind::Refused) {
            self.gathering = Some(gathering);
        }
        taken.map(drop)
    }
}
