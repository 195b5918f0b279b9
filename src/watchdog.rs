//! systemd's watchdog: a service is alive while no thread of it is stuck.
//!
//! A thread says with [`busy`] that it does something that must end: examines a message, enters it,
//! serves connections. While it waits for work it is not busy, nor while it writes to a disk or a
//! database ([`waiting`]): these may be slow, and to start anew would not mend them. While it waits
//! for a neighbour in between it says that it is alive ([`still_alive`]).
//!
//! A thread of its own tells systemd that all is well, four times in the time that `WatchdogSec=`
//! gives, unless some thread has been busy with one thing for half of that time: then it names it
//! in the log and is silent, and systemd starts the service anew. A message that a parser never
//! finishes is so found, tried alone, and set aside (`queue::work`).

use std::cell::OnceCell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::escape;

/// What busy threads are measured against.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The threads that were busy at some time.
static THREADS: Mutex<Vec<Arc<Mark>>> = Mutex::new(Vec::new());

thread_local! {
    static MARK: OnceCell<Arc<Mark>> = const { OnceCell::new() };
}

/// Milliseconds after [`START`], at least 1, from which a thread is busy; 0 while it is not.
#[derive(Debug)]
struct Mark {
    thread: String,
    since: AtomicU64,
}

/// The thread is busy until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Busy(Arc<Mark>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.since.store(0, Ordering::Relaxed);
    }
}

/// The thread begins something that must end.
pub fn busy() -> Busy {
    let mark = MARK.with(|mark| Arc::clone(mark.get_or_init(register)));
    mark.since.store(now(), Ordering::Relaxed);
    Busy(mark)
}

/// The thread is busy with the next step, or waits for a neighbour and knows it.
pub fn still_alive() {
    MARK.with(|mark| {
        if let Some(mark) = mark.get()
            && mark.since.load(Ordering::Relaxed) != 0
        {
            mark.since.store(now(), Ordering::Relaxed);
        }
    });
}

/// Does what may take as long as a disk or a neighbour takes: meanwhile the thread is not busy.
pub fn waiting<T>(work: impl FnOnce() -> T) -> T {
    let since = |now: u64| {
        MARK.with(|mark| {
            let swap = |mark: &Arc<Mark>| mark.since.swap(now, Ordering::Relaxed);
            mark.get().map_or(0, swap)
        })
    };
    let was_busy = since(0) != 0;
    let result = work();
    if was_busy {
        since(now());
    }
    result
}

fn register() -> Arc<Mark> {
    let thread = std::thread::current().name().unwrap_or("?").to_owned();
    let mark = Arc::new(Mark {
        thread,
        since: AtomicU64::new(0),
    });
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    threads.push(Arc::clone(&mark));
    mark
}

fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).map_or(u64::MAX, |now| now + 1)
}

/// The threads that have been busy with one thing for this long at that moment.
fn stuck(now: u64, limit: Duration) -> Vec<String> {
    let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let is_stuck = |mark: &&Arc<Mark>| {
        let since = mark.since.load(Ordering::Relaxed);
        since != 0 && now.saturating_sub(since) >= limit
    };
    let stuck = threads.iter().filter(is_stuck);
    stuck.map(|mark| mark.thread.clone()).collect()
}

/// Begins to tell systemd that the service is alive, if systemd wants to hear it.
pub fn start() -> io::Result<()> {
    LazyLock::force(&START);
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return Ok(());
    };
    let watch = move || {
        let mut silent = false;
        loop {
            match stuck(now(), limit / 2).into_iter().next() {
                None => {
                    silent = false;
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
                Some(thread) if !silent => {
                    silent = true;
                    let (thread, seconds) = (escape::value(&thread), limit.as_secs_f64() / 2.0);
                    log::error!(
                        "event=watchdog.stuck thread={thread} seconds={seconds:.0} \
                         action=\"systemd starts the service anew\""
                    );
                }
                Some(_) => {}
            }
            std::thread::sleep(limit / 4);
        }
    };
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(watch)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_stuck_when_it_is_busy_with_one_thing_for_too_long() {
        let limit = Duration::from_secs(3600);
        let body = move || {
            let hour = 3_600_000;
            let is_stuck = |now| stuck(now, limit).iter().any(|thread| thread == "slow");
            let began = now();
            let busy = busy();
            assert!(!is_stuck(began + hour - 1));
            assert!(is_stuck(now() + hour));
            assert!(waiting(|| !is_stuck(now() + hour)), "it waits for the disk");
            assert!(is_stuck(now() + hour), "and goes on");
            while now() == began {
                std::thread::yield_now();
            }
            still_alive();
            assert!(!is_stuck(began + hour), "it said that it is alive");
            assert!(is_stuck(now() + hour));
            drop(busy);
            still_alive();
            waiting(|| ());
            assert!(!is_stuck(now() + hour), "it waits for work");
        };
        let thread = std::thread::Builder::new().name("slow".into());
        thread.spawn(body).unwrap().join().unwrap();
    }
}
