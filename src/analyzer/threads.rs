//! Threads: how they are started, what a panic in one does, and the one that heeds signals.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use super::patience::GaveUp;
use super::worker::{self, Digests, Gate};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::queue::Claim;

/// How the names of the workers' threads begin.
const WORKER: &str = "worker-";

/// What a thread came to. One that panicked took the process with it (see [`die_of_panics`]).
pub(super) fn joined<T>(thread: JoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// One a core.
pub(super) fn worker_count() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Starts a worker, which ends when there is no more work or nobody takes what it makes.
pub(super) fn spawn_worker(
    number: usize,
    work: &Receiver<Vec<Claim>>,
    results: &Sender<worker::Result>,
    digests: &Arc<Digests>,
    gate: &Arc<Gate>,
) -> io::Result<JoinHandle<()>> {
    let (work, results) = (work.clone(), results.clone());
    let (digests, gate) = (Arc::clone(digests), Arc::clone(gate));
    std::thread::Builder::new()
        .name(format!("{WORKER}{number}"))
        .spawn(move || {
            for claim in work.iter().flatten() {
                let result = worker::examine(claim, &digests, &gate);
                if results.send(result).is_err() {
                    return;
                }
            }
        })
}

/// Starts a thread of this name.
pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, GaveUp> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map_err(no_thread)
}

pub(super) fn no_thread(error: io::Error) -> GaveUp {
    GaveUp::TooLong(cannot_start(error))
}

pub(super) fn cannot_start(error: io::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("cannot start a thread: {error}"))
}

/// A panic's message may hold a stranger's bytes: say where it was, not what it says. A worker's
/// panic over a mail is caught; any other thread's ends the process, for the rest would wait for it
/// in vain: it is started again, and what was in work is tried alone.
pub(super) fn die_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic
            .location()
            .map_or_else(String::new, ToString::to_string);
        log::error!("event=panic at={at}");
        let thread = std::thread::current();
        if !thread.name().is_some_and(|name| name.starts_with(WORKER)) {
            std::process::abort();
        }
    }));
}

/// Sets `stop` at SIGTERM or SIGINT, checks the configuration at SIGHUP; runs on a thread of its
/// own.
pub fn heed_signals(config: &Config, stop: &Arc<AtomicBool>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut terminate, mut interrupt, mut hangup) = {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        )
    };
    let (config, stop) = (config.clone(), Arc::clone(stop));
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => break,
                        _ = interrupt.recv() => break,
                        _ = hangup.recv() => config.check_again(),
                    }
                }
            });
            stop.store(true, Ordering::Relaxed);
        })?;
    Ok(())
}
