//! Reads the records of a window a page at a time: bounded in memory however large the window, its
//! bodies and its sets are, unless one record alone has more. One query for each kind of thing,
//! whatever the number of records.

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

/// Values in the sets of a page, unless one record alone has more.
const VALUES_MAX: u64 = 20_000;

/// The tables of a record's sets.
const SETS: [&str; 6] = [
    "links",
    "sources",
    "sensors",
    "recipients",
    "users",
    "attachments",
];

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

/// What a record takes of a page.
struct Size {
    seq: u64,
    bytes: u64,
    values: u64,
}

/// The number of the last record of the page that begins here.
fn end_of_page(conn: &mut Conn, window: u64, from: u64) -> Tried<Option<u64>> {
    let query = format!(
        "SELECT seq, LENGTH(textMessage) + LENGTH(htmlMessage) + LENGTH(headers) FROM spam WHERE \
         `window` = ? AND seq >= ? ORDER BY seq LIMIT {RECORDS_MAX}"
    );
    let mut sizes = all(conn, &query, (window, from), |row| Size {
        seq: row.number(),
        bytes: row.number(),
        values: 0,
    })?;
    let Some(last) = sizes.last().map(|size| size.seq) else {
        return Ok(None);
    };
    for table in SETS {
        let query = format!("SELECT seq, COUNT(*) FROM {table} WHERE {RANGE} GROUP BY seq");
        let counts = all(conn, &query, (window, from, last), |row| {
            (row.number(), row.number())
        })?;
        for (seq, count) in counts {
            if let Ok(at) = sizes.binary_search_by_key(&seq, |size| size.seq) {
                sizes[at].values += count;
            }
        }
    }
    Ok(last_that_fits(&sizes))
}

/// The first of these records, and what fits with it.
fn last_that_fits(sizes: &[Size]) -> Option<u64> {
    let (first, others) = sizes.split_first()?;
    let (mut bytes, mut values) = (first.bytes, first.values);
    let fitting = others.iter().take_while(|size| {
        bytes += size.bytes;
        values += size.values;
        bytes <= BYTES_MAX && values <= VALUES_MAX
    });
    Some(fitting.last().unwrap_or(first).seq)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_no_more_than_fits_and_one_record_at_least() {
        let last = |sizes: &[(u64, u64)]| {
            let size = |(seq, (bytes, values)): (u64, &(u64, u64))| Size {
                seq,
                bytes: *bytes,
                values: *values,
            };
            let sizes: Vec<Size> = (7..).zip(sizes).map(size).collect();
            last_that_fits(&sizes)
        };
        assert_eq!(last(&[]), None);
        assert_eq!(last(&[(1, 1), (0, 0), (1, 1)]), Some(9));
        assert_eq!(last(&[(BYTES_MAX, 0), (0, 1), (1, 0)]), Some(8));
        assert_eq!(last(&[(1, VALUES_MAX), (1, 0), (0, 1)]), Some(8));
        assert_eq!(last(&[(1, VALUES_MAX + 1), (1, 0)]), Some(7));
        assert_eq!(last(&[(0, 0), (BYTES_MAX + 1, 0), (0, 1)]), Some(7));
    }
}
