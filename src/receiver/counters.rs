//! What the receiver took, said once a minute and not once a message: a flood must not fill the
//! disk with log lines.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the last line.
#[derive(Debug, Default)]
pub struct Counters {
    sessions: AtomicU64,
    refused: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    not_kept: AtomicU64,
    logins: AtomicU64,
    logged_in: AtomicU64,
}

impl Counters {
    /// A session began.
    pub fn session(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A client was turned away.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A message of so many bytes was kept.
    pub fn kept(&self, bytes: u64) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A message could not be kept, and its sender was told so.
    pub fn not_kept(&self) {
        self.not_kept.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody tried to log in, and got in or not.
    pub fn login(&self, accepted: bool) {
        self.logins.fetch_add(1, Ordering::Relaxed);
        self.logged_in
            .fetch_add(u64::from(accepted), Ordering::Relaxed);
    }

    /// Says what there was since the last time, in the log and in the status. `unrecorded` lines
    /// are missing in the session log.
    pub fn say(&self, open: usize, unrecorded: u64) {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let (sessions, refused) = (take(&self.sessions), take(&self.refused));
        let (messages, bytes) = (take(&self.messages), take(&self.bytes));
        let not_kept = take(&self.not_kept);
        let (logins, logged_in) = (take(&self.logins), take(&self.logged_in));
        let status = format!("{messages} messages in the last minute, {open} sessions open");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
        if sessions + refused + messages + not_kept + unrecorded > 0 {
            log::info!(
                "event=receiver.minute sessions={sessions} refused={refused} \
                 messages={messages} bytes={bytes} not_kept={not_kept} logins={logins} \
                 logged_in={logged_in} unrecorded={unrecorded} open={open}"
            );
        }
    }
}
