//! A database in work: statements executed or, in a dry run, written down; and what was done.

use std::collections::BTreeMap;

use mysql::prelude::{FromRow, Queryable};
use mysql::{Conn, Error, Params};

use super::tables::Type;
use crate::store::mysql::fault::{Fault, Place};
use crate::store::mysql::{Options, quoted};
use crate::store::{MADE, Made, Result, StoreError};

/// A table as the server has it.
#[derive(Debug)]
pub(super) struct Existing {
    /// Engine, row format and collation are those of our tables.
    pub(super) ours: bool,
    pub(super) columns: BTreeMap<String, ExistingColumn>,
    pub(super) keys: Vec<String>,
}

/// A column as the server has it.
#[derive(Debug)]
pub(super) struct ExistingColumn {
    pub(super) kind: Type,
    pub(super) collation: Option<String>,
    pub(super) counts: bool,
}

/// A database that is being made or upgraded.
pub(super) struct Work<'c> {
    connection: &'c mut Conn,
    pub(super) options: &'c Options,
    pub(super) database: String,
    dry: bool,
    /// False in a dry run where there is no such database yet.
    exists: bool,
    made: Vec<Made>,
    statements: Vec<String>,
}

impl<'c> Work<'c> {
    pub(super) fn new(
        connection: &'c mut Conn,
        options: &'c Options,
        database: &str,
        dry: bool,
    ) -> Work<'c> {
        Work {
            connection,
            options,
            database: database.to_owned(),
            dry,
            exists: true,
            made: Vec::new(),
            statements: Vec::new(),
        }
    }

    /// What was done, and by which statements.
    pub(super) fn done(self) -> (Vec<Made>, Vec<String>) {
        (self.made, self.statements)
    }

    /// Whether nothing is to be changed.
    pub(super) fn is_dry(&self) -> bool {
        self.dry
    }

    /// Says what was done to a part.
    pub(super) fn say(&mut self, what: String, now: bool, done: impl Into<String>) {
        self.made.push(Made {
            what,
            now,
            done: done.into(),
        });
    }

    /// Says what was done to a table.
    pub(super) fn say_table(&mut self, table: &str, now: bool, done: impl Into<String>) {
        self.say(format!("{}.{table}", self.database), now, done);
    }

    /// Makes the database if it is missing, and makes it the connection's.
    pub(super) fn enter(&mut self) -> Result<()> {
        let name = quoted(&self.database);
        let enter = format!("USE {name}");
        match self.connection.query_drop(&enter) {
            Ok(()) => {
                if self.dry {
                    self.statements.push(enter);
                }
                return Ok(());
            }
            Err(Error::MySqlError(error)) if error.code == 1049 => {}
            Err(error) => return Err(self.explain(error)),
        }
        let make = format!(
            "CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        );
        if self.dry {
            self.exists = false;
            self.statements.extend([make, enter]);
            return Ok(());
        }
        for statement in [make, enter] {
            let done = self.connection.query_drop(statement);
            done.map_err(|error| self.explain(error))?;
        }
        self.say(self.database.clone(), true, MADE);
        Ok(())
    }

    fn denied(&self, error: &mysql::MySqlError) -> StoreError {
        let (name, user) = (quoted(&self.database), &self.options.user);
        StoreError {
            kind: crate::store::StoreErrorKind::Unavailable,
            what: format!(
                "the server does not let {user} make or use the database {}: {}. Say to the \
                 server as its administrator: CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET \
                 utf8mb4 COLLATE utf8mb4_bin; GRANT ALL ON {name}.* TO '{user}'@'HOST'; then run \
                 this again",
                self.database, error.message
            ),
        }
    }

    /// Executes a statement, or writes it down.
    pub(super) fn execute(&mut self, sql: &str) -> Result<u64> {
        self.execute_with(sql, Params::Empty)
    }

    /// Executes a statement with values; a dry run writes it down with a `?` for each.
    pub(super) fn execute_with(&mut self, sql: &str, values: impl Into<Params>) -> Result<u64> {
        if self.dry {
            self.statements.push(sql.to_owned());
            return Ok(0);
        }
        let done = match values.into() {
            Params::Empty => self.connection.query_drop(sql),
            values => self.connection.exec_drop(sql, values),
        };
        done.map_err(|error| self.explain(error))?;
        Ok(self.connection.affected_rows())
    }

    /// Writes a remark down for the reader of a dry run.
    pub(super) fn remark(&mut self, text: &str) {
        if self.dry {
            self.statements.push(format!("-- {text}"));
        }
    }

    /// The rows of a query. None where there is no database yet.
    pub(super) fn rows<T: FromRow>(
        &mut self,
        sql: &str,
        values: impl Into<Params>,
    ) -> Result<Vec<T>> {
        if !self.exists {
            return Ok(Vec::new());
        }
        self.connection
            .exec(sql, values.into())
            .map_err(|error| self.explain(error))
    }

    /// The first row of a query.
    pub(super) fn row<T: FromRow>(
        &mut self,
        sql: &str,
        values: impl Into<Params>,
    ) -> Result<Option<T>> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }

    /// A failure with what the operator does about it.
    fn explain(&self, error: Error) -> StoreError {
        let remedy = match &error {
            Error::MySqlError(error) => match error.code {
                1044 | 1142 | 1143 | 1227 | 1370 => return self.denied(error),
                1205 => "; another program uses the table: stop the analyzer, then run this again",
                _ => "; when that is mended run this again: it goes on where it was",
            },
            _ => "; when the server is back run this again: it goes on where it was",
        };
        let mut failure = Place::of(self.options, &self.database).error(Fault::Sql(error));
        failure.what.push_str(remedy);
        failure
    }

    /// The version of the schema; 0 where there is none.
    pub(super) fn version(&mut self) -> Result<u64> {
        if self.table("schema_version")?.is_none() {
            return Ok(0);
        }
        let version = self.row::<Option<u64>>("SELECT max(version) FROM schema_version", ())?;
        Ok(version.flatten().unwrap_or(0))
    }

    /// Writes that the database has this version now.
    pub(super) fn set_version(&mut self, version: u64) -> Result<()> {
        self.execute(&format!(
            "INSERT IGNORE INTO schema_version VALUES ({version})"
        ))?;
        if version > 1 {
            self.execute(&format!(
                "DELETE FROM schema_version WHERE version < {version}"
            ))?;
        }
        Ok(())
    }

    /// A table as it is, if it is.
    pub(super) fn table(&mut self, name: &str) -> Result<Option<Existing>> {
        let table = self.row::<(Option<String>, Option<String>, Option<String>)>(
            "SELECT CAST(engine AS CHAR), CAST(row_format AS CHAR), CAST(table_collation AS CHAR) \
             FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ? \
             AND table_type = 'BASE TABLE'",
            (name,),
        )?;
        let Some((engine, format, collation)) = table else {
            return Ok(None);
        };
        let is = |value: Option<String>, ours: &str| {
            value.is_some_and(|value| value.eq_ignore_ascii_case(ours))
        };
        Ok(Some(Existing {
            ours: is(engine, "InnoDB") && is(format, "Dynamic") && is(collation, "utf8mb4_bin"),
            columns: self.columns(name)?,
            keys: self.rows(
                "SELECT DISTINCT CAST(index_name AS CHAR) FROM information_schema.statistics \
                 WHERE table_schema = DATABASE() AND table_name = ?",
                (name,),
            )?,
        }))
    }

    fn columns(&mut self, table: &str) -> Result<BTreeMap<String, ExistingColumn>> {
        type Row = (String, String, Option<u64>, Option<String>, Option<String>);
        let rows = self.rows::<Row>(
            "SELECT CAST(column_name AS CHAR), CAST(data_type AS CHAR), character_maximum_length, \
             CAST(collation_name AS CHAR), CAST(extra AS CHAR) FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = ?",
            (table,),
        )?;
        let column = |(name, kind, characters, collation, extra): Row| {
            let column = ExistingColumn {
                kind: Type::new(&kind, characters.unwrap_or(0)),
                collation,
                counts: extra.is_some_and(|extra| extra.contains("auto_increment")),
            };
            (name, column)
        };
        Ok(rows.into_iter().map(column).collect())
    }
}
