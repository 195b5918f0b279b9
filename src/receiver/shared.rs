//! What connections share, and by what settings each is served.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use super::counters::Counters;
use super::guests::Guests;
use super::limits::Limits;
use super::session_log::SessionLog;
use crate::config;
use crate::queue::spool::Handle;
use crate::smtp::{Profile, Shortage};

/// How often the kernel is asked for the room on the queue's disk.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What connections share.
pub struct Shared {
    /// What a reload may change.
    pub settings: RwLock<Arc<Settings>>,
    /// The sensor's name.
    pub sensor: String,
    /// The way into the queue.
    pub spool: Handle,
    /// What was taken.
    pub counters: Counters,
    /// Where sessions are recorded.
    pub log: SessionLog,
    /// Who is served now.
    pub guests: Arc<Guests>,
    /// Free bytes of the queue's disk when last asked; `u64::MAX` where that is not known.
    pub disk_free: AtomicU64,
    /// True when the receiver shuts down.
    pub stopping: watch::Receiver<bool>,
}

/// What a session is served by, from its first byte to its last.
#[derive(Debug, PartialEq)]
pub struct Settings {
    /// How the session presents itself, and its own limits.
    pub profile: Arc<Profile>,
    /// What is borne from all clients and from one.
    pub limits: Limits,
}

impl Settings {
    /// The settings that the configuration asks for.
    pub fn of(receiver: &config::Receiver) -> Settings {
        Settings {
            profile: Arc::new(Profile {
                hostname: receiver.hostname.clone(),
                max_message_size: receiver.maxmessagesize,
                max_recipients: receiver.maxrecipients,
                personality: receiver.personality,
                auth: receiver.auth.clone(),
                limits: receiver.session.clone(),
                ..Profile::default()
            }),
            limits: receiver.limits.clone(),
        }
    }
}

impl Shared {
    /// The settings for a client that comes now.
    pub fn settings(&self) -> Arc<Settings> {
        let settings = self.settings.read();
        Arc::clone(&settings.unwrap_or_else(PoisonError::into_inner))
    }

    /// What is lacking for one more message.
    pub fn shortage(&self, limits: &Limits) -> Option<Shortage> {
        let free = match self.disk_free.load(Ordering::Relaxed) {
            u64::MAX => None,
            free => Some(free),
        };
        limits.shortage(self.guests.memory(), free)
    }

    /// Keeps [`Shared::disk_free`] up to date, for ever.
    pub async fn watch_disk(&self, queue: &Path) {
        let mut tick = tokio::time::interval(ASK_EVERY);
        loop {
            tick.tick().await;
            let queue = queue.to_owned();
            // A disk that does not answer holds up nobody.
            let free = tokio::task::spawn_blocking(move || disk_free(&queue)).await;
            let free = free.ok().flatten().unwrap_or(u64::MAX);
            self.disk_free.store(free, Ordering::Relaxed);
        }
    }
}

/// Bytes that the receiver's user may still write to the disk of a directory.
pub fn disk_free(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
