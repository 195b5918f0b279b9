//! Reads the records of a window a page at a time: bounded in memory however large the window and
//! its bodies are, and one query for each kind of thing whatever the number of records.

use std::collections::BTreeMap;

use mysql::Conn;

use super::fault::Tried;
use super::relaying;
use super::rows::{Columns, all};
use crate::store::{Day, Known, NewRecord, Part, Sets, TakenRecord};

/// Most records of a page.
const RECORDS_MAX: usize = 256;

/// Bytes of bodies and headers of a page, unless one record alone has more.
const BYTES_MAX: u64 = 16 << 20;

/// Records of a page without bodies.
pub(super) const KNOWN_MAX: usize = 5000;

/// What matching needs of some records: those from number `from` on, each with its number.
pub(super) fn known(conn: &mut Conn, window: u64, from: u64) -> Tried<Vec<(u64, Known)>> {
    let query = format!(
        "SELECT seq, id, ssdeep, length, bodyChars, hasText FROM spam WHERE `window` = ? AND \
         seq >= ? ORDER BY seq LIMIT {KNOWN_MAX}"
    );
    all(conn, &query, (window, from), |row| {
        (row.number(), known_columns(row))
    })
}

fn known_columns(row: &mut Columns) -> Known {
    Known {
        id: row.text(),
        ssdeep: row.text(),
        length: row.number(),
        body_chars: row.number(),
        has_text: row.number() != 0,
    }
}

/// The next page of records, from number `from` on, and the number to go on from; `None` after
/// the last.
pub(super) fn records(
    conn: &mut Conn,
    window: u64,
    from: u64,
) -> Tried<Option<(Vec<TakenRecord>, u64)>> {
    let Some(last) = end_of_page(conn, window, from)? else {
        return Ok(None);
    };
    let key = (window, from, last);
    let query = format!(
        "SELECT seq, id, ssdeep, length, bodyChars, hasText, `from`, subject, textMessage, \
         htmlMessage, headers, sample, totalCounter FROM spam WHERE {RANGE} ORDER BY seq"
    );
    let mut records: BTreeMap<u64, TakenRecord> =
        all(conn, &query, key, taken)?.into_iter().collect();
    let mut each = |table, column, set: fn(&mut Sets) -> &mut Vec<String>| -> Tried<()> {
        let query = format!("SELECT seq, {column} FROM {table} WHERE {RANGE}");
        for (seq, value) in all(conn, &query, key, |row| (row.number(), row.text()))? {
            if let Some(record) = records.get_mut(&seq) {
                set(&mut record.sets).push(value);
            }
        }
        Ok(())
    };
    each("links", "hyperlink", |sets| &mut sets.links)?;
    each("sources", "sourceIP", |sets| &mut sets.ips)?;
    each("sensors", "sensorID", |sets| &mut sets.sensors)?;
    each("recipients", "recipient", |sets| &mut sets.recipients)?;
    each("users", "user", |sets| &mut sets.users)?;
    let query = format!(
        "SELECT seq, file_name, media_type, size, attachmentFileMd5, sha256, attach_type, \
         attachment_file_path FROM attachments WHERE {RANGE}"
    );
    for (seq, part) in all(conn, &query, key, |row| (row.number(), part(row)))? {
        if let Some(record) = records.get_mut(&seq) {
            record.sets.parts.push(part);
        }
    }
    let query = format!(
        "SELECT seq, firstSeen, lastSeen, todaysCounter FROM days WHERE {RANGE} ORDER BY seq, date"
    );
    for (seq, day) in all(conn, &query, key, |row| (row.number(), day(row)))? {
        if let Some(record) = records.get_mut(&seq) {
            record.days.push(day);
        }
    }
    relaying::of_records(conn, key, &mut records)?;
    Ok(Some((records.into_values().collect(), last + 1)))
}

/// The rows of a page in any table.
const RANGE: &str = "`window` = ? AND seq BETWEEN ? AND ?";

/// The number of the last record of the page that begins here.
fn end_of_page(conn: &mut Conn, window: u64, from: u64) -> Tried<Option<u64>> {
    let query = format!(
        "SELECT seq, LENGTH(textMessage) + LENGTH(htmlMessage) + LENGTH(headers) FROM spam WHERE \
         `window` = ? AND seq >= ? ORDER BY seq LIMIT {RECORDS_MAX}"
    );
    let sizes = all(conn, &query, (window, from), |row| {
        (row.number(), row.number())
    })?;
    let mut last = None;
    let mut bytes = 0;
    for (seq, size) in sizes {
        bytes += size;
        if last.is_some() && bytes > BYTES_MAX {
            break;
        }
        last = Some(seq);
    }
    Ok(last)
}

fn taken(row: &mut Columns) -> (u64, TakenRecord) {
    let seq = row.number();
    let record = NewRecord {
        known: known_columns(row),
        from: row.text(),
        subject: row.text(),
        text: row.text(),
        html: row.text(),
        headers: row.text(),
        sample: row.text(),
    };
    let taken = TakenRecord {
        record,
        count: row.number(),
        days: Vec::new(),
        sets: Sets::default(),
        relays: Vec::new(),
    };
    (seq, taken)
}

/// A part's columns: name, type, size, md5, sha256, kind, path.
pub(super) fn part(row: &mut Columns) -> Part {
    Part {
        name: row.text(),
        media_type: row.text(),
        size: row.number(),
        md5: row.text(),
        sha256: row.text(),
        inline: row.text() == "inline",
        path: row.text(),
    }
}

/// A day's columns: first and last seen, count.
pub(super) fn day(row: &mut Columns) -> Day {
    Day {
        first_seen: row.moment(),
        last_seen: row.moment(),
        count: row.number(),
    }
}
