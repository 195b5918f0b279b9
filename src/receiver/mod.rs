//! The receiver: the service that plays an open relay.
//!
//! One thread serves all connections ([`connection`]), one makes messages durable
//! ([`crate::queue::spool`]), one writes the session log ([`session_log`]); the first never waits
//! for the disk. What is borne from clients is decided in [`limits`]. The receiver needs nobody: it
//! collects whether an analyzer runs or not.
//!
//! At SIGTERM it stops to accept, ends idle sessions, gives open transactions
//! [`SHUTDOWN_GRACE`] to finish, and exits. At SIGHUP it reads the configuration, serves clients that
//! come by it, says what only a restart would change, and opens the session log anew. Once a minute it
//! says what it took, if anything.

mod accept;
mod connection;
mod counters;
mod guests;
mod ja4;
mod limits;
mod listen;
mod message;
mod party;
mod session_log;
mod shared;
mod stream;
mod tls;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Config, reload};
use crate::exit::{Exit, Failure};
use crate::queue::maildir;
use crate::queue::{Maildir, Spool};
use crate::watchdog;
use counters::Counters;
use guests::Guests;
pub use limits::Limits;
use party::Protocol;
use session_log::SessionLog;
use shared::{Settings, Shared};
pub use tls::Pair;

/// How long open transactions may go on after SIGTERM.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// The keys of `[receiver]` that only a restart puts into effect: where it listens, who it is in
/// records, and where they lie.
const FIXED: [&str; 5] = [
    "listenhost",
    "listenport",
    "tlslistenport",
    "sensorname",
    "sessionlog",
];

fn needs_restart((section, name): &reload::Name) -> bool {
    *section != "receiver" || FIXED.contains(name)
}

/// Threads that write out what finds no room in memory. The unit allows 32 in all.
const DISK_THREADS: usize = 16;

/// Descriptors that no session needs: listeners, the queue's, the logs'.
const OTHER_FILES: u64 = 64;

/// How often the thread that serves all connections shows that it is not stuck.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// How often the receiver says what it took.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Leftovers of `shiva import` in `tmp/` are removed when they are this old.
const FOREIGN_LEFTOVER: Duration = Duration::from_secs(3600);

/// Checks what the configuration names and a start would read: the certificate and its key. One of
/// them that the caller may not read is returned; the receiver's user may.
pub fn check(config: &Config) -> Result<Option<PathBuf>, Failure> {
    let pair = config.receiver.tls.as_ref();
    let unreadable = pair.and_then(Pair::unreadable);
    if unreadable.is_none() {
        tls::server(pair, &config.receiver.hostname)?;
    }
    Ok(unreadable)
}

/// Runs the receiver until SIGTERM or SIGINT.
pub fn run(config: &Config) -> Result<(), Failure> {
    let maildir = Maildir::open(&config.queuepath).map_err(|error| {
        Failure::new(
            Exit::CantCreate,
            format!(
                "cannot make the queue {}: {error}; make it, owned by the user of the receiver",
                config.queuepath.display()
            ),
        )
    })?;
    raise_file_limit(config.receiver.limits.sessions);
    let _lock = lock(&maildir)?;
    remove_leftovers(&maildir);
    let (log, log_thread) = open_log(config)?;
    let no_thread = |error: io::Error| {
        Failure::new(Exit::Unavailable, format!("cannot start a thread: {error}"))
    };
    let spool = Spool::start(maildir).map_err(no_thread)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .build()
        .map_err(no_thread)?;
    let result = runtime.block_on(serve(config, &spool, log));
    drop(runtime);
    spool.finish();
    if let Some(thread) = log_thread {
        let _ = thread.join();
    }
    result
}

/// A session needs two descriptors, and the usual limit is not twice as many as sessions.
fn raise_file_limit(sessions: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused, the sessions are fewer, and that is logged when it happens.
    let _ = setrlimit(Resource::Nofile, raised);
    let needed = 2 * sessions as u64 + OTHER_FILES;
    if let Some(maximum) = limit.maximum.filter(|maximum| *maximum < needed) {
        log::warn!(
            "event=receiver.few_files maximum={maximum} needed={needed} \
             action=\"lower maxsessions or raise LimitNOFILE\""
        );
    }
}

/// One receiver per queue: another one's files in `tmp/` are not leftovers.
fn lock(maildir: &Maildir) -> Result<File, Failure> {
    let queue = maildir.root();
    maildir::lock(&queue.join(maildir::RECEIVER_LOCK)).map_err(|error| {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Failure::new(Exit::CantCreate, error.to_string());
        }
        let what = format!(
            "another receiver has the queue {}; stop it (systemctl stop shiva-receiver), or give \
             this one a queuepath of its own",
            queue.display()
        );
        Failure::new(Exit::Unavailable, what)
    })
}

/// Removes what dead sessions left in `tmp/`. An import under way is spared.
fn remove_leftovers(maildir: &Maildir) {
    let Ok(entries) = fs::read_dir(maildir.tmp()) else {
        return;
    };
    let mut removed = 0;
    for entry in entries.filter_map(Result::ok) {
        let importing = entry.file_name().as_encoded_bytes().starts_with(b"import.");
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        let old = age.is_ok_and(|age| age >= FOREIGN_LEFTOVER);
        if (!importing || old) && fs::remove_file(entry.path()).is_ok() {
            removed += 1;
        }
    }
    if removed > 0 {
        log::info!("event=queue.leftovers_removed files={removed}");
    }
}

/// The session log, if one is to be kept, and its thread.
fn open_log(config: &Config) -> Result<(SessionLog, Option<JoinHandle<()>>), Failure> {
    let receiver = &config.receiver;
    let Some(path) = receiver.sessionlog.clone() else {
        return Ok((SessionLog::off(), None));
    };
    let named = path.display().to_string();
    let keep_free = receiver.limits.log_disk_free();
    let (log, thread) = SessionLog::open(path, &receiver.sensorname, keep_free).map_err(|error| {
        let what = format!(
            "cannot write the session log {named}: {error}; make its directory, owned by the user \
             of the receiver, or set [receiver] sessionlog to nothing"
        );
        Failure::new(Exit::CantCreate, what)
    })?;
    Ok((log, Some(thread)))
}

async fn serve(config: &Config, spool: &Spool, log: SessionLog) -> Result<(), Failure> {
    let receiver = &config.receiver;
    let settings = Settings::of(receiver, None)?;
    let hosts = &receiver.listenhost;
    let mut listeners = listen::listen(hosts, &receiver.listenport, Protocol::Smtp).await?;
    if !receiver.tlslistenport.is_empty() {
        let ports = &receiver.tlslistenport;
        listeners.extend(listen::listen(hosts, ports, Protocol::Smtps).await?);
    }
    let (shutdown, stopping) = watch::channel(false);
    let shared = Arc::new(Shared {
        settings: RwLock::new(Arc::new(settings)),
        sensor: receiver.sensorname.clone(),
        spool: spool.handle(),
        counters: Counters::default(),
        log,
        guests: Arc::new(Guests::new()),
        disk_free: AtomicU64::new(shared::disk_free(&config.queuepath).unwrap_or(u64::MAX)),
        stopping,
    });
    let no_signals = |error: io::Error| Failure::new(Exit::Unavailable, error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    listen::say(&listeners);
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept::accept(listener, Arc::clone(&shared))))
        .collect();
    let (disk, queue) = (Arc::clone(&shared), config.queuepath.clone());
    tokio::spawn(async move { disk.watch_disk(&queue).await });
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut tick = tokio::time::interval(SAY_EVERY);
    tick.tick().await;
    let mut alive = tokio::time::interval(ALIVE_EVERY);
    let _busy = watchdog::busy();
    let mut in_effect = config.clone();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                shared.log.reopen();
                reload(&mut in_effect, &shared);
            }
            _ = alive.tick() => watchdog::still_alive(),
            _ = tick.tick() => say(&shared, shared.guests.count()),
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    for task in accepting {
        task.abort();
    }
    let _ = shutdown.send(true);
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, shared.guests.gone()).await;
    let cut = shared.guests.count();
    say(&shared, cut);
    log::info!("event=receiver.stopped sessions_cut={cut}");
    Ok(())
}

/// Reads the configuration again. What sessions are served by is in effect for those that come
/// from now on; the rest waits for a restart.
fn reload(in_effect: &mut Config, shared: &Shared) {
    let Some(config) = in_effect.read_again() else {
        return;
    };
    let before = shared.settings();
    match Settings::of(&config.receiver, Some(&before)) {
        Ok(settings) => {
            let mut changed = in_effect.changed(&config);
            // It was renewed under its name, mostly.
            let another = settings.tls.certificates != before.tls.certificates;
            if another {
                changed.insert(("receiver", "tlscert"));
            }
            shared.log.keep_free(settings.limits.log_disk_free());
            shared.reload(settings);
            let (restart, reloaded) = changed.into_iter().partition(needs_restart);
            reload::say_checked(&reloaded, &restart, another || config != *in_effect);
            in_effect.take(&config, &reloaded);
        }
        Err(failure) => reload::say_wrong(&failure.to_string()),
    }
}

fn say(shared: &Shared, open: usize) {
    shared.counters.say(open, shared.log.take_lost());
}
