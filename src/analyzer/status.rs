//! What `systemctl status` shows of the analyzer: queue length, spams a minute, distinct spams.

use std::time::{Duration, Instant};

use super::ledger::Ledger;
use crate::queue::Maildir;

/// How often the status is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Files counted at most: the queue's length must not cost more the longer it is.
pub const COUNT_MAX: usize = 100_000;

/// The last status told.
pub struct Status {
    maildir: Maildir,
    told: Instant,
    counted: u64,
}

impl Status {
    /// Nothing told yet.
    pub fn new(maildir: Maildir) -> Status {
        Status {
            maildir,
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
        let status = format!("queue {queue}, {rate:.0} spams a minute, {distinct} distinct");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
        self.told = Instant::now();
        self.counted = ledger.counted;
    }
}
