//! Waiting for a neighbour: again and again with growing pauses, said once and then rarely.
//!
//! A service waits for ever, or until it is stopped. `--once` waits [`ONCE_LIMIT`] and gives up.
//! Where waiting is no use ([`Passing`]), both end. A database that is away for five minutes is
//! reported to a person, and again every five minutes.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::escape;
use crate::exit::{Exit, Failure};
use crate::notification::{Kind, Notifier};
use crate::store::{StoreError, StoreErrorKind};
use crate::timestamp::Timestamp;
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

/// An outage, if there is one, and when it was said.
#[derive(Debug)]
struct Outage {
    since: Timestamp,
    said: Option<Instant>,
}

/// How an outage is said now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saying {
    First,
    Again,
}

impl Outage {
    fn since(since: Timestamp) -> Outage {
        Outage { since, said: None }
    }

    fn saying(&mut self, now: Instant) -> Option<Saying> {
        let saying = match self.said {
            None => Saying::First,
            Some(at) if now.saturating_duration_since(at) >= SAY_EVERY => Saying::Again,
            Some(_) => return None,
        };
        self.said = Some(now);
        Some(saying)
    }
}

/// How to wait. Clones share the order to stop.
#[derive(Clone, Debug)]
pub struct Patience {
    stop: Arc<AtomicBool>,
    limit: Option<Duration>,
    notifier: Notifier,
}

impl Patience {
    /// Waits until `stop`, or `limit` for each wait.
    pub fn new(stop: Arc<AtomicBool>, limit: Option<Duration>) -> Patience {
        Patience {
            stop,
            limit,
            notifier: Notifier::off(),
        }
    }

    /// Reports a database that is away, each time it is said again.
    pub fn with_notifier(self, notifier: Notifier) -> Patience {
        Patience { notifier, ..self }
    }

    /// Who is told what needs a person.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
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
        let mut outage = Outage::since(Timestamp::now());
        let mut pause = PAUSE_FIRST;
        loop {
            let error = match watchdog::waiting(&mut attempt) {
                Ok(value) => {
                    if outage.said.is_some() {
                        let seconds = began.elapsed().as_secs();
                        log::warn!("event={neighbour}.back after_seconds={seconds}");
                    }
                    return Ok(value);
                }
                Err(error) if !error.passes() => {
                    let failure = Failure::new(Exit::Unavailable, error.to_string());
                    return Err(GaveUp::TooLong(failure));
                }
                Err(_) if self.is_stopped() => return Err(GaveUp::Stopped),
                Err(error) => error.to_string(),
            };
            if let Some(saying) = outage.saying(Instant::now()) {
                self.say(neighbour, &error, saying, outage.since);
            }
            if self.limit.is_some_and(|limit| began.elapsed() >= limit) {
                let message = format!("{error}; all is kept, and the next run goes on");
                return Err(GaveUp::TooLong(Failure::new(Exit::Unavailable, message)));
            }
            self.pause(pause)?;
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }

    fn say(&self, neighbour: &str, error: &str, saying: Saying, since: Timestamp) {
        let reason = escape::value(error);
        log::error!("event={neighbour}.away reason={reason} action=waiting");
        let status = format!("waiting for {neighbour}: {}", escape::line(error));
        // Started, if not at work: a service that waits has not failed.
        let ready = sd_notify::NotifyState::Ready;
        let _ = sd_notify::notify(&[ready, sd_notify::NotifyState::Status(&status)]);
        if (neighbour, saying) == ("database", Saying::Again) {
            let detail = format!("since {}: {error}", since.rfc3339_seconds());
            self.notifier.report(Kind::DatabaseGone, &detail);
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
    fn an_outage_is_said_at_once_and_then_every_five_minutes() {
        let began = Instant::now();
        let mut outage = Outage::since(Timestamp::now());
        for (seconds, saying) in [
            (0, Some(Saying::First)),
            (1, None),
            (299, None),
            (300, Some(Saying::Again)),
            (599, None),
            (601, Some(Saying::Again)),
        ] {
            let now = began + Duration::from_secs(seconds);
            assert_eq!(outage.saying(now), saying, "after {seconds} s");
        }
    }

    #[test]
    fn only_a_database_that_is_away_for_long_needs_a_person() {
        let (notifier, heard) = Notifier::to_channel();
        let patience = Patience::new(Arc::default(), None).with_notifier(notifier);
        for (neighbour, saying, reports) in [
            ("database", Saying::First, 0),
            ("queue", Saying::Again, 0),
            ("database", Saying::Again, 1),
            ("database", Saying::Again, 1),
        ] {
            let since = Timestamp::from_seconds(1_800_000_000, 0);
            patience.clone().say(neighbour, "no answer", saying, since);
            let heard: Vec<_> = heard.try_iter().collect();
            assert_eq!(heard.len(), reports, "{neighbour} {saying:?}");
            for report in heard {
                assert_eq!(report.kind, Kind::DatabaseGone);
                assert_eq!(report.detail, "since 2027-01-15T08:00:00Z: no answer");
            }
        }
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
