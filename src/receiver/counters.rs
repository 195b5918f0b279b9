//! What the receiver took, and which limits were met, said once a minute and not once a message: a
//! flood must not fill the disk with log lines.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::Turned;
use crate::smtp::Met;

/// Counters since the last line.
#[derive(Debug, Default)]
pub struct Counters {
    sessions: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    not_kept: AtomicU64,
    logins: AtomicU64,
    logged_in: AtomicU64,
    tls: AtomicU64,
    tls_failed: AtomicU64,
    refused: AtomicU64,
    limits: LimitCounters,
}

/// How often each limit was met.
#[derive(Debug, Default)]
struct LimitCounters {
    full: AtomicU64,
    address_full: AtomicU64,
    no_memory: AtomicU64,
    timeouts: AtomicU64,
    closed: AtomicU64,
    long_lines: AtomicU64,
    recipients: AtomicU64,
    too_big: AtomicU64,
    no_room: AtomicU64,
}

impl LimitCounters {
    fn all(&self) -> [(&'static str, &AtomicU64); 9] {
        [
            ("full", &self.full),
            ("address_full", &self.address_full),
            ("no_memory", &self.no_memory),
            ("timeouts", &self.timeouts),
            ("closed", &self.closed),
            ("long_lines", &self.long_lines),
            ("recipients", &self.recipients),
            ("too_big", &self.too_big),
            ("no_room", &self.no_room),
        ]
    }
}

fn add(counter: &AtomicU64, times: u64) {
    counter.fetch_add(times, Ordering::Relaxed);
}

fn take(counter: &AtomicU64) -> u64 {
    counter.swap(0, Ordering::Relaxed)
}

impl Counters {
    /// A session began.
    pub fn session(&self) {
        add(&self.sessions, 1);
    }

    /// A client was turned away.
    pub fn turned(&self, why: Turned) {
        add(&self.refused, 1);
        let limit = match why {
            Turned::Full => &self.limits.full,
            Turned::AddressFull => &self.limits.address_full,
            Turned::NoMemory => &self.limits.no_memory,
        };
        add(limit, 1);
    }

    /// A session was ended for its silence or slowness.
    pub fn timed_out(&self) {
        add(&self.limits.timeouts, 1);
    }

    /// A session met limits of its own.
    pub fn met(&self, met: Met) {
        add(&self.limits.long_lines, met.lines);
        add(&self.limits.recipients, met.recipients);
        add(&self.limits.too_big, met.sizes);
        add(&self.limits.no_room, met.shortages);
        add(&self.limits.closed, met.closed);
    }

    /// A message of so many bytes was kept.
    pub fn kept(&self, bytes: u64) {
        add(&self.messages, 1);
        add(&self.bytes, bytes);
    }

    /// A message could not be kept, and its sender was told so.
    pub fn not_kept(&self) {
        add(&self.not_kept, 1);
    }

    /// Somebody tried to log in, and got in or not.
    pub fn login(&self, accepted: bool) {
        add(&self.logins, 1);
        add(&self.logged_in, u64::from(accepted));
    }

    /// A TLS handshake was done, or failed.
    pub fn handshake(&self, done: bool) {
        let counter = if done { &self.tls } else { &self.tls_failed };
        add(counter, 1);
    }

    /// Says what there was since the last time, in the log and in the status. `unrecorded` lines
    /// are missing in the session log.
    pub fn say(&self, open: usize, unrecorded: u64) {
        let messages = self.messages.load(Ordering::Relaxed);
        let status = format!("{messages} messages in the last minute, {open} sessions open");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
        if let Some(minute) = self.minute(open, unrecorded) {
            log::info!("event=receiver.minute {minute}");
        }
    }

    /// What there was since the last call, if anything.
    fn minute(&self, open: usize, unrecorded: u64) -> Option<String> {
        let counted = [
            ("sessions", take(&self.sessions)),
            ("refused", take(&self.refused)),
            ("messages", take(&self.messages)),
            ("bytes", take(&self.bytes)),
            ("not_kept", take(&self.not_kept)),
            ("logins", take(&self.logins)),
            ("logged_in", take(&self.logged_in)),
            ("tls", take(&self.tls)),
            ("tls_failed", take(&self.tls_failed)),
            ("unrecorded", unrecorded),
        ];
        let limits = self.limits.all();
        let limits = limits.map(|(name, counter)| (name, take(counter)));
        if counted.iter().chain(&limits).all(|(_, times)| *times == 0) {
            return None;
        }
        let mut minute = String::new();
        for (name, times) in counted {
            let _ = write!(minute, "{name}={times} ");
        }
        let _ = write!(minute, "open={open}");
        for (name, times) in limits.iter().filter(|(_, times)| *times > 0) {
            let _ = write!(minute, " {name}={times}");
        }
        Some(minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_counted_goes_unsaid() {
        let counters = Counters::default();
        assert_eq!(counters.minute(3, 0), None);
        let counts: [(&str, &dyn Fn()); 6] = [
            ("sessions=1", &|| counters.session()),
            ("refused=1", &|| counters.turned(Turned::Full)),
            ("not_kept=1", &|| counters.not_kept()),
            ("logged_in=1", &|| counters.login(true)),
            ("tls_failed=1", &|| counters.handshake(false)),
            ("timeouts=1", &|| counters.timed_out()),
        ];
        for (expected, count) in counts {
            count();
            let said = counters.minute(3, 0).unwrap();
            assert!(said.split(' ').any(|word| word == expected), "{said}");
            assert_eq!(counters.minute(3, 0), None);
        }
    }
}
