//! Values as they go into statements and come out of rows.
//!
//! A row is read leniently: what an old database holds in a column may be NULL or of another type
//! than ours, and must not end the process.

use mysql::prelude::Queryable;
use mysql::{Conn, Params, Row, Value};
use sha2::{Digest, Sha256};

use super::fault::Tried;
use crate::timestamp::Timestamp;
use crate::watchdog;

/// Most rows of one statement.
const ROWS_MAX: usize = 1000;

/// Most placeholders of one statement, a bound of the protocol.
const PLACEHOLDERS_MAX: usize = 65_535;

/// Bytes of a statement that are left to its text and to the protocol.
const STATEMENT_OVERHEAD: usize = 128 * 1024;

/// Bytes that a value takes beside its own, at most.
const VALUE_OVERHEAD: usize = 11;

/// Bytes of a SHA-256 that tell values apart: nobody finds two that share them.
const HASH: usize = 16;

/// Bytes of values that one statement may carry to a server of this `max_allowed_packet`.
pub(super) fn room(packet: usize) -> usize {
    packet.saturating_sub(STATEMENT_OVERHEAD)
}

/// The key of a value that is longer than a key may be, as `sql/mysql` describes it.
pub(super) fn hash(value: &str) -> Value {
    Value::Bytes(Sha256::digest(value.as_bytes())[..HASH].to_vec())
}

/// Text for a statement.
pub(super) fn bytes(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

/// A statement of many rows, sent in as few pieces as the bounds allow.
pub(super) struct Rows<'c> {
    conn: &'c mut Conn,
    head: String,
    tail: &'static str,
    room: usize,
    values: Vec<Value>,
    rows: usize,
    columns: usize,
    bytes: usize,
}

impl<'c> Rows<'c> {
    /// `INSERT INTO table (columns) VALUES …` and what follows the rows.
    pub(super) fn insert(
        conn: &'c mut Conn,
        packet: usize,
        table: &str,
        columns: &str,
        tail: &'static str,
    ) -> Rows<'c> {
        Rows {
            conn,
            head: format!("INSERT INTO {table} ({columns}) VALUES "),
            tail,
            room: room(packet),
            values: Vec::new(),
            rows: 0,
            columns: columns.split(',').count(),
            bytes: 0,
        }
    }

    /// Adds a row; sends those before it when it does not fit.
    pub(super) fn push(&mut self, row: Vec<Value>) -> Tried<()> {
        debug_assert_eq!(row.len(), self.columns);
        let size: usize = row.iter().map(size).sum();
        if self.rows == ROWS_MAX
            || self.values.len() + row.len() > PLACEHOLDERS_MAX
            || self.bytes + size > self.room
        {
            self.send()?;
        }
        self.values.extend(row);
        self.rows += 1;
        self.bytes += size;
        Ok(())
    }

    /// Sends what was added.
    pub(super) fn send(&mut self) -> Tried<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let row = format!("({})", ["?"].repeat(self.columns).join(","));
        let rows = [row.as_str()].repeat(self.rows).join(",");
        let statement = format!("{}{rows} {}", self.head, self.tail);
        let values = std::mem::take(&mut self.values);
        (self.rows, self.bytes) = (0, 0);
        self.conn.exec_drop(statement, Params::Positional(values))?;
        watchdog::still_alive();
        Ok(())
    }
}

fn size(value: &Value) -> usize {
    VALUE_OVERHEAD
        + match value {
            Value::Bytes(bytes) => bytes.len(),
            _ => 8,
        }
}

/// Reads a row's columns from left to right.
pub(super) struct Columns {
    row: Row,
    next: usize,
}

impl Columns {
    pub(super) fn of(row: Row) -> Columns {
        Columns { row, next: 0 }
    }

    fn value(&mut self) -> Value {
        self.next += 1;
        self.row.take(self.next - 1).unwrap_or(Value::NULL)
    }

    /// Text; empty for NULL.
    pub(super) fn text(&mut self) -> String {
        match self.value() {
            Value::NULL => String::new(),
            Value::Bytes(bytes) => String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            Value::Date(year, month, day, hour, minute, second, _) => {
                format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
            }
            Value::Int(number) => number.to_string(),
            Value::UInt(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Double(number) => number.to_string(),
            Value::Time(..) => String::new(),
        }
    }

    /// A count; 0 for NULL and for what is none. A sum comes as text.
    pub(super) fn number(&mut self) -> u64 {
        match self.value() {
            Value::UInt(number) => number,
            Value::Int(number) => u64::try_from(number).unwrap_or(0),
            Value::Bytes(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            _ => 0,
        }
    }

    /// The day of a date.
    pub(super) fn date(&mut self) -> String {
        let mut text = self.text();
        text.truncate(text.find(' ').unwrap_or(text.len()));
        text
    }

    /// A time; the epoch where there is none.
    pub(super) fn moment(&mut self) -> Timestamp {
        Timestamp::parse_datetime(&self.text()).unwrap_or(Timestamp::from_seconds(0, 0))
    }
}

/// All rows of a query, read by `read`.
pub(super) fn all<T>(
    conn: &mut Conn,
    query: &str,
    params: impl Into<Params>,
    mut read: impl FnMut(&mut Columns) -> T,
) -> Tried<Vec<T>> {
    let rows = conn.exec_iter(query, params)?;
    rows.map(|row| Ok(read(&mut Columns::of(row?)))).collect()
}

/// The first row of a query, read by `read`.
pub(super) fn first<T>(
    conn: &mut Conn,
    query: &str,
    params: impl Into<Params>,
    read: impl FnOnce(&mut Columns) -> T,
) -> Tried<Option<T>> {
    let mut rows = conn.exec_iter(query, params)?;
    match rows.next() {
        Some(row) => Ok(Some(read(&mut Columns::of(row?)))),
        None => Ok(None),
    }
}

/// Whether a query gives any row.
pub(super) fn exists(conn: &mut Conn, query: &str, params: impl Into<Params>) -> Tried<bool> {
    Ok(first(conn, query, params, |_| ())?.is_some())
}

/// Runs a statement; returns how many rows it met.
pub(super) fn execute(conn: &mut Conn, statement: &str, params: impl Into<Params>) -> Tried<u64> {
    conn.exec_drop(statement, params)?;
    Ok(conn.affected_rows())
}
