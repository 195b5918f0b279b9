//! What connections share, and by what settings each is served.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use super::counters::Counters;
use super::guests::Guests;
use super::limits::{Held, Limits};
use super::session_log::SessionLog;
use super::tls;
use crate::config;
use crate::exit::Failure;
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
pub struct Settings {
    /// How the session presents itself, and its own limits.
    pub profile: Arc<Profile>,
    /// What is borne from all clients and from one.
    pub limits: Limits,
    /// Our end of TLS.
    pub tls: tls::Server,
    /// The name that a certificate was made for, where none is configured.
    made_for: Option<String>,
}

impl Settings {
    /// The settings that the configuration asks for; reads the certificate. One that was made for
    /// the settings `before` is kept: a server that has a new one every day is none.
    pub fn of(receiver: &config::Receiver, before: Option<&Settings>) -> Result<Settings, Failure> {
        let made_for = receiver.tls.is_none().then(|| receiver.hostname.clone());
        let made = before.filter(|before| made_for.is_some() && before.made_for == made_for);
        let tls = match made {
            Some(before) => before.tls.clone(),
            None => tls::server(receiver.tls.as_ref(), &receiver.hostname)?,
        };
        Ok(Settings {
            profile: Arc::new(Profile {
                hostname: receiver.hostname.clone(),
                max_message_size: receiver.maxmessagesize,
                max_recipients: receiver.maxrecipients,
                personality: receiver.personality,
                auth: receiver.auth.clone(),
                limits: receiver.session.clone(),
                tls: true,
            }),
            limits: receiver.limits.clone(),
            tls,
            made_for,
        })
    }
}

impl Shared {
    /// The settings for a client that comes now.
    pub fn settings(&self) -> Arc<Settings> {
        let settings = self.settings.read();
        Arc::clone(&settings.unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves clients that come from now on by other settings; the others keep theirs.
    pub fn reload(&self, settings: Settings) {
        let mut current = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(settings);
    }

    /// What is lacking for one more message, where so much is in memory.
    pub fn shortage(&self, limits: &Limits, held: Held) -> Option<Shortage> {
        let free = match self.disk_free.load(Ordering::Relaxed) {
            u64::MAX => None,
            free => Some(free),
        };
        limits.shortage(held, free)
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
