//! The rows of the first SHIVA's main database: what our columns and tables hold of them.
//!
//! Records get numbers in the order they were first seen (those of unknown date last, by id). The
//! order is written to a table of its own first, so that every run goes by the same one; it is
//! dropped when all is done.

use super::split::{self, List};
use super::tables::{Column, Key, Table};
use super::work::Work;
use crate::store::Result;

/// Records that get their numbers in one statement.
const RECORDS_STEP: u64 = 1000;

/// Links that get their hashes in one statement.
const LINKS_STEP: u64 = 10_000;

/// A record's number until all have theirs.
pub(super) const NOT_YET_NUMBERED: &str = "BIGINT UNSIGNED NULL";

const ORDER: &str = "CREATE TABLE IF NOT EXISTS upgrade_order (
    seq BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id VARCHAR(255) NOT NULL UNIQUE,
    seen DATETIME NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

const PUT_IN_ORDER: &str = "INSERT INTO upgrade_order (id, seen)
SELECT s.id, f.seen FROM spam s
LEFT JOIN (
    SELECT t.spam_id, MIN(CASE WHEN d.firstSeen > '1000-01-01' THEN d.firstSeen
                               WHEN d.date > '1000-01-01' THEN d.date END) AS seen
    FROM sdate_spam t JOIN sdate d ON d.id = t.date_id GROUP BY t.spam_id
) f ON f.spam_id = s.id
LEFT JOIN upgrade_order o ON o.id = s.id
WHERE o.id IS NULL ORDER BY f.seen IS NULL, f.seen, s.id";

const NUMBER: &str = "UPDATE spam s JOIN upgrade_order o ON o.id = s.id
SET s.seq = o.seq, s.bodyChars = CHAR_LENGTH(CASE WHEN LENGTH(s.htmlMessage) > 0
    THEN s.htmlMessage ELSE COALESCE(s.textMessage, '') END)
WHERE s.seq IS NULL AND o.seq BETWEEN ? AND ?";

const NUMBERED: &str = "ALTER TABLE spam
    MODIFY COLUMN seq BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    ADD UNIQUE KEY spam_seq (seq)";

const HASH_LINKS: &str = "UPDATE links SET hash = UNHEX(LEFT(SHA2(hyperLink, 256), 32))
WHERE hash IS NULL AND hyperLink IS NOT NULL AND id > ? AND id <= ?";

const RECIPIENTS: List = List {
    pages: "SELECT o.seq, s.id, CAST(DATE(o.seen) AS CHAR), CHAR_LENGTH(s.`to`), \
            SUBSTRING(s.`to`, 1, ?) FROM upgrade_order o JOIN spam s ON s.id = o.id \
            WHERE o.seq > ? ORDER BY o.seq LIMIT ?",
    rest: "SELECT SUBSTRING(`to`, ?, ?) FROM spam WHERE id = ?",
    separator: ",",
    insert: "INSERT IGNORE INTO recipient_spam (spam_id, date, recipient, hash) VALUES ",
    row: "(?, ?, ?, ?)",
    nobody: None,
    by_number: false,
};

const USERS: List = List {
    pages: "SELECT o.seq, s.id, CAST(DATE(o.seen) AS CHAR), CHAR_LENGTH(s.user), \
            SUBSTRING(s.user, 1, ?) FROM upgrade_order o JOIN spam s ON s.id = o.id \
            WHERE o.seq > ? ORDER BY o.seq LIMIT ?",
    rest: "SELECT SUBSTRING(user, ?, ?) FROM spam WHERE id = ?",
    separator: ", ",
    insert: "INSERT IGNORE INTO user_spam (spam_id, date, user, hash) VALUES ",
    row: "(?, ?, ?, ?)",
    nobody: Some(split::NOBODY),
    by_number: false,
};

/// Whether a column is added without the numbers that it will hold.
pub(super) fn is_numbered_later(table: &Table, column: &Column) -> bool {
    table.name == "spam" && column.name == "seq"
}

/// Whether a key has to wait for these numbers.
pub(super) fn is_made_later(key: &Key) -> bool {
    key.name == "spam_seq"
}

/// Fills what old rows lack. Does nothing where there are none.
pub(super) fn fill(work: &mut Work<'_>) -> Result<()> {
    // In a dry run a new table is not there, and an old one lacks the column.
    let numbered = match work.table("spam")? {
        Some(spam) => spam.columns.get("seq").is_some_and(|seq| seq.counts),
        None => true,
    };
    if numbered && work.table("upgrade_order")?.is_none() {
        return Ok(());
    }
    put_in_order(work)?;
    hash_links(work)?;
    for (list, from, to) in [
        (&RECIPIENTS, "to", "recipient_spam"),
        (&USERS, "user", "user_spam"),
    ] {
        let added = split::take_apart(work, list)?;
        work.say_table(
            to,
            added > 0,
            format!("{added} values added from {from} of spam"),
        );
    }
    if !numbered {
        work.execute(NUMBERED)?;
    }
    work.execute("DROP TABLE upgrade_order")?;
    Ok(())
}

fn put_in_order(work: &mut Work<'_>) -> Result<()> {
    work.execute(ORDER)?;
    work.execute(PUT_IN_ORDER)?;
    if work.is_dry() {
        work.remark("for some records at a time:");
        work.execute(NUMBER)?;
        return Ok(());
    }
    let last = work.row::<Option<u64>>("SELECT MAX(seq) FROM upgrade_order", ())?;
    let last = last.flatten().unwrap_or(0);
    let mut from = 1;
    while from <= last {
        work.execute_with(NUMBER, (from, from + RECORDS_STEP - 1))?;
        from += RECORDS_STEP;
    }
    work.say_table("spam", true, format!("{last} records numbered"));
    Ok(())
}

fn hash_links(work: &mut Work<'_>) -> Result<()> {
    if work.is_dry() {
        work.remark("for some links at a time:");
        work.execute(HASH_LINKS)?;
        return Ok(());
    }
    let step = "SELECT MAX(id) FROM (SELECT id FROM links WHERE id > ? ORDER BY id LIMIT ?) t";
    let (mut after, mut hashed) = (i64::MIN, 0);
    while let Some(last) = work
        .row::<Option<i64>>(step, (after, LINKS_STEP))?
        .flatten()
    {
        hashed += work.execute_with(HASH_LINKS, (after, last))?;
        after = last;
    }
    work.say_table("links", hashed > 0, format!("{hashed} hashes filled in"));
    Ok(())
}
