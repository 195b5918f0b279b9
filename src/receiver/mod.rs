//! The receiver: the service that plays an open relay.
//!
//! One thread serves all connections ([`connection`]), one makes messages durable
//! ([`crate::queue::spool`]); the first never waits for the disk. Memory is bounded by
//! [`MAX_SESSIONS`] times what one session holds. The receiver needs nobody: it collects whether
//! an analyzer runs or not.
//!
//! At SIGTERM it stops to accept, ends idle sessions, gives open transactions
//! [`SHUTDOWN_GRACE`] to finish, and exits. At SIGHUP it checks the configuration and says whether
//! a restart would change anything. Once a minute it says what it took, if anything.

mod connection;
mod counters;

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::logging::Rarely;
use crate::queue::maildir;
use crate::queue::{Maildir, Spool};
use crate::smtp::{self, Profile};
use crate::watchdog;
use connection::Shared;
use counters::Counters;

/// Sessions at once; a further client is told 421.
pub const MAX_SESSIONS: usize = 1000;

/// Recipients of one message, as Postfix has it.
pub const MAX_RECIPIENTS: usize = 1000;

/// How long open transactions may go on after SIGTERM.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How often the thread that serves all connections shows that it is not stuck.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// How often the receiver says what it took.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Leftovers of `shiva import` in `tmp/` are removed when they are this old.
const FOREIGN_LEFTOVER: Duration = Duration::from_secs(3600);

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
    raise_file_limit();
    let _lock = lock(&maildir)?;
    remove_leftovers(&maildir);
    let no_thread = |error: io::Error| {
        Failure::new(Exit::Unavailable, format!("cannot start a thread: {error}"))
    };
    let spool = Spool::start(maildir).map_err(no_thread)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_thread)?;
    let result = runtime.block_on(serve(config, &spool));
    drop(runtime);
    spool.finish();
    result
}

/// A session needs two descriptors, and the usual limit is not twice [`MAX_SESSIONS`].
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused, the sessions are fewer, and that is logged when it happens.
    let _ = setrlimit(Resource::Nofile, raised);
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

async fn serve(config: &Config, spool: &Spool) -> Result<(), Failure> {
    let listeners = listen(config).await?;
    let (shutdown, stopping) = watch::channel(false);
    let shared = Arc::new(Shared {
        profile: Arc::new(Profile {
            hostname: config.receiver.hostname.clone(),
            max_message_size: config.receiver.maxmessagesize,
            max_recipients: MAX_RECIPIENTS,
            personality: config.receiver.personality,
            auth: config.receiver.auth.clone(),
            ..Profile::default()
        }),
        sensor: config.receiver.sensorname.clone(),
        spool: spool.handle(),
        counters: Counters::default(),
        sessions: Arc::new(Semaphore::new(MAX_SESSIONS)),
        stopping,
    });
    let no_signals = |error: io::Error| Failure::new(Exit::Unavailable, error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(listener, Arc::clone(&shared))))
        .collect();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut tick = tokio::time::interval(SAY_EVERY);
    tick.tick().await;
    let mut alive = tokio::time::interval(ALIVE_EVERY);
    let _busy = watchdog::busy();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => config.check_again(),
            _ = alive.tick() => watchdog::still_alive(),
            _ = tick.tick() => shared.counters.say(open_sessions(&shared)),
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    for task in accepting {
        task.abort();
    }
    let _ = shutdown.send(true);
    let all = u32::try_from(MAX_SESSIONS).unwrap_or(u32::MAX);
    let ended = tokio::time::timeout(SHUTDOWN_GRACE, shared.sessions.acquire_many(all)).await;
    let cut = if ended.is_ok() {
        0
    } else {
        open_sessions(&shared)
    };
    shared.counters.say(cut);
    log::info!("event=receiver.stopped sessions_cut={cut}");
    Ok(())
}

fn open_sessions(shared: &Shared) -> usize {
    MAX_SESSIONS - shared.sessions.available_permits()
}

/// Listens on every address the configured host has.
async fn listen(config: &Config) -> Result<Vec<TcpListener>, Failure> {
    let (host, port) = (&config.receiver.listenhost, config.receiver.listenport);
    let failed = |what: String| Failure::new(Exit::Unavailable, what);
    let addresses: Vec<SocketAddr> = lookup_host((host.as_str(), port))
        .await
        .map_err(|error| {
            failed(format!(
                "[receiver] listenhost : {host}: {error}; give an address of this machine"
            ))
        })?
        .collect();
    let mut listeners = Vec::new();
    let mut refused = None;
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                log::info!("event=receiver.listening address={address}");
                listeners.push(listener);
            }
            // A name may have addresses of a family this machine does not speak.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                refused = Some((address, error));
            }
            Err(error) => return Err(failed(cannot_listen(address, &error))),
        }
    }
    match refused {
        Some((address, error)) if listeners.is_empty() => {
            Err(failed(cannot_listen(address, &error)))
        }
        _ => Ok(listeners),
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "another program has the port; `ss -ltnp` shows which",
        io::ErrorKind::PermissionDenied => {
            "a port below 1024 needs the capability CAP_NET_BIND_SERVICE, which the service has"
        }
        _ => "[receiver] listenhost and listenport say where to listen",
    };
    format!("cannot listen on {address}: {error}; {remedy}")
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut failed = Rarely::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => open(stream, peer, &shared),
            Err(error) => {
                // Out of file descriptors, mostly: let some sessions end.
                if let Some(held_back) = failed.now() {
                    log::error!(
                        "event=receiver.accept_failed reason=\"{error}\" held_back={held_back}"
                    );
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn open(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    match Arc::clone(&shared.sessions).try_acquire_owned() {
        Ok(permit) => {
            tokio::spawn(async move {
                connection::serve(stream, peer, &shared).await;
                drop(permit);
            });
        }
        Err(_) => {
            shared.counters.refused();
            let line = smtp::busy(&shared.profile, &connection::client(peer));
            // What does not fit the socket's empty buffer is not worth waiting for.
            let _ = stream.try_write(&line);
        }
    }
}
