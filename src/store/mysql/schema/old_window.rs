//! The window that a stopped analyzer of the first SHIVA left in its window database.
//!
//! Its tables have the names of ours, so they are put aside: `old_spam`, `old_attachments`,
//! `old_links` and `old_sensors`. Their rows are copied, in the transaction that names the
//! analyzer, into a window that is closed and waits, and the next start takes it in. The old
//! tables stay until somebody drops them: what belonged to no record is in no other place.

use super::split::{self, List};
use super::work::{Existing, Work};
use crate::queue::name::Namer;
use crate::store::{Result, StoreError, StoreErrorKind, WindowKey};
use crate::timestamp::Timestamp;

/// The first SHIVA's tables.
const OLD: &[&str] = &["spam", "attachments", "links", "sensors"];

/// Characters of the analyzer's name that its drawn name begins with.
const NAME_MAX: usize = 128;

const SPAM: &str = "INSERT INTO spam (`window`, seq, id, ssdeep, `to`, `from`, textMessage, \
    htmlMessage, subject, headers, sourceIP, sensorID, firstSeen, lastSeen, relayCounter, \
    relayTime, totalCounter, length, bodyChars, hasText, user, sample)
SELECT 1, ROW_NUMBER() OVER (ORDER BY o.seen, o.id) - 1, o.id, COALESCE(o.ssdeep, ''),
    COALESCE(o.`to`, ''), COALESCE(o.`from`, ''), COALESCE(o.textMessage, ''),
    COALESCE(o.htmlMessage, ''), COALESCE(o.subject, ''), COALESCE(o.headers, ''),
    COALESCE(o.sourceIP, ''), COALESCE(o.sensorID, ''), o.seen, o.seen,
    GREATEST(COALESCE(o.relayCounter, 0), 0),
    CASE WHEN o.relayTime > '1000-01-01' THEN o.relayTime END,
    GREATEST(COALESCE(o.totalCounter, 1), 1), GREATEST(COALESCE(o.length, 0), 0),
    CHAR_LENGTH(CASE WHEN LENGTH(o.htmlMessage) > 0 THEN o.htmlMessage
        ELSE COALESCE(o.textMessage, '') END),
    COALESCE(LENGTH(o.textMessage) > 0, FALSE), COALESCE(o.user, ''), ''
FROM (SELECT p.*, CASE WHEN p.firstSeen > '1000-01-01' THEN p.firstSeen ELSE ? END AS seen
    FROM old_spam p) o";

const DAYS: &str = "INSERT INTO days (`window`, seq, date, firstSeen, lastSeen, todaysCounter)
SELECT `window`, seq, DATE(firstSeen), firstSeen, lastSeen, totalCounter FROM spam
WHERE `window` = 1";

/// A line of the ledger for each copy that was relayed, of which no more is known. A thousand is what
/// a server counts to here by itself, and far above what the first SHIVA was told to relay of a spam.
const RELAYS: &str = "INSERT INTO relays (`window`, seq, spam_id, name, taken, settled, fate, \
    answer, sender, recipients, sourceIP, sensorID)
WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)
SELECT s.`window`, s.seq, s.id, CONCAT('first-shiva-', s.id, '-', n),
    COALESCE(s.relayTime, s.firstSeen), COALESCE(s.relayTime, s.firstSeen), 'accepted',
    'relayed by the first SHIVA', '', '', 'unknown', SUBSTRING_INDEX(s.sensorID, ', ', 1)
FROM spam s JOIN numbers ON n <= s.relayCounter WHERE s.`window` = 1";

/// What was copied from another table than `spam`, and how.
const COPIES: &[(&str, &str)] = &[
    (
        "attachments",
        "INSERT IGNORE INTO attachments (`window`, seq, spam_id, file_name, attach_type, \
         attachment_file_path, attachmentFileMd5, sha256, size, media_type, date, hash)
SELECT s.`window`, s.seq, s.id, COALESCE(a.file_name, ''),
    CASE WHEN a.attach_type = 'inline' THEN 'inline' ELSE 'attach' END,
    COALESCE(a.attachment_file_path, ''), COALESCE(a.attachmentFileMd5, ''), '', 0, '',
    CASE WHEN a.date > '1000-01-01' THEN a.date ELSE DATE(s.firstSeen) END,
    UNHEX(LEFT(SHA2(CONVERT(CONCAT_WS('/', a.attachmentFileMd5, a.file_name) USING utf8mb4), 256),
        32))
FROM old_attachments a JOIN spam s ON s.`window` = 1 AND s.id = a.spam_id",
    ),
    (
        "links",
        "INSERT IGNORE INTO links (`window`, seq, spam_id, hyperlink, date, hash)
SELECT s.`window`, s.seq, s.id, l.hyperlink,
    CASE WHEN l.date > '1000-01-01' THEN l.date ELSE DATE(s.firstSeen) END,
    UNHEX(LEFT(SHA2(CONVERT(l.hyperlink USING utf8mb4), 256), 32))
FROM old_links l JOIN spam s ON s.`window` = 1 AND s.id = l.spam_id
WHERE LENGTH(l.hyperlink) > 0",
    ),
    (
        "sensors",
        "INSERT IGNORE INTO sensors (`window`, seq, spam_id, sensorID, date, hash)
SELECT s.`window`, s.seq, s.id, l.sensorID,
    CASE WHEN l.date > '1000-01-01' THEN l.date ELSE DATE(s.firstSeen) END,
    UNHEX(LEFT(SHA2(CONVERT(l.sensorID USING utf8mb4), 256), 32))
FROM old_sensors l JOIN spam s ON s.`window` = 1 AND s.id = l.spam_id
WHERE LENGTH(l.sensorID) > 0",
    ),
];

/// The list in a column of `spam`, and the table of its values.
macro_rules! list {
    ($column:literal, $separator:literal, $table:literal, $value:literal, $nobody:expr) => {
        List {
            pages: concat!(
                "SELECT seq, id, CAST(DATE(firstSeen) AS CHAR), CHAR_LENGTH(`",
                $column,
                "`), SUBSTRING(`",
                $column,
                "`, 1, ?) FROM spam WHERE `window` = 1 AND seq > ? ORDER BY seq LIMIT ?"
            ),
            rest: concat!(
                "SELECT SUBSTRING(`",
                $column,
                "`, ?, ?) FROM spam WHERE `window` = 1 AND id = ?"
            ),
            separator: $separator,
            insert: concat!(
                "INSERT IGNORE INTO ",
                $table,
                " (spam_id, date, ",
                $value,
                ", hash, seq, `window`) VALUES "
            ),
            row: "(?, ?, ?, ?, ?, 1)",
            nobody: $nobody,
            by_number: true,
        }
    };
}

const LISTS: &[List] = &[
    list!("to", ",", "recipients", "recipient", None),
    list!("user", ", ", "users", "user", Some(split::NOBODY)),
    list!("sourceIP", ", ", "sources", "sourceIP", None),
    list!("sensorID", ", ", "sensors", "sensorID", None),
];

fn aside(table: &str) -> String {
    format!("old_{table}")
}

/// Whether a table of one of our names is the first SHIVA's.
pub(super) fn is_old(name: &str, table: &Existing) -> bool {
    OLD.contains(&name) && !table.columns.contains_key("window")
}

/// Puts the first SHIVA's tables aside.
pub(super) fn put_aside(work: &mut Work<'_>) -> Result<()> {
    for name in OLD {
        if !work.table(name)?.is_some_and(|table| is_old(name, &table)) {
            continue;
        }
        let to = aside(name);
        if work.table(&to)?.is_some() {
            return Err(StoreError {
                kind: StoreErrorKind::Unfit,
                what: format!(
                    "both {name} and {to} of the database {} are the first SHIVA's; put one of \
                     them elsewhere, then run this again",
                    work.database
                ),
            });
        }
        work.execute(&format!("RENAME TABLE {name} TO {to}"))?;
        work.say_table(name, true, format!("the first SHIVA's, put aside as {to}"));
    }
    Ok(())
}

/// Opens the first window and names the analyzer; what was put aside becomes a window before.
pub(super) fn take_over(work: &mut Work<'_>) -> Result<()> {
    let named = match work.table("analyzer")? {
        Some(_) => work
            .row::<String>("SELECT name FROM analyzer", ())?
            .is_some(),
        None => false,
    };
    if named {
        return Ok(()); // by a run that did not live to write the version
    }
    let now = Timestamp::now().datetime();
    work.execute("START TRANSACTION")?;
    let records = match work.table(&aside("spam"))? {
        Some(_) => records(work)?,
        None => u64::from(is_dry_over_old(work)?),
    };
    if records > 0 {
        copy(work, &now)?;
    } else {
        let open = "INSERT INTO windows (number, token, opened) VALUES (1, ?, ?)";
        work.execute_with(open, (WindowKey::draw()?, &now))?;
    }
    let host: String = work.options.analyzer.chars().take(NAME_MAX).collect();
    let name = format!("{host}.{}", Namer::new().temporary());
    work.execute_with("INSERT INTO analyzer (name) VALUES (?)", (name,))?;
    work.execute("COMMIT")?;
    if records > 0 && !work.is_dry() {
        let waits = format!("{records} records of the first SHIVA wait as window 1");
        work.say_table("spam", true, waits);
    }
    Ok(())
}

/// In a dry run nothing was put aside.
fn is_dry_over_old(work: &mut Work<'_>) -> Result<bool> {
    let spam = work.table("spam")?;
    Ok(work.is_dry() && spam.is_some_and(|table| is_old("spam", &table)))
}

fn records(work: &mut Work<'_>) -> Result<u64> {
    let count = work.row::<u64>("SELECT COUNT(*) FROM old_spam", ())?;
    Ok(count.unwrap_or(0))
}

/// Copies what was put aside into window 1, closed, and opens window 2.
fn copy(work: &mut Work<'_>, now: &str) -> Result<()> {
    let opened = if work.is_dry() {
        None
    } else {
        let first = "SELECT CAST(MIN(firstSeen) AS CHAR) FROM old_spam WHERE firstSeen > \
                     '1000-01-01'";
        work.row::<Option<String>>(first, ())?.flatten()
    };
    let opened = opened.as_deref().unwrap_or(now);
    let windows = "INSERT INTO windows (number, token, opened, closed) VALUES (1, ?, ?, ?), (2, ?, \
        ?, NULL)";
    let tokens = (WindowKey::draw()?, WindowKey::draw()?);
    work.execute_with(windows, (tokens.0, opened, now, tokens.1, now))?;
    work.execute_with(SPAM, (opened,))?;
    work.execute(DAYS)?;
    work.execute(RELAYS)?;
    for (table, sql) in COPIES {
        if work.is_dry() || work.table(&aside(table))?.is_some() {
            work.execute(sql)?;
        }
    }
    for list in LISTS {
        split::take_apart(work, list)?;
    }
    Ok(())
}
