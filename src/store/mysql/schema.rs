//! Makes and upgrades the databases: `shiva-dbcreate`.
//!
//! A database has a version in its table `schema_version`. Numbered migrations bring it from one
//! version to the next; migration 1 makes the tables, or takes over those of the first SHIVA, which
//! had no versions ([`first`], [`old_main`], [`old_whitelist`], [`old_window`]). Whatever speaks
//! against it is found before anything is changed ([`before`]).
//!
//! A server cannot undo a change of tables, so nothing here relies on it: each statement leaves a
//! database that a second run goes on with. What is to be done is decided by looking at the
//! tables that are there, moved rows are committed together with what says so, and the version is
//! written last. Whatever dies in between, the same command completes the work, and a database
//! of our version is left alone. Two runs at once wait for each other by a lock of the server's.
//!
//! Values in old rows that a strict server would refuse (0000-00-00) stay: the session is not
//! strict. No statement makes a column narrower.

mod before;
mod first;
mod old_main;
mod old_whitelist;
mod old_window;
mod split;
mod tables;
mod work;

use mysql::prelude::Queryable;
use mysql::{Conn, Error};

use super::fault::{Fault, Place, Tried};
use super::link;
use super::{Options, quoted, rows};
use crate::store::{Made, Result, StoreError, StoreErrorKind, UNCHANGED};
use work::Work;

/// The version of both schemas that this program reads and writes.
const VERSION: u64 = 1;

const MAIN_SCHEMA: &str = include_str!("../../../sql/mysql/main.sql");
const WINDOW_SCHEMA: &str = include_str!("../../../sql/mysql/window.sql");

/// Seconds that another run of `shiva-dbcreate` is waited for, of which a dead one's last
/// statement may still be at work in the server.
const WAIT_FOR_OTHER: u32 = 600;

/// Seconds that a table is waited for which another program has in use.
const WAIT_FOR_TABLE: u32 = 60;

/// Seconds that the connection with the lock may be idle: more than any upgrade takes.
const IDLE_MAX: u32 = 30 * 24 * 3600;

/// Characters of a lock's name that every server takes.
const LOCK_NAME_MAX: usize = 64;

/// Brings a database from the version before to this one.
struct Migration {
    to: u64,
    run: fn(&mut Work<'_>) -> Result<()>,
}

const MAIN: &[Migration] = &[Migration {
    to: 1,
    run: first::main,
}];

const WINDOW: &[Migration] = &[Migration {
    to: 1,
    run: first::window,
}];

/// Makes what is missing of both databases and upgrades what is old.
pub(super) fn create(options: &Options) -> Result<Vec<Made>> {
    run(options, false).map(|(made, _)| made)
}

/// The statements that [`create`] would execute, for a reader. Changes nothing.
pub(super) fn plan(options: &Options) -> Result<Vec<String>> {
    run(options, true).map(|(_, statements)| statements)
}

fn run(options: &Options, dry: bool) -> Result<(Vec<Made>, Vec<String>)> {
    let mut locked = connect(options)?;
    if !dry {
        wait_for_others(&mut locked, options)?;
    }
    before::look(&mut locked, options)?;
    let (mut made, mut statements) = (Vec::new(), Vec::new());
    for (database, migrations) in [(&options.window, WINDOW), (&options.main, MAIN)] {
        // Its own, for a prepared statement stays with the database that it was prepared in.
        let mut connection = connect(options)?;
        let mut work = Work::new(&mut connection, options, database, dry);
        upgrade(&mut work, migrations)?;
        let (parts, done) = work.done();
        made.extend(parts);
        statements.extend(done);
    }
    Ok((made, statements))
}

fn upgrade(work: &mut Work<'_>, migrations: &[Migration]) -> Result<()> {
    work.enter()?;
    let version = work.version()?;
    newest(&work.database, version)?;
    let mut left = migrations
        .iter()
        .filter(|step| step.to > version)
        .peekable();
    if left.peek().is_none() {
        let all = work.database.clone();
        work.remark(&format!("{all}: {UNCHANGED}"));
        work.say(all, false, UNCHANGED);
    }
    for migration in left {
        (migration.run)(work)?;
        work.set_version(migration.to)?;
    }
    Ok(())
}

/// Fails where the database is of a newer version than we know.
fn newest(database: &str, version: u64) -> Result<()> {
    if version <= VERSION {
        return Ok(());
    }
    Err(StoreError {
        kind: StoreErrorKind::Unfit,
        what: format!(
            "the database {database} has schema version {version}, this program knows {VERSION}; \
             install the SHIVA that made it, or a newer one"
        ),
    })
}

/// No database, no table, another program's table or view of that name.
const NO_VERSION: &[u16] = &[1049, 1146, 1054, 1356];

/// Checks that a database is there and of our version.
pub(super) fn check(connection: &mut Conn, database: &str) -> Tried<()> {
    let query = format!(
        "SELECT max(version) FROM {}.schema_version",
        quoted(database)
    );
    let version = match rows::first(connection, &query, (), |row| row.number()) {
        Ok(version) => version.unwrap_or(0),
        Err(Fault::Sql(Error::MySqlError(error))) if NO_VERSION.contains(&error.code) => 0,
        Err(error) => return Err(error),
    };
    newest(database, version)?;
    if version == VERSION {
        return Ok(());
    }
    let what = format!(
        "the database {database} is missing, unfinished or of an older SHIVA; shiva-dbcreate \
         makes it, or brings it up to date"
    );
    let kind = StoreErrorKind::Missing;
    Err(StoreError { kind, what }.into())
}

/// A connection whose statements may take as long as a large table needs.
fn connect(options: &Options) -> Result<Conn> {
    let open = || -> Tried<Conn> {
        let mut connection = link::connect(options, None)?.conn;
        // Not strict: dates that are none stay.
        connection.query_drop(format!(
            "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION', lock_wait_timeout = \
             {WAIT_FOR_TABLE}, wait_timeout = {IDLE_MAX}"
        ))?;
        Ok(connection)
    };
    open().map_err(|fault| Place::of(options, &options.main).error(fault))
}

/// Waits until no other `shiva-dbcreate` is at work on these databases.
fn wait_for_others(connection: &mut Conn, options: &Options) -> Result<()> {
    let name = format!("shiva.schema.{}", options.main);
    let name: String = name.chars().take(LOCK_NAME_MAX).collect();
    let got = connection
        .exec_first::<Option<u64>, _, _>("SELECT GET_LOCK(?, ?)", (name, WAIT_FOR_OTHER))
        .map_err(|error| Place::of(options, &options.main).error(Fault::Sql(error)))?;
    if got.flatten() == Some(1) {
        return Ok(());
    }
    Err(StoreError {
        kind: StoreErrorKind::Unavailable,
        what: format!(
            "another shiva-dbcreate has been at work on {} for {WAIT_FOR_OTHER} s; let it end, \
             then run this again",
            options.main
        ),
    })
}
