//! Log lines for operators: one line an event, `key=value`, a stranger's bytes escaped.
//!
//! To standard error by default, each line led by its syslog priority (`<6>`) when the journal
//! reads it, or to syslog by `[global] log : syslog`. Nothing is logged for a single message:
//! what a flood can multiply is counted and said once a minute.

use std::io::Write;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::LogTarget;
use crate::exit::{Exit, Failure};
use crate::timestamp::Timestamp;

/// Starts logging.
pub fn start(target: LogTarget) -> Result<(), Failure> {
    match target {
        LogTarget::Stderr => {
            let journal = std::env::var_os("JOURNAL_STREAM").is_some();
            let _ = log::set_boxed_logger(Box::new(Stderr { journal }));
            log::set_max_level(LevelFilter::Info);
            Ok(())
        }
        LogTarget::Syslog => syslog::init_unix(syslog::Facility::LOG_MAIL, LevelFilter::Info)
            .map_err(|error| {
                Failure::new(
                    Exit::Unavailable,
                    format!("cannot log to syslog: {error}; start a syslog service, or set [global] log : stderr"),
                )
            }),
    }
}

/// How often an event that a stranger can repeat is said.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Holds back an event that may come a thousand times a second: the first is said at once, then
/// one a minute with the number of those held back.
#[derive(Debug, Default)]
pub struct Rarely {
    said: Option<Instant>,
    held_back: u64,
}

impl Rarely {
    /// Counts the event; when it is to be said, how many were held back since the last time.
    pub fn now(&mut self) -> Option<u64> {
        if self.said.is_some_and(|at| at.elapsed() < SAY_EVERY) {
            self.held_back += 1;
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.held_back))
    }
}

struct Stderr {
    journal: bool,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (priority, word) = match record.level() {
            Level::Error => (3, "error"),
            Level::Warn => (4, "warning"),
            _ => (6, "info"),
        };
        let mut stderr = std::io::stderr().lock();
        let _ = if self.journal {
            writeln!(stderr, "<{priority}>{}", record.args())
        } else {
            writeln!(stderr, "{} {word} {}", Timestamp::now(), record.args())
        };
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_events_is_said_once() {
        let mut rarely = Rarely::default();
        assert_eq!(rarely.now(), Some(0));
        assert_eq!(rarely.now(), None);
        assert_eq!(rarely.now(), None);
        assert_eq!(rarely.held_back, 2);
    }
}
