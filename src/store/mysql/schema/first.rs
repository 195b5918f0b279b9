//! Migration 1: makes the tables, and brings those of the first SHIVA to what we declare.
//!
//! A table that is there gets what it lacks in one statement, which happens whole or not at all:
//! text is converted to utf8mb4 and reads the same, columns are widened, columns and keys added.
//! What is wider than ours stays so, and columns, keys and tables that we do not know are left
//! alone.

use super::tables::{self, Column, Table, Type};
use super::work::{Existing, ExistingColumn, Work};
use super::{MAIN_SCHEMA, WINDOW_SCHEMA, old_main, old_whitelist, old_window};
use crate::store::mysql::quoted;
use crate::store::{MADE, Result, UNCHANGED};

/// Makes the main store's tables or takes over those that are there, and their rows.
pub(super) fn main(work: &mut Work<'_>) -> Result<()> {
    for statement in tables::statements(MAIN_SCHEMA) {
        let Some(table) = tables::table(&statement) else {
            work.execute(&statement)?;
            continue;
        };
        match work.table(&table.name)? {
            Some(existing) => adapt(work, &table, &existing)?,
            None => make(work, &table, &statement)?,
        }
    }
    old_main::fill(work)?;
    old_whitelist::keep(work)
}

/// Makes the window store's tables; those of the first SHIVA are put aside and their rows taken
/// over as a window that waits.
pub(super) fn window(work: &mut Work<'_>) -> Result<()> {
    old_window::put_aside(work)?;
    for statement in tables::statements(WINDOW_SCHEMA) {
        match tables::table(&statement) {
            Some(table)
                if work
                    .table(&table.name)?
                    .is_none_or(|t| old_window::is_old(&table.name, &t)) =>
            {
                make(work, &table, &statement)?;
            }
            Some(table) => work.say_table(&table.name, false, UNCHANGED),
            None => drop(work.execute(&statement)?),
        }
    }
    old_window::take_over(work)
}

fn make(work: &mut Work<'_>, table: &Table, statement: &str) -> Result<()> {
    work.execute(statement)?;
    work.say_table(&table.name, true, MADE);
    Ok(())
}

/// Brings a table that is there to what is declared.
fn adapt(work: &mut Work<'_>, table: &Table, existing: &Existing) -> Result<()> {
    let (mut clauses, mut changed, mut added) = (Vec::new(), 0, 0);
    for column in &table.columns {
        let name = quoted(&column.name);
        match existing.columns.get(&column.name) {
            Some(there) => {
                if let Some(definition) = wider(column, there) {
                    clauses.push(format!("MODIFY COLUMN {name} {definition}"));
                    changed += 1;
                }
            }
            None if old_main::is_numbered_later(table, column) => {
                clauses.push(format!("ADD COLUMN {name} {}", old_main::NOT_YET_NUMBERED));
                added += 1;
            }
            None => {
                clauses.push(format!("ADD COLUMN {name} {}", column.definition));
                added += 1;
            }
        }
    }
    let mut keys = 0;
    for key in &table.keys {
        if !existing.keys.contains(&key.name) && !old_main::is_made_later(key) {
            clauses.push(format!("ADD {}", key.definition));
            keys += 1;
        }
    }
    if !existing.ours {
        clauses.push(
            table
                .options
                .replacen(" DEFAULT", ", DEFAULT", 1)
                .replacen(" ROW", ", ROW", 1),
        );
    }
    if clauses.is_empty() {
        work.say_table(&table.name, false, UNCHANGED);
        return Ok(());
    }
    let sql = format!(
        "ALTER TABLE {}\n    {}",
        quoted(&table.name),
        clauses.join(",\n    ")
    );
    work.execute(&sql)?;
    let done = format!("upgraded ({changed} columns changed, {added} added, {keys} keys added)");
    work.say_table(&table.name, true, done);
    Ok(())
}

/// What a column that is there has to become; `None` where it is well as it is.
fn wider(column: &Column, there: &ExistingColumn) -> Option<String> {
    let charset = |collation: &str| collation.split('_').next().map(ToOwned::to_owned);
    let before = there
        .collation
        .as_deref()
        .and_then(charset)
        .unwrap_or_default();
    // A character of utf8 takes the same bytes in utf8mb4; of others it may take more.
    let growth = if before.starts_with("utf8") { 1 } else { 4 };
    let becomes = there.kind.widened(column.kind, growth);
    let same_text = !column.kind.is_text() || there.collation == column.collation;
    if becomes == Type::Other || (same_text && there.kind.widened(column.kind, 1) == there.kind) {
        return None;
    }
    Some(format!("{} {}", becomes.sql()?, column.rest))
}
