//! What `systemctl status` shows of the analyzer: queue length, spams a minute, distinct spams, and why
//! sharing waits.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use crate::escape;
use crate::queue::Maildir;

/// How often the status is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Files counted at most: the queue's length must not cost more the longer it is.
pub const COUNT_MAX: usize = 100_000;

/// Characters of a reason told at most: a broker's words can be long, and a status that is too long is
/// not taken.
const REASON_MAX: usize = 200;

/// Why sharing waits, from the publisher's thread. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Sharing(Arc<Mutex<Option<String>>>);

impl Sharing {
    /// It waits, for this reason.
    pub fn waits(&self, reason: &dyn Display) {
        let reason = reason.to_string();
        let told = escape::line(&reason).chars().take(REASON_MAX).collect();
        self.set(Some(told));
    }

    /// It goes on.
    pub fn works(&self) {
        self.set(None);
    }

    fn set(&self, waits: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = waits;
    }

    /// How a status goes on.
    fn told(&self) -> String {
        let waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |reason| format!("; sharing waits: {reason}");
        waits.as_ref().map(told).unwrap_or_default()
    }
}

/// The last status told.
pub struct Status {
    maildir: Maildir,
    sharing: Sharing,
    told: Instant,
    counted: u64,
}

impl Status {
    /// Nothing told yet.
    pub fn new(maildir: Maildir, sharing: Sharing) -> Status {
        Status {
            maildir,
            sharing,
            told: Instant::now(),
            counted: 0,
        }
    }

    /// Tells the status when it is time.
    pub fn tell(&mut self, ledger: &Ledger) {
        let elapsed = self.told.elapsed();
        if elapsed < TELL_EVERY {
            return;
        }
        let counted = ledger.counted - self.counted;
        let rate = counted as f64 * 60.0 / elapsed.as_secs_f64();
        let queue = match self.maildir.count(COUNT_MAX) {
            Some(COUNT_MAX) => format!("more than {COUNT_MAX}"),
            Some(length) => length.to_string(),
            None => "unknown".into(),
        };
        let distinct = ledger.window().len();
        let sharing = self.sharing.told();
        let status =
            format!("queue {queue}, {rate:.0} spams a minute, {distinct} distinct{sharing}");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
        self.told = Instant::now();
        self.counted = ledger.counted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_while_it_lasts_on_one_short_line() {
        let publisher = Sharing::default();
        let status = publisher.clone();
        assert_eq!(status.told(), "");
        publisher.waits(&"b:1: refuses\nus");
        assert_eq!(status.told(), "; sharing waits: b:1: refuses us");
        publisher.waits(&"x".repeat(10_000));
        assert_eq!(status.told().matches('x').count(), REASON_MAX);
        publisher.works();
        assert_eq!(status.told(), "");
    }
}
