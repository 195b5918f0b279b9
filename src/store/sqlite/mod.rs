//! The embedded engine: two SQLite databases in `[database] path`.
//!
//! `ShivaTemp.sqlite` is the window store, `Shiva.sqlite` the main store. Both are in WAL mode
//! with `synchronous=FULL`: a commit is on disk when it returns, and reports read beside the
//! analyzer. SQLite is the system's library, so security updates come with the system.

mod batch;
mod main_store;
mod reader;
mod relaying;
mod window_store;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    Engine, MADE, Made, MainStore, Reader, Result, StoreError, StoreErrorKind, UNCHANGED,
    WindowKey, WindowStore,
};
use crate::queue::maildir::{SHARED, lock, make_directory, own_file};
use crate::queue::name::Namer;
use crate::timestamp::Timestamp;
use main_store::SqliteMain;
use reader::SqliteReader;
use window_store::SqliteWindows;

/// The version of both schemas that this program reads and writes.
const SCHEMA_VERSION: i64 = 1;

/// How long a statement waits for another process or thread that has the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Memory for pages of a database; negative means KiB, as SQLite has it.
const CACHE_KIB: i64 = -64 * 1024;

/// Pages that gather in the write-ahead log before they go to the database: enough that a batch
/// does not pay for it.
const CHECKPOINT_PAGES: i64 = 16 * 1024;

const WINDOW_SCHEMA: &str = include_str!("../../../sql/sqlite/window.sql");
const MAIN_SCHEMA: &str = include_str!("../../../sql/sqlite/main.sql");

/// Where the two databases lie, and whether the main store keeps bodies.
#[derive(Clone, Debug)]
pub struct Sqlite {
    directory: PathBuf,
    keep_bodies: bool,
}

impl Sqlite {
    /// The databases in `directory`. With `keep_bodies` false (`localdb : False`) the main
    /// database holds what a report needs, and no bodies and headers.
    pub fn new(directory: &Path, keep_bodies: bool) -> Sqlite {
        Sqlite {
            directory: directory.to_owned(),
            keep_bodies,
        }
    }

    fn window_file(&self) -> PathBuf {
        self.directory.join("ShivaTemp.sqlite")
    }

    fn main_file(&self) -> PathBuf {
        self.directory.join("Shiva.sqlite")
    }

    fn make_directory(&self) -> Result<()> {
        make_directory(&self.directory, SHARED).map_err(|error| StoreError {
            kind: StoreErrorKind::Unavailable,
            what: format!("cannot make {}: {error}", self.directory.display()),
        })
    }
}

impl Engine for Sqlite {
    fn create(&self) -> Result<Vec<Made>> {
        self.make_directory()?;
        let token = WindowKey::draw()?;
        let window = create(&self.window_file(), WINDOW_SCHEMA, |connection| {
            let host = rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned();
            let name = format!("{host}.{}", Namer::new().temporary());
            connection.execute("INSERT INTO analyzer (name) VALUES (?1)", [name])?;
            connection.execute(
                "INSERT INTO windows (number, token, opened) VALUES (1, ?1, ?2)",
                [token, Timestamp::now().datetime()],
            )?;
            Ok(())
        })?;
        let main = create(&self.main_file(), MAIN_SCHEMA, |_| Ok(()))?;
        let made = |file: PathBuf, now| Made {
            what: file.display().to_string(),
            now,
            done: if now { MADE } else { UNCHANGED }.to_owned(),
        };
        Ok(vec![
            made(self.window_file(), window),
            made(self.main_file(), main),
        ])
    }

    fn plan(&self) -> Result<Vec<String>> {
        let mut plan = Vec::new();
        for (file, schema) in [
            (self.window_file(), WINDOW_SCHEMA),
            (self.main_file(), MAIN_SCHEMA),
        ] {
            match open(&file, true) {
                Ok(_) => plan.push(format!("-- {}: {UNCHANGED}", file.display())),
                Err(error) if error.kind == StoreErrorKind::Missing => {
                    plan.push(format!("-- {}", file.display()));
                    plan.push(schema.trim_end().trim_end_matches(';').to_owned());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(plan)
    }

    fn prepare(&self) -> Result<()> {
        self.create().map(drop)
    }

    fn own_windows(&self) -> Result<Box<dyn WindowStore>> {
        self.make_directory()?;
        let lock = lock(&self.directory.join(".analyzer.lock")).map_err(|error| {
            if error.kind() != io::ErrorKind::WouldBlock {
                return StoreError {
                    kind: StoreErrorKind::Unavailable,
                    what: error.to_string(),
                };
            }
            StoreError {
                kind: StoreErrorKind::Taken,
                what: format!(
                    "another analyzer has the database in {}; stop it (systemctl stop \
                     shiva-analyzer), or give this one a [database] path of its own",
                    self.directory.display()
                ),
            }
        })?;
        let file = self.window_file();
        let connection = open(&file, false)?;
        Ok(Box::new(SqliteWindows::new(connection, &file, Some(lock))))
    }

    fn windows(&self) -> Result<Box<dyn WindowStore>> {
        let file = self.window_file();
        let connection = open(&file, false)?;
        Ok(Box::new(SqliteWindows::new(connection, &file, None)))
    }

    fn main(&self) -> Result<Box<dyn MainStore>> {
        let file = self.main_file();
        let connection = open(&file, false)?;
        Ok(Box::new(SqliteMain::new(
            connection,
            &file,
            self.keep_bodies,
        )))
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        open(&self.main_file(), true)?;
        let windows = open(&self.window_file(), true)?;
        let reader = SqliteReader::new(windows, &self.window_file(), &self.main_file())?;
        Ok(Box::new(reader))
    }
}

/// Turns SQLite's errors into the store's, naming the file.
#[derive(Clone, Debug)]
struct Errors(PathBuf);

impl Errors {
    fn of(&self, error: &rusqlite::Error) -> StoreError {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
                StoreErrorKind::Refused
            }
            Some(ErrorCode::NotADatabase) => StoreErrorKind::Unfit,
            _ => StoreErrorKind::Unavailable,
        };
        StoreError {
            kind,
            what: format!("{}: {error}", self.0.display()),
        }
    }
}

/// Opens an existing database and checks that it is of our version.
fn open(file: &Path, read_only: bool) -> Result<Connection> {
    let errors = Errors(file.to_owned());
    let exists = file.try_exists().map_err(|error| StoreError {
        kind: StoreErrorKind::Unavailable,
        what: format!(
            "{}: {error}; run this as root, or as the service's user",
            file.display()
        ),
    })?;
    if !exists {
        return Err(StoreError {
            kind: StoreErrorKind::Missing,
            what: format!(
                "there is no database {}; shiva-dbcreate makes it",
                file.display()
            ),
        });
    }
    let access = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    let connect = || -> rusqlite::Result<(Connection, i64)> {
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(64);
        if !read_only {
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "cache_size", CACHE_KIB)?;
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        }
        let version = connection.query_row("SELECT version FROM schema_version", [], |row| {
            row.get::<_, i64>(0)
        })?;
        Ok((connection, version))
    };
    let (connection, version) = connect().map_err(|error| errors.of(&error))?;
    if version == SCHEMA_VERSION {
        return Ok(connection);
    }
    Err(StoreError {
        kind: StoreErrorKind::Unfit,
        what: format!(
            "{} has schema version {version}, this program reads {SCHEMA_VERSION}; run the \
             shiva-dbcreate of the newer of the two",
            file.display()
        ),
    })
}

/// Makes a database with its tables if there is none; true when it was made. A schema half made
/// by a crash cannot be, for it is one transaction: a database with other tables is not ours.
fn create(
    file: &Path,
    schema: &str,
    fill: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<bool> {
    let errors = Errors(file.to_owned());
    // Made by us, so that its mode is ours; its companions get the same from SQLite.
    own_file(file).map_err(|error| StoreError {
        kind: StoreErrorKind::Unavailable,
        what: format!("cannot make {}: {error}", file.display()),
    })?;
    let make = || -> rusqlite::Result<Option<bool>> {
        let mut connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let foreign = "SELECT count(*) > 0 AND sum(name = 'schema_version') = 0 FROM sqlite_master";
        if connection.query_row(foreign, [], |row| row.get(0))? {
            return Ok(None);
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let exists: bool = transaction.query_row(
            "SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'",
            [],
            |row| row.get(0),
        )?;
        if exists {
            return Ok(Some(false));
        }
        transaction.execute_batch(schema)?;
        fill(&transaction)?;
        transaction.commit()?;
        Ok(Some(true))
    };
    let made = make().map_err(|error| errors.of(&error))?;
    made.ok_or_else(|| StoreError {
        kind: StoreErrorKind::Unfit,
        what: format!(
            "{} is a database of another program; give [database] path another directory, or move \
             the file away. Nothing was changed",
            file.display()
        ),
    })
}

/// SQLite's integers are signed; no count of ours comes near the difference.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count read back.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A `datetime` read back; the epoch where an old row holds something else.
fn moment(text: &str) -> Timestamp {
    Timestamp::parse_datetime(text).unwrap_or(Timestamp::from_seconds(0, 0))
}
