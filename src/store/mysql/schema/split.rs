//! Takes the lists apart that the first SHIVA kept joined in one column, a row for each value.
//!
//! Rows come some at a time, and a long list piece by piece: neither a large table nor a large
//! list is in memory as a whole. Adding a value that is there already changes nothing.

use mysql::{Params, Value};

use super::work::Work;
use crate::store::Result;
use crate::store::bounds::{self, cut};
use crate::store::mysql::rows::hash;

/// Lists read at once.
const PAGE: u64 = 64;

/// Characters of a list read at once.
const PIECE: u64 = 64 * 1024;

/// Bytes of a value that are looked at: the rest is cut anyway.
const VALUE_MAX: usize = 64 * 1024;

/// Rows and bytes of one statement: far below any `max_allowed_packet`.
const ROWS_MAX: usize = 500;
const BYTES_MAX: usize = 256 * 1024;

/// Bytes that a row takes beside its value and its record's id: hash, date, numbers.
const ROW_OVERHEAD: usize = 48;

/// What the first SHIVA wrote for a client that had not named a user.
pub(super) const NOBODY: &str = "none";

/// A column of joined values, and where each of them goes.
pub(super) struct List {
    /// Query for number, id, date, length and first characters of the lists that follow a number,
    /// by number. Its values: how many characters, the number, how many lists.
    pub(super) pages: &'static str,
    /// Query for more characters of a list. Its values: from where, how many, id.
    pub(super) rest: &'static str,
    /// What stands between two values.
    pub(super) separator: &'static str,
    /// The beginning of the statement that adds values: id, date, value, hash, and the record's
    /// number if `by_number`.
    pub(super) insert: &'static str,
    /// A row of that statement.
    pub(super) row: &'static str,
    /// What stood there for no value.
    pub(super) nobody: Option<&'static str>,
    /// Whether the rows bear the record's number.
    pub(super) by_number: bool,
}

/// A record whose list is taken apart.
#[derive(Clone)]
struct Record {
    number: i64,
    id: String,
    date: Option<String>,
}

/// Takes a column's lists apart; returns how many values were new.
pub(super) fn take_apart(work: &mut Work<'_>, list: &List) -> Result<u64> {
    if work.is_dry() {
        work.remark(&format!(
            "for each list of this query, split at '{}':",
            list.separator
        ));
        work.execute(list.pages)?;
        work.execute(&format!("{}{}", list.insert, list.row))?;
        return Ok(0);
    }
    let mut rows = Rows {
        list,
        values: Vec::new(),
        rows: 0,
        bytes: 0,
        added: 0,
    };
    let mut after = -1;
    loop {
        type Page = (i64, String, Option<String>, Option<u64>, Option<String>);
        let page = work.rows::<Page>(list.pages, (PIECE, after, PAGE))?;
        let Some(last) = page.last() else { break };
        after = last.0;
        for (number, id, date, length, text) in page {
            let record = Record { number, id, date };
            let mut values = Values::new(list.separator, list.nobody);
            let mut piece = text.unwrap_or_default();
            let mut read = PIECE;
            loop {
                values.feed(&piece, &mut |value| rows.add(work, &record, value))?;
                if read >= length.unwrap_or(0) {
                    break;
                }
                let more = work.row(list.rest, (read + 1, PIECE, &record.id))?;
                piece = more.flatten().unwrap_or_default();
                read += PIECE;
            }
            values.end(&mut |value| rows.add(work, &record, value))?;
        }
    }
    rows.flush(work)?;
    Ok(rows.added)
}

/// Values out of a list that comes in pieces.
pub(super) struct Values<'s> {
    separator: &'s str,
    nobody: Option<&'static str>,
    begun: String,
}

pub(super) type Each<'e> = &'e mut dyn FnMut(&str) -> Result<()>;

impl<'s> Values<'s> {
    /// Of a list at this separator, where this stands for no value.
    pub(super) fn new(separator: &'s str, nobody: Option<&'static str>) -> Values<'s> {
        Values {
            separator,
            nobody,
            begun: String::new(),
        }
    }

    pub(super) fn feed(&mut self, piece: &str, each: Each<'_>) -> Result<()> {
        self.begun.push_str(piece);
        let text = std::mem::take(&mut self.begun);
        let (whole, last) = text.rsplit_once(self.separator).unwrap_or(("", &text));
        for value in whole.split(self.separator) {
            self.give(value, each)?;
        }
        let mut end = last.len().min(VALUE_MAX);
        while !last.is_char_boundary(end) {
            end -= 1;
        }
        self.begun.push_str(&last[..end]);
        Ok(())
    }

    pub(super) fn end(self, each: Each<'_>) -> Result<()> {
        self.give(&self.begun, each)
    }

    fn give(&self, value: &str, each: Each<'_>) -> Result<()> {
        let value = value.trim();
        if value.is_empty() || Some(value) == self.nobody {
            return Ok(());
        }
        each(value)
    }
}

/// Rows that are added together.
struct Rows<'l> {
    list: &'l List,
    values: Vec<Value>,
    rows: usize,
    bytes: usize,
    added: u64,
}

impl Rows<'_> {
    fn add(&mut self, work: &mut Work<'_>, record: &Record, value: &str) -> Result<()> {
        let value = cut(value, bounds::ADDRESS);
        self.bytes += value.len() + record.id.len() + ROW_OVERHEAD;
        self.values.extend([
            Value::from(record.id.as_str()),
            Value::from(record.date.as_deref()),
            Value::from(value.as_ref()),
            hash(&value),
        ]);
        if self.list.by_number {
            self.values.push(Value::from(record.number));
        }
        self.rows += 1;
        if self.rows == ROWS_MAX || self.bytes > BYTES_MAX {
            self.flush(work)?;
        }
        Ok(())
    }

    fn flush(&mut self, work: &mut Work<'_>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let rows = vec![self.list.row; self.rows].join(", ");
        let values = Params::Positional(std::mem::take(&mut self.values));
        self.added += work.execute_with(&format!("{}{rows}", self.list.insert), values)?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(separator: &'static str, pieces: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        let mut each = |value: &str| {
            all.push(value.to_owned());
            Ok(())
        };
        let mut values = Values::new(separator, None);
        for piece in pieces {
            values.feed(piece, &mut each).unwrap();
        }
        values.end(&mut each).unwrap();
        all
    }

    #[test]
    fn a_list_is_the_same_however_its_pieces_fall() {
        let list = "a@x.example,b,, c ,none,é@y.example";
        let expected = ["a@x.example", "b", "c", "none", "é@y.example"];
        assert_eq!(taken(",", &[list]), expected);
        let pieces: Vec<String> = list.chars().map(String::from).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        assert_eq!(taken(",", &pieces), expected);
        assert_eq!(
            taken(", ", &["10.0.0.1,", " 10.0.0.2, ", "10.0.0.3"]).len(),
            3
        );
        assert!(taken(",", &[""]).is_empty());
    }

    #[test]
    fn a_word_for_nobody_is_one_only_where_it_was() {
        let taken = |nobody| {
            let mut all = Vec::new();
            let mut each = |value: &str| {
                all.push(value.to_owned());
                Ok(())
            };
            Values::new(",", nobody).feed("none,a,", &mut each).unwrap();
            all
        };
        assert_eq!(taken(Some(NOBODY)), ["a"]);
        assert_eq!(taken(None), ["none", "a"]);
    }

    #[test]
    fn a_value_without_end_takes_no_memory_without_end() {
        let mut values = Values::new(",", None);
        for _ in 0..100 {
            values.feed(&"é".repeat(10_000), &mut |_| Ok(())).unwrap();
        }
        assert!(values.begun.len() <= VALUE_MAX);
    }
}
