//! A connection to the server that is opened when it is needed and again when it was lost.
//!
//! Every call of a store runs through [`Link::run`] or [`Link::transaction`], and each can be
//! repeated from its start: so a connection found dead is replaced and the call repeated once, and
//! a transaction that the server rolled back for the sake of another one (deadlock, lock wait
//! timeout) is repeated a few times. Whatever fails leaves no transaction open. What the errors of
//! a server mean is in [`super::fault`].

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder, SslOpts};

use super::fault::{Fault, Place, Tried};
use super::{Options, Tls, rows, schema};
use crate::store::{Result, StoreError, StoreErrorKind};
use crate::watchdog;

/// How long to wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the server to say or take something while the ledger waits: under half of
/// the watchdog's time, and less than the unit's `TimeoutStopSec`.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(100);

/// The same where nothing is in a hurry: queries over millions of rows.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3600);

/// A dead host is noticed after about this many milliseconds.
const DEAD_PEER_MS: u32 = 60_000;

/// How long to wait for the lock of the window store: one who had it may just be dying.
const LOCK_WAIT_SECONDS: u32 = 3;

/// Seconds after which the server gives up the owner of the window store, and its lock with it,
/// when nothing is heard of it. A host that lost its power says no farewell.
const OWNER_SILENT_SECONDS: u32 = 30;

/// How long the owner is silent when it has nothing to do.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// How often a transaction is repeated that the server rolled back for another one.
const CONFLICTS_MAX: usize = 5;

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 64;

/// The system's certificate authorities, as Debian has them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a session must be, whatever the server's defaults are.
const SESSION: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_bin, SESSION sql_mode = \
    'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION time_zone = '+00:00', SESSION \
    wait_timeout = 28800, SESSION net_read_timeout = 120, SESSION net_write_timeout = 600, \
    SESSION innodb_lock_wait_timeout = 20, SESSION autocommit = 1, SESSION sql_safe_updates = 0, \
    SESSION sql_select_limit = DEFAULT, SESSION completion_type = 0";

/// Row locks only where rows are changed, and what others committed is seen.
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The window store of its one analyzer.
    OwnWindows,
    /// The window store, for another thread of that analyzer.
    Windows,
    /// The main store.
    Main,
    /// Both, to read.
    Reader,
}

/// A connection, or the way to one.
pub(super) struct Link {
    options: Arc<Options>,
    purpose: Purpose,
    session: Option<Session>,
    /// The server's number of the last connection: what is left of it may hold our lock.
    last: Option<u32>,
    /// When the server last answered.
    heard: Instant,
    /// The queue that we bound the window store to: who else had it since has bound it anew.
    bound: Option<String>,
}

/// An open connection.
pub(super) struct Session {
    pub(super) conn: Conn,
    /// The server's `max_allowed_packet`, in bytes.
    pub(super) packet: usize,
}

impl Link {
    /// Not connected yet.
    pub(super) fn new(options: Arc<Options>, purpose: Purpose) -> Link {
        Link {
            options,
            purpose,
            session: None,
            last: None,
            heard: Instant::now(),
            bound: None,
        }
    }

    /// From now on a connection is opened only while the window store is bound to this queue.
    pub(super) fn expect_bound(&mut self, queue: &str) {
        self.bound = Some(queue.to_owned());
    }

    /// Runs something that can be repeated from its start.
    pub(super) fn run<T>(&mut self, mut work: impl FnMut(&mut Session) -> Tried<T>) -> Result<T> {
        let mut lost = false;
        let mut conflicts = 0;
        loop {
            watchdog::still_alive();
            let kept = self.session.is_some();
            let fault = match self.attempt(&mut work) {
                Ok(value) => {
                    self.heard = Instant::now();
                    return Ok(value);
                }
                Err(fault) => fault,
            };
            // One that was open before may have died since; a fresh one that fails is an outage.
            // So is a server that hangs: to wait for it twice is more than a stop may take.
            let died = kept && !lost && fault.lost_connection() && !fault.timed_out();
            let conflict = fault.is_conflict() && conflicts < CONFLICTS_MAX;
            self.settle(&fault);
            lost |= died;
            conflicts += usize::from(conflict);
            if !died && !conflict {
                return Err(self.error(fault));
            }
        }
    }

    /// Speaks to the server where it has not been spoken to for long.
    pub(super) fn keep(&mut self) -> Result<()> {
        if self.heard.elapsed() < SIGN_OF_LIFE {
            return Ok(());
        }
        self.run(|session| Ok(session.conn.ping()?))
    }

    /// Runs a transaction that can be repeated from its start. `work` says whether there is
    /// anything to commit.
    pub(super) fn transaction(
        &mut self,
        mut work: impl FnMut(&mut Session) -> Tried<Commit>,
    ) -> Result<()> {
        self.run(|session| {
            session.conn.query_drop("START TRANSACTION")?;
            let end = match work(session)? {
                Commit::Yes => "COMMIT",
                Commit::Nothing => "ROLLBACK",
            };
            Ok(session.conn.query_drop(end)?)
        })
    }

    fn attempt<T>(&mut self, work: &mut impl FnMut(&mut Session) -> Tried<T>) -> Tried<T> {
        let session = match &mut self.session {
            Some(session) => session,
            none => {
                let mut session = open(&self.options, self.purpose, self.last)?;
                if self.bound.is_some() && bound_to(&mut session.conn)? != self.bound {
                    return Err(another_wrote());
                }
                none.insert(session)
            }
        };
        self.last = Some(session.conn.connection_id());
        work(session)
    }

    /// Ends a transaction that failed. A connection is kept only where the failure says nothing
    /// about it: rights that were given back meanwhile, for one, count from the next on.
    fn settle(&mut self, fault: &Fault) {
        let usable = fault.keeps_connection()
            && self
                .session
                .as_mut()
                .is_some_and(|session| session.conn.query_drop("ROLLBACK").is_ok());
        if !usable {
            self.session = None;
        }
    }

    fn error(&self, fault: Fault) -> StoreError {
        let place = match self.purpose {
            Purpose::OwnWindows | Purpose::Windows => {
                Place::of(&self.options, &self.options.window)
            }
            Purpose::Main | Purpose::Reader => Place::of(&self.options, &self.options.main),
        };
        place.error(fault)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.purpose == Purpose::OwnWindows
            && let Some(session) = &mut self.session
        {
            // The server would notice by itself, a little later.
            let _ = session
                .conn
                .exec_drop("SELECT RELEASE_LOCK(?)", (lock_name(&self.options),));
        }
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// It changed something.
    Yes,
    /// It changed nothing.
    Nothing,
}

/// A connection to the server, to no database yet: our character set, mode and time zone. The
/// server is waited for as long as `timeout` says.
pub(super) fn connect(options: &Options, timeout: Option<Duration>) -> mysql::Result<Session> {
    let mut builder = OptsBuilder::new()
        .user(Some(&options.user))
        .pass(Some(&options.password))
        .prefer_socket(false)
        .stmt_cache_size(STATEMENTS)
        .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
        .read_timeout(timeout)
        .write_timeout(Some(STATEMENT_TIMEOUT))
        .tcp_keepalive_time_ms(Some(DEAD_PEER_MS / 2))
        .tcp_keepalive_probe_interval_secs(Some(10))
        .tcp_keepalive_probe_count(Some(3))
        .tcp_user_timeout_ms(Some(DEAD_PEER_MS))
        // An update tells the rows it met, not those it changed.
        .additional_capabilities(mysql::consts::CapabilityFlags::CLIENT_FOUND_ROWS)
        .init(vec![SESSION, ISOLATION]);
    builder = match &options.socket {
        Some(socket) => builder.socket(Some(socket.to_string_lossy())),
        None => builder
            .ip_or_hostname(Some(host(&options.host)))
            .tcp_port(options.port)
            .ssl_opts(tls(options.tls)),
    };
    let mut conn = Conn::new(builder)?;
    let packet = conn.query_first::<Option<usize>, _>("SELECT @@max_allowed_packet")?;
    Ok(Session {
        packet: packet.flatten().unwrap_or(1 << 20),
        conn,
    })
}

fn host(host: &str) -> String {
    match host {
        // It may resolve to ::1 first, where many a server does not listen.
        "localhost" => "127.0.0.1".into(),
        host if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]"),
        host => host.into(),
    }
}

fn tls(tls: Tls) -> Option<SslOpts> {
    match tls {
        Tls::Off => None,
        Tls::On => Some(
            SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
        Tls::Verify => {
            Some(SslOpts::default().with_root_cert_path(Some(std::path::Path::new(AUTHORITIES))))
        }
    }
}

/// Opens a connection for its purpose: the database chosen and of our version, the lock taken.
fn open(options: &Options, purpose: Purpose, last: Option<u32>) -> Tried<Session> {
    let timeout = match purpose {
        Purpose::Reader => QUERY_TIMEOUT,
        _ => STATEMENT_TIMEOUT,
    };
    let mut session = connect(options, Some(timeout))?;
    let conn = &mut session.conn;
    let mut choose = |name: &str| -> Tried<()> {
        schema::check(conn, name)?;
        Ok(conn.select_db(name)?)
    };
    match purpose {
        Purpose::OwnWindows | Purpose::Windows => choose(&options.window)?,
        Purpose::Main => choose(&options.main)?,
        Purpose::Reader => {
            choose(&options.main)?;
            choose(&options.window)?;
        }
    }
    if purpose == Purpose::OwnWindows {
        let silence = format!("SET SESSION wait_timeout = {OWNER_SILENT_SECONDS}");
        session.conn.query_drop(silence)?;
        take_lock(&mut session, options, last)?;
        check_durability(&mut session)?;
    }
    Ok(session)
}

fn lock_name(options: &Options) -> String {
    format!("shiva.{}", options.window)
}

/// Takes the lock that makes the window store ours. What the server still holds of our own last
/// connection, whose end it has not noticed, is ended.
fn take_lock(session: &mut Session, options: &Options, last: Option<u32>) -> Tried<()> {
    let name = lock_name(options);
    let conn = &mut session.conn;
    let holder = rows::first(conn, "SELECT IS_USED_LOCK(?)", (&name,), |row| row.number())?;
    if let (Some(holder), Some(last)) = (holder, last)
        && holder == u64::from(last)
    {
        let _ = conn.query_drop(format!("KILL {last}"));
    }
    let taken = rows::first(
        conn,
        "SELECT GET_LOCK(?, ?)",
        (&name, LOCK_WAIT_SECONDS),
        |row| row.number(),
    )?;
    if taken == Some(1) {
        return Ok(());
    }
    Err(Fault::Store(StoreError {
        kind: StoreErrorKind::Taken,
        what: format!(
            "another analyzer has the database {} on {}; stop it (systemctl stop \
             shiva-analyzer), or give this one a [database] tempdb and an [analyzer] name of its \
             own",
            options.window,
            Place::of(options, &options.window).server
        ),
    }))
}

/// The queue that the window store is bound to.
pub(super) fn bound_to(conn: &mut Conn) -> Tried<Option<String>> {
    let query = "SELECT queue FROM analyzer WHERE queue IS NOT NULL";
    rows::first(conn, query, (), |row| row.text())
}

/// Somebody else has had the window store: what we hold in memory is not what it has.
pub(super) fn another_wrote() -> Fault {
    Fault::Store(StoreError {
        kind: StoreErrorKind::Taken,
        what: "the window database was changed by another analyzer; stop the other one, or give \
               one of them a [database] tempdb of its own, and restart this one"
            .into(),
    })
}

/// Says once when a commit does not mean that the batch is on the server's disk.
fn check_durability(session: &mut Session) -> Tried<()> {
    static SAID: AtomicBool = AtomicBool::new(false);
    let query = "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit";
    let flush = rows::first(&mut session.conn, query, (), |row| row.number())?;
    if flush != Some(1) && !SAID.swap(true, Ordering::Relaxed) {
        let flush = flush.unwrap_or(0);
        log::warn!(
            "event=database.not_durable innodb_flush_log_at_trx_commit={flush} action=\"set it to \
             1: spam counted just before the server's power fails is lost\""
        );
    }
    Ok(())
}
