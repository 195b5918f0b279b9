//! Makes both databases, and checks them.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::fault::{Place, Tried};
use super::link::{Session, connect};
use super::{Options, quoted, rows};
use crate::queue::name::Namer;
use crate::store::{Made, Result, StoreError, StoreErrorKind};
use crate::timestamp::Timestamp;

const SCHEMA_VERSION: u64 = 1;
const MAIN: &str = include_str!("../../../sql/mysql/main.sql");
const WINDOW: &str = include_str!("../../../sql/mysql/window.sql");

pub(super) fn create(options: &Options) -> Result<Vec<Made>> {
    let make = || -> Tried<Vec<Made>> {
        let mut session = connect(options, true)?;
        let mut made = Vec::new();
        for (name, sql) in [(&options.window, WINDOW), (&options.main, MAIN)] {
            let now = make(&mut session, name, sql, name == &options.window, options)?;
            made.push(Made {
                what: name.clone(),
                now,
            });
        }
        Ok(made)
    };
    make().map_err(|fault| Place::of(options, &options.main).error(fault))
}

fn make(
    session: &mut Session,
    name: &str,
    sql: &str,
    window: bool,
    options: &Options,
) -> Tried<bool> {
    let conn = &mut session.conn;
    conn.query_drop(format!("CREATE DATABASE IF NOT EXISTS {}", quoted(name)))?;
    conn.select_db(name)?;
    if conn
        .query_drop("SELECT version FROM schema_version")
        .is_ok()
    {
        return Ok(false);
    }
    let text: Vec<&str> = sql.lines().filter(|line| !line.starts_with("--")).collect();
    for statement in text
        .join("\n")
        .split(';')
        .map(str::trim)
        .filter(|s| !s.is_empty())
    {
        conn.query_drop(statement)?;
    }
    if window {
        let name = format!("{}.{}", options.analyzer, Namer::new().temporary());
        conn.exec_drop("INSERT INTO analyzer VALUES (?)", (name,))?;
        conn.exec_drop(
            "INSERT INTO windows (number, opened) VALUES (1, ?)",
            (Timestamp::now().datetime(),),
        )?;
    }
    conn.query_drop(format!(
        "INSERT INTO schema_version VALUES ({SCHEMA_VERSION})"
    ))?;
    Ok(true)
}

pub(super) fn check(conn: &mut Conn, database: &str) -> Tried<()> {
    let query = format!("SELECT version FROM {}.schema_version", quoted(database));
    let version = rows::first(conn, &query, (), |row| row.number())?;
    if version == Some(SCHEMA_VERSION) {
        return Ok(());
    }
    Err(StoreError {
        kind: StoreErrorKind::Unfit,
        what: format!("database {database} has schema version {version:?}"),
    }
    .into())
}
