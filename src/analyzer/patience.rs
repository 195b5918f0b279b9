//! Waiting for a neighbour: again and again with growing pauses, said once and then rarely.
//!
//! A service waits for ever, or until it is stopped. `--once` waits [`ONCE_LIMIT`] and gives up. Where
//! waiting is no use ([`Passing`]), both end.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::escape;
use crate::exit::{Exit, Failure};
use crate::store::{StoreError, StoreErrorKind};
use crate::watchdog;

/// How long `--once` waits for a neighbour.
pub const ONCE_LIMIT: Duration = Duration::from_secs(30);

/// The first pause, doubled each time.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MOST: Duration = Duration::from_secs(10);

/// How often an outage that goes on is said again.
const SAY_EVERY: Duration = Duration::from_secs(300);

/// A failure that may pass by itself.
pub trait Passing: Display {
    /// False where no waiting helps.
    fn passes(&self) -> bool {
        true
    }
}

impl Passing for io::Error {}

impl Passing for StoreError {
    /// What another analyzer has, or has written to, is not what we hold in memory: a new start
    /// looks again.
    fn passes(&self) -> bool {
        self.kind != StoreErrorKind::Taken
    }
}

/// Why waiting ended without what was waited for.
#[derive(Debug)]
pub enum GaveUp {
    /// The process was told to stop.
    Stopped,
    /// The limit passed, or waiting is no use.
    TooLong(Failure),
}

/// How to wait. Clones share the order to stop.
#[derive(Clone, Debug)]
pub struct Patience {
    stop: Arc<AtomicBool>,
    limit: Option<Duration>,
}

impl Patience {
    /// Waits until `stop`, or `limit` for each wait.
    pub fn new(stop: Arc<AtomicBool>, limit: Option<Duration>) -> Patience {
        Patience { stop, limit }
    }

    /// Whether the process was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells everybody who shares this patience to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How long a wait may be; `None` for ever.
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Tries until it succeeds. `neighbour` names what is waited for in the log.
    pub fn until<T, E: Passing>(
        &self,
        neighbour: &str,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, GaveUp> {
        let began = Instant::now();
        let mut said: Option<Instant> = None;
        let mut pause = PAUSE_FIRST;
        loop {
            let error = match attempt() {
                Ok(value) => {
                    if said.is_some() {
                        let seconds = began.elapsed().as_secs();
                        log::warn!("event={neighbour}.back after_seconds={seconds}");
                    }
                    return Ok(value);
                }
                Err(error) if !error.passes() => {
                    let failure = Failure::new(Exit::Unavailable, error.to_string());
                    return Err(GaveUp::TooLong(failure));
                }
                Err(error) => error.to_string(),
            };
            if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
                let reason = escape::value(&error);
                log::error!("event={neighbour}.away reason={reason} action=waiting");
                let status = format!("waiting for {neighbour}: {}", escape::line(&error));
                // Started, if not at work: a service that waits has not failed.
                let ready = sd_notify::NotifyState::Ready;
                let _ = sd_notify::notify(&[ready, sd_notify::NotifyState::Status(&status)]);
                said = Some(Instant::now());
            }
            if self.limit.is_some_and(|limit| began.elapsed() >= limit) {
                let message = format!("{error}; all is kept, and the next run goes on");
                return Err(GaveUp::TooLong(Failure::new(Exit::Unavailable, message)));
            }
            self.pause(pause)?;
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }

    fn pause(&self, pause: Duration) -> Result<(), GaveUp> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.is_stopped() {
                return Err(GaveUp::Stopped);
            }
            watchdog::still_alive();
            std::thread::sleep(Duration::from_millis(50).min(pause));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Passing for &str {}

    #[test]
    fn what_another_analyzer_has_is_not_waited_for() {
        let patience = Patience::new(Arc::default(), None);
        let taken = StoreError {
            kind: StoreErrorKind::Taken,
            what: "another one has it".into(),
        };
        let gave_up = patience.until("test", || Err::<(), _>(taken.clone()));
        assert!(
            matches!(gave_up, Err(GaveUp::TooLong(failure)) if failure.exit == Exit::Unavailable)
        );
    }

    #[test]
    fn waits_until_it_succeeds() {
        let patience = Patience::new(Arc::default(), None);
        let mut tries = 0;
        let result = patience.until("test", || {
            tries += 1;
            if tries < 3 { Err("not yet") } else { Ok(tries) }
        });
        assert_eq!(result.unwrap(), 3);
    }

    #[test]
    fn gives_up_at_the_limit_and_when_stopped() {
        let limited = Patience::new(Arc::default(), Some(Duration::ZERO));
        let gave_up = limited.until("test", || Err::<(), _>("no")).unwrap_err();
        assert!(matches!(gave_up, GaveUp::TooLong(failure) if failure.exit == Exit::Unavailable));
        let stopped = Patience::new(Arc::new(AtomicBool::new(true)), None);
        let gave_up = stopped.until("test", || Err::<(), _>("no")).unwrap_err();
        assert!(matches!(gave_up, GaveUp::Stopped));
    }
}
