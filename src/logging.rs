//! Log lines for operators: one line an event, `key=value`, a stranger's bytes escaped.
//!
//! To standard error by default, each line led by its syslog priority (`<6>`) when the journal
//! reads it, or to syslog by `[global] log : syslog`. Nothing is logged for a single message:
//! what a flood can multiply is counted and said once a minute.

use std::io::Write;

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
