//! What is looked at before anything is changed: whether the databases are what the configuration
//! takes them for, and whether tables or views of another program have our names.

use std::collections::{BTreeMap, BTreeSet};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::tables::{self, Table};
use super::{MAIN_SCHEMA, WINDOW_SCHEMA};
use crate::store::mysql::fault::{Fault, Place};
use crate::store::mysql::{Options, quoted};
use crate::store::{Result, StoreError, StoreErrorKind};

/// The columns of the first SHIVA's main database.
const OLD_MAIN: &[(&str, &str)] = &[
    (
        "spam",
        "id from subject to textMessage htmlMessage totalCounter ssdeep headers length user",
    ),
    ("sdate", "id date firstSeen lastSeen todaysCounter"),
    ("sdate_spam", "id spam_id date_id"),
    ("ip", "id date sourceIP"),
    ("ip_spam", "id ip_id spam_id"),
    ("sensor", "id date sensorID"),
    ("sensor_spam", "id sensor_id spam_id"),
    ("links", "id date hyperLink spam_id"),
    (
        "attachment",
        "id date md5 attachment_file_name attachment_file_path attachment_file_type spam_id",
    ),
    (
        "inline",
        "id date md5 inline_file_name inline_file_path spam_id",
    ),
    (
        "relay",
        "id date firstRelayed lastRelayed totalRelayed spam_id sensorID",
    ),
    ("whitelist", "id recipients"),
];

/// The columns of its window database.
const OLD_WINDOW: &[(&str, &str)] = &[
    (
        "spam",
        "id ssdeep to from textMessage htmlMessage subject headers sourceIP sensorID firstSeen \
         relayCounter relayTime totalCounter length user",
    ),
    (
        "attachments",
        "id spam_id file_name attach_type attachment_file_path attachmentFileMd5 date",
    ),
    ("links", "id spam_id hyperlink date"),
    ("sensors", "id spam_id sensorID date"),
];

/// Tables that only a main database has, ours and the first SHIVA's, and only a window database.
const ONLY_MAIN: &[&str] = &["sdate", "sdate_spam", "ip_spam", "windows_taken"];
const ONLY_WINDOW: &[&str] = &["attachments", "sensors", "windows", "queue_files"];

/// A table or view that is there.
struct Found {
    is_table: bool,
    columns: BTreeMap<String, String>,
}

/// Fails where a database is not one that can be made ours.
pub(super) fn look(conn: &mut Conn, options: &Options) -> Result<()> {
    let window = found(conn, options, &options.window)?;
    let main = found(conn, options, &options.main)?;
    not_exchanged(&options.main, &main, ONLY_WINDOW)?;
    not_exchanged(&options.window, &window, ONLY_MAIN)?;
    for (database, key, found, schema, old) in [
        (&options.window, "tempdb", window, WINDOW_SCHEMA, OLD_WINDOW),
        (&options.main, "maindb", main, MAIN_SCHEMA, OLD_MAIN),
    ] {
        if !is_versioned(conn, options, database, &found)? {
            none_foreign(database, key, &found, schema, old)?;
        }
    }
    Ok(())
}

/// What a database holds; nothing where there is none.
fn found(conn: &mut Conn, options: &Options, database: &str) -> Result<BTreeMap<String, Found>> {
    // A view that is broken has no columns.
    let query = "SELECT CAST(t.table_name AS CHAR), t.table_type = 'BASE TABLE', \
        CAST(c.column_name AS CHAR), CAST(c.data_type AS CHAR) FROM information_schema.tables t \
        LEFT JOIN information_schema.columns c ON c.table_schema = t.table_schema AND \
        c.table_name = t.table_name WHERE t.table_schema = ?";
    let rows: Vec<(String, bool, Option<String>, Option<String>)> =
        conn.exec(query, (database,))
            .map_err(|error| Place::of(options, database).error(Fault::Sql(error)))?;
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for (table, is_table, column, kind) in rows {
        let columns = BTreeMap::new();
        let entry = found.entry(table).or_insert(Found { is_table, columns });
        if let (Some(column), Some(kind)) = (column, kind) {
            entry.columns.insert(column, kind.to_ascii_lowercase());
        }
    }
    Ok(found)
}

/// Fails where the configuration takes one database for the other.
fn not_exchanged(database: &str, found: &BTreeMap<String, Found>, others: &[&str]) -> Result<()> {
    match others.iter().find(|table| found.contains_key(**table)) {
        None => Ok(()),
        Some(table) => Err(unfit(format!(
            "the database {database} has a table {table}, which belongs to the other database; \
             are [database] maindb and tempdb exchanged? Nothing was changed"
        ))),
    }
}

/// Whether a database has a version of ours, and so tables of ours.
fn is_versioned(
    conn: &mut Conn,
    options: &Options,
    database: &str,
    found: &BTreeMap<String, Found>,
) -> Result<bool> {
    if !found.get(VERSION_TABLE).is_some_and(is_version_table) {
        return Ok(false);
    }
    let query = format!(
        "SELECT MAX(version) FROM {}.schema_version",
        quoted(database)
    );
    let version = conn
        .query_first::<Option<i64>, _>(query)
        .map_err(|error| Place::of(options, database).error(Fault::Sql(error)))?;
    Ok(version.flatten().is_some_and(|version| version > 0))
}

/// Other programs have a table of this name, too.
const VERSION_TABLE: &str = "schema_version";

fn is_version_table(found: &Found) -> bool {
    let version = found.columns.get("version");
    found.is_table && found.columns.len() == 1 && version.is_some_and(|kind| kind == "int")
}

/// Fails where anything with a name of ours is neither the first SHIVA's nor made by an earlier run.
fn none_foreign(
    database: &str,
    key: &str,
    found: &BTreeMap<String, Found>,
    schema: &str,
    old: &[(&str, &str)],
) -> Result<()> {
    let remedy = format!(
        "give [database] {key} the name of another database, or rename it there. Nothing was \
         changed"
    );
    let statements = tables::statements(schema);
    for table in statements.iter().filter_map(|text| tables::table(text)) {
        let Some(there) = found.get(&table.name) else {
            continue;
        };
        if !there.is_table {
            return Err(unfit(format!(
                "{} of the database {database} is no table but a view, where SHIVA has a table; \
                 {remedy}",
                table.name
            )));
        }
        let missing = missing(&table, there, old);
        let why = if !missing.is_empty() {
            let missing: Vec<&str> = missing.into_iter().collect();
            format!("it lacks the columns {}", missing.join(", "))
        } else if table.name == VERSION_TABLE && !is_version_table(there) {
            "it has other columns".to_owned()
        } else {
            continue;
        };
        return Err(unfit(format!(
            "the table {} of the database {database} is none of SHIVA's, for {why}; {remedy}",
            table.name
        )));
    }
    Ok(())
}

/// What a table lacks of the first SHIVA's or of ours, whichever it is nearer to.
fn missing<'t>(
    table: &'t Table,
    there: &Found,
    old: &'t [(&'t str, &'t str)],
) -> BTreeSet<&'t str> {
    let lacks = |column: &&str| !there.columns.contains_key(*column);
    let names = table.columns.iter().map(|column| column.name.as_str());
    let of_ours: BTreeSet<&str> = names.filter(lacks).collect();
    match old.iter().find(|(name, _)| *name == table.name) {
        None => of_ours,
        Some((_, columns)) => {
            let of_old: BTreeSet<&str> = columns.split(' ').filter(lacks).collect();
            if of_ours.is_empty() { of_ours } else { of_old }
        }
    }
}

fn unfit(what: String) -> StoreError {
    StoreError {
        kind: StoreErrorKind::Unfit,
        what,
    }
}
