//! The recipients that the first SHIVA relayed to, in its table `whitelist`: many in one column, at
//! commas and white space apart. Each gets a row in `probe`, as of the upgrade, for the column will
//! name the latest only.
//!
//! The column stays as it is until a test of the relay is taken in. A recipient that is there
//! already stays as it is, so this can be repeated.

use super::split::{NOBODY, Values};
use super::work::Work;
use crate::store::Result;
use crate::store::bounds::{self, cut};
use crate::store::mysql::rows::hash;
use crate::timestamp::Timestamp;

/// Characters read at once.
const PIECE: u64 = 64 * 1024;

const PIECES: &str = "SELECT SUBSTRING(recipients, ?, ?) FROM whitelist WHERE id = ?";

const ADD: &str = "INSERT IGNORE INTO probe (recipient, firstSeen, lastSeen, counter, hash) VALUES \
    (?, ?, ?, 0, ?)";

/// Adds the recipients to `probe`. Does nothing where there are none.
pub(super) fn keep(work: &mut Work<'_>) -> Result<()> {
    if work.table("whitelist")?.is_none() {
        return Ok(()); // in a dry run
    }
    let rows = work.rows::<i64>(
        "SELECT id FROM whitelist WHERE CHAR_LENGTH(recipients) > 0 ORDER BY id",
        (),
    )?;
    if rows.is_empty() {
        return Ok(());
    }
    if work.is_dry() {
        work.remark("for each recipient in whitelist:");
        work.execute(ADD)?;
        return Ok(());
    }
    let mut added = 0;
    work.execute("START TRANSACTION")?;
    for row in rows {
        added += keep_row(work, row)?;
    }
    work.execute("COMMIT")?;
    let done = format!("{added} recipients added from whitelist");
    work.say_table("probe", added > 0, done);
    Ok(())
}

/// Adds the recipients of one row, which is read piece by piece; returns how many are new.
fn keep_row(work: &mut Work<'_>, row: i64) -> Result<u64> {
    let now = Timestamp::now().datetime();
    let (mut values, mut from, mut added) = (Values::new(",", Some(NOBODY)), 1, 0);
    loop {
        let piece = work.row::<Option<String>>(PIECES, (from, PIECE, row))?;
        let piece = piece.flatten().unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        from += PIECE;
        let piece = piece.replace(char::is_whitespace, ",");
        values.feed(&piece, &mut |value| {
            added += keep_one(work, value, &now)?;
            Ok(())
        })?;
    }
    values.end(&mut |value| {
        added += keep_one(work, value, &now)?;
        Ok(())
    })?;
    Ok(added)
}

fn keep_one(work: &mut Work<'_>, recipient: &str, now: &str) -> Result<u64> {
    let recipient = cut(recipient, bounds::ADDRESS);
    work.execute_with(ADD, (recipient.as_ref(), now, now, hash(&recipient)))
}
