//! The analyzer: the service that takes spam out of the queue and finds the distinct ones.
//!
//! Threads, and what goes between them:
//!
//! ```text
//! intake ──claims──> workers ──examined──> ledger (this thread) ──closed windows──> correlation
//!    ^                                       │                                           │
//!    └───────── done, undone ────────────────┼──committed files──> sweep                 │ released
//!                                            └──copies with slots──> relay               v
//!                                                                                    publisher
//! ```
//!
//! The ledger alone decides and commits ([`ledger`]). At SIGTERM what is in work is finished and
//! committed, the window is kept open. A panic in any thread but a worker ends the process. `--once`
//! analyses everything in the queue, waits for the relay host's answers, closes the window, waits for
//! its correlation and ends.

mod feed;
pub mod ledger;
pub mod patience;
mod publishing;
pub mod recovery;
mod resume;
mod status;
pub mod sweep;
mod taking_in;
mod threads;
pub mod worker;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::config::{self, Config};
use crate::exit::Failure;
use crate::notification::{self, Mailer, disk};
use crate::queue::Maildir;
use crate::relay::KnownProbes;
use crate::store::Engine;
use crate::store::mysql::Mysql;
use crate::store::sqlite::Sqlite;
use crate::timestamp::Timestamp;
use crate::watchdog;
use ledger::Ledger;
use patience::{GaveUp, ONCE_LIMIT, Patience};
use publishing::{Publishing, Sharing};
use status::Status;
use taking_in::TakingIn;
pub use threads::heed_signals;
use threads::{cannot_start, die_of_panics, joined, no_thread, spawn, spawn_worker, worker_count};
use worker::{Digests, Gate};

/// Examined messages that may wait for the ledger.
const EXAMINED_MAX: usize = 4096;

/// How long the ledger waits for more before it commits what it has.
const LINGER: Duration = Duration::from_millis(20);

/// How long the ledger waits when it has nothing.
const IDLE: Duration = Duration::from_millis(200);

/// How long a service that stops waits for the answer to the delivery under way.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Runs the analyzer until `stop` is set, or with `once` until the queue is empty and the window
/// taken in.
pub fn run(config: &Config, once: bool, stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    die_of_panics();
    let send = notification::through(&config.relay);
    let mailer = Mailer::start(&config.notification, &config.queuepath, send);
    let (notifier, mailer) = mailer.map_err(cannot_start)?;
    let patience = Patience::new(Arc::clone(stop), once.then_some(ONCE_LIMIT));
    let patience = patience.with_notifier(notifier);
    let result = Analyzer::start(config, once, &patience).and_then(Analyzer::work);
    if let Some(mailer) = mailer {
        mailer.finish();
    }
    match result {
        Ok(()) | Err(GaveUp::Stopped) => Ok(()),
        Err(GaveUp::TooLong(failure)) => Err(failure),
    }
}

/// The stores of a configuration. Nothing is opened yet.
pub fn stores(config: &Config) -> Box<dyn Engine> {
    let database = &config.database;
    match database.engine {
        config::Engine::Sqlite => Box::new(Sqlite::new(&database.path, database.localdb)),
        config::Engine::Mysql => Box::new(Mysql::new(database.server.clone())),
    }
}

struct Analyzer {
    once: bool,
    patience: Patience,
    ledger: Ledger,
    window_length: Duration,
    /// Since when we have had the open window.
    window_seen: Instant,
    examined: Receiver<worker::Result>,
    gate: Arc<Gate>,
    closed: Sender<()>,
    status: Status,
    disks: disk::Watch,
    intake: JoinHandle<Result<(), GaveUp>>,
    workers: Vec<JoinHandle<()>>,
    correlation: JoinHandle<Result<(), GaveUp>>,
    publishing: Option<JoinHandle<Result<(), GaveUp>>>,
}

impl Analyzer {
    fn start(config: &Config, once: bool, patience: &Patience) -> Result<Analyzer, GaveUp> {
        let stores: Arc<dyn Engine> = stores(config).into();
        let rule = config.analyzer.rule;
        let maildir = patience.until("queue", || Maildir::open(&config.queuepath))?;
        let intake = feed::open(&maildir, patience)?;
        let known = KnownProbes::default();
        let (settled, back) = unbounded();
        let ledger = resume::resume(config, stores.as_ref(), &maildir, &known, settled, patience)?;
        let digests = Arc::new(Digests::default());
        let (claims, work) = bounded(4);
        let (results, examined) = bounded(EXAMINED_MAX);
        let (closed, windows_closed) = unbounded();
        let gate = Arc::new(Gate::default());
        let workers = (0..worker_count())
            .map(|n| spawn_worker(n, &work, &results, &digests, &gate))
            .collect::<io::Result<Vec<_>>>()
            .map_err(no_thread)?;
        drop((work, results));
        let owned = patience.clone();
        let intake = spawn("intake", move || {
            feed::run(intake, once, &owned, claims, &back)
        })?;
        let sharing = Sharing::of(config, patience)?;
        let (released, windows_released) = unbounded();
        let told = status::Sharing::default();
        let publisher = sharing.publisher(config.hpfeeds.broker());
        let publishing = publisher
            .map(|publisher| {
                let (owned, stores) = (patience.clone(), Arc::clone(&stores));
                let told = told.clone();
                spawn("publisher", move || {
                    Publishing::new(publisher, stores.as_ref(), &owned, told).run(&windows_released)
                })
            })
            .transpose()?;
        let owned = patience.clone();
        let correlation = spawn("correlation", move || {
            let taking_in = TakingIn {
                stores: stores.as_ref(),
                rule,
                sharing,
                known,
                released,
            };
            taking_in.run(&owned, &windows_closed)
        })?;
        Ok(Analyzer {
            once,
            patience: patience.clone(),
            window_length: Duration::from_secs(60 * config.analyzer.schedulertime),
            window_seen: Instant::now(),
            ledger,
            examined,
            gate,
            closed,
            status: Status::new(maildir, told),
            disks: disk::Watch::new(directories(config)),
            intake,
            workers,
            correlation,
            publishing,
        })
    }

    /// The ledger's loop, until the workers have nothing more.
    fn work(mut self) -> Result<(), GaveUp> {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let window = self.ledger.window();
        let (number, distinct) = (window.number(), window.len());
        log::info!("event=analyzer.started window={number} distinct={distinct}");
        let _ = self.closed.send(()); // what waits from before
        let result = self.enter_all();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.finish(result)
    }

    fn enter_all(&mut self) -> Result<(), GaveUp> {
        loop {
            let wait = if self.ledger.is_empty() { IDLE } else { LINGER };
            match self.examined.recv_timeout(wait) {
                Ok(result) => {
                    let busy = watchdog::busy();
                    let alone = result.claim.alone;
                    self.gate.leave(result.bytes);
                    self.ledger.enter(result)?;
                    // A disk or database that is slow is no reason to start anew.
                    drop(busy);
                    if alone || self.ledger.is_due() {
                        self.ledger.commit()?;
                    }
                    if alone {
                        self.ledger.swept()?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.ledger.commit()?;
                    self.ledger.swept()?;
                    self.ledger.keep()?;
                }
                Err(RecvTimeoutError::Disconnected) => return self.ledger.commit(),
            }
            self.settle_relays()?;
            if !self.once {
                self.close_when_due()?;
            }
            self.status.tell(&self.ledger);
            self.disks.look(self.patience.notifier());
        }
    }

    fn close_when_due(&mut self) -> Result<(), GaveUp> {
        let opened = self.ledger.window().opened();
        // By our own clock, too: the machine's may have been set back since.
        let age = Timestamp::now()
            .since(opened)
            .max(self.window_seen.elapsed());
        if age >= self.window_length {
            self.close_window()?;
        }
        Ok(())
    }

    fn close_window(&mut self) -> Result<(), GaveUp> {
        self.ledger.close_window()?;
        self.window_seen = Instant::now();
        let _ = self.closed.send(());
        Ok(())
    }

    /// Writes what the relay host answered; a window that waited for it can be taken in.
    fn settle_relays(&mut self) -> Result<(), GaveUp> {
        if self.ledger.settle_relays()? {
            let _ = self.closed.send(());
        }
        Ok(())
    }

    /// Ends the threads; with `--once` closes the window and waits until it is taken in.
    fn finish(mut self, entered: Result<(), GaveUp>) -> Result<(), GaveUp> {
        // Nobody takes results any more: the workers end.
        self.gate.open_wide();
        drop(self.examined);
        let close = self.once && !self.patience.is_stopped() && entered.is_ok();
        let result = entered
            .and_then(|()| self.ledger.forget_files())
            .and_then(|()| finish_relays(&mut self.ledger, close));
        let counted = self.ledger.counted;
        let close = close && result.is_ok();
        if result.is_err() {
            // Nothing the intake waits for will come.
            self.patience.stop();
        }
        // The intake hears the last of the ledger when the ledger is gone.
        let mut ledger = self.ledger;
        ledger.hang_up();
        let fed = joined(self.intake);
        self.workers.into_iter().for_each(joined);
        result.and(fed)?;
        if close {
            ledger.close_window()?;
            let _ = self.closed.send(());
        }
        drop(self.closed);
        let publishes = self.publishing.as_ref();
        while !self.correlation.is_finished() || publishes.is_some_and(|p| !p.is_finished()) {
            ledger.keep()?;
            std::thread::sleep(LINGER);
        }
        let taken = joined(self.correlation);
        let published = self.publishing.map_or(Ok(()), joined);
        log::info!("event=analyzer.stopped messages={counted}");
        taken.and(published)
    }
}

/// Where the analyzer writes.
fn directories(config: &Config) -> Vec<PathBuf> {
    let paths = &config.analyzer;
    let mut directories = vec![
        config.queuepath.clone(),
        paths.undeliverable_path.clone(),
        paths.rawspampath.clone(),
        paths.attachpath.clone(),
        paths.inlinepath.clone(),
    ];
    if config.database.engine == config::Engine::Sqlite {
        directories.push(config.database.path.clone());
    }
    directories
}

/// Waits for the relay host's last answers; a service that stops lets what waits come back untried.
fn finish_relays(ledger: &mut Ledger, all: bool) -> Result<(), GaveUp> {
    if !all {
        ledger.stop_relays();
    }
    ledger.finish_relays((!all).then_some(LAST_ANSWERS))
}
