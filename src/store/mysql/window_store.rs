//! The window store on a server. See [`WindowStore`] for what each call promises.

use super::batch;
use super::link::{Commit, Link, another_wrote, bound_to};
use super::page;
use super::relaying;
use super::rows::{all, execute, exists, first};
use crate::queue::QueueName;
use crate::store::{
    Batch, Known, OpenWindow, ProbeSeen, Reasons, Result, Settlement, StoreError, StoreErrorKind,
    TakenRecord, WindowKey, WindowStore,
};
use crate::timestamp::Timestamp;
use crate::watchdog;

/// Rows deleted in one transaction when a window is dropped.
const DROP_STEP: u64 = 5000;

/// Records whose counters are brought up to date by one statement.
const REFRESH_STEP: u64 = 10_000;

/// The tables whose rows belong to a window, each with what its key goes on with.
const WINDOW_TABLES: &[(&str, &str)] = &[
    ("attachments", "seq"),
    ("links", "seq"),
    ("sensors", "seq"),
    ("sources", "seq"),
    ("recipients", "seq"),
    ("users", "seq"),
    ("days", "seq"),
    ("undeliverable", "date"),
    ("relays", "seq"),
    ("unrelayed", "date"),
    ("probes", "hash"),
    ("spam", "seq"),
];

/// The window store.
pub(super) struct MysqlWindows {
    link: Link,
    /// The window that is being closed: known until it is certain that it was.
    closing: Option<u64>,
}

impl MysqlWindows {
    pub(super) fn new(link: Link) -> MysqlWindows {
        MysqlWindows {
            link,
            closing: None,
        }
    }

    fn open_number(&mut self) -> Result<(u64, Timestamp)> {
        let query = "SELECT number, opened FROM windows WHERE closed IS NULL";
        let open = self.link.run(|session| {
            first(&mut session.conn, query, (), |row| {
                (row.number(), row.moment())
            })
        })?;
        open.ok_or_else(|| StoreError {
            kind: StoreErrorKind::Unfit,
            what: "the window database has no open window; shiva-dbcreate makes one".into(),
        })
    }
}

impl WindowStore for MysqlWindows {
    fn bound_to(&mut self) -> Result<Option<String>> {
        self.link.run(|session| bound_to(&mut session.conn))
    }

    fn bind(&mut self, queue: &str) -> Result<()> {
        let statement = "UPDATE analyzer SET queue = ?";
        self.link
            .run(|session| execute(&mut session.conn, statement, (queue,)))?;
        self.link.expect_bound(queue);
        Ok(())
    }

    fn keep(&mut self) -> Result<()> {
        self.link.keep()
    }

    fn key(&mut self, window: u64) -> Result<WindowKey> {
        let query = "SELECT name, token FROM windows, analyzer WHERE number = ?";
        let key = self.link.run(|session| {
            first(&mut session.conn, query, (window,), |row| WindowKey {
                analyzer: row.text(),
                window,
                token: row.text(),
            })
        })?;
        key.ok_or_else(|| WindowKey::none(window))
    }

    fn open_window(&mut self) -> Result<OpenWindow> {
        let (number, opened) = self.open_number()?;
        let mut records = Vec::new();
        self.each_known(number, &mut |known| {
            records.push(known);
            Ok(())
        })?;
        Ok(OpenWindow {
            number,
            opened,
            records,
            slots: self
                .link
                .run(|session| relaying::slots(&mut session.conn, number))?,
        })
    }

    fn counted_files(&mut self) -> Result<Vec<QueueName>> {
        let names = self.link.run(|session| {
            all(
                &mut session.conn,
                "SELECT name FROM queue_files",
                (),
                |row| row.text(),
            )
        })?;
        Ok(names
            .iter()
            .filter_map(|name| QueueName::new(name))
            .collect())
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        self.link.transaction(|session| {
            let conn = &mut session.conn;
            if let Some(file) = batch.files.first() {
                let query = "SELECT 1 FROM queue_files WHERE name = ?";
                if exists(conn, query, (file.as_str(),))? {
                    // This very batch, counted before its answer was lost.
                    return Ok(Commit::Nothing);
                }
            }
            let query = "SELECT number FROM windows WHERE closed IS NULL FOR UPDATE";
            if first(conn, query, (), |row| row.number())? != Some(batch.window) {
                return Err(another_wrote());
            }
            execute(conn, "DELETE FROM queue_files", ())?;
            batch::write(session, batch)?;
            Ok(Commit::Yes)
        })
    }

    fn forget_files(&mut self) -> Result<()> {
        self.link
            .run(|session| execute(&mut session.conn, "DELETE FROM queue_files", ()))
            .map(drop)
    }

    fn close_window(&mut self, at: Timestamp) -> Result<()> {
        let number = match self.closing {
            Some(number) => number,
            None => self.open_number()?.0,
        };
        self.closing = Some(number);
        let token = WindowKey::draw()?;
        let at = at.datetime();
        self.link.transaction(|session| {
            let conn = &mut session.conn;
            let query = "SELECT number FROM windows WHERE closed IS NULL FOR UPDATE";
            match first(conn, query, (), |row| row.number())? {
                Some(open) if open == number => {}
                Some(next) if next == number + 1 => return Ok(Commit::Nothing),
                _ => return Err(another_wrote()),
            }
            refresh_counters(conn, number)?;
            let close = "UPDATE windows SET closed = ? WHERE number = ?";
            execute(conn, close, (&at, number))?;
            let open = "INSERT INTO windows (number, token, opened) VALUES (?, ?, ?)";
            execute(conn, open, (number + 1, &token, &at))?;
            Ok(Commit::Yes)
        })?;
        self.closing = None;
        Ok(())
    }

    fn waiting(&mut self) -> Result<Vec<u64>> {
        let query = "SELECT number FROM windows WHERE closed IS NOT NULL AND NOT EXISTS (SELECT 1 \
            FROM relays WHERE relays.`window` = number AND settled IS NULL) ORDER BY number";
        self.link
            .run(|session| all(&mut session.conn, query, (), |row| row.number()))
    }

    fn each_known(&mut self, window: u64, each: &mut dyn FnMut(Known) -> Result<()>) -> Result<()> {
        let mut from = 0;
        loop {
            let page = self
                .link
                .run(|session| page::known(&mut session.conn, window, from))?;
            watchdog::still_alive();
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            from = last + 1;
            page.into_iter().try_for_each(|(_, known)| each(known))?;
        }
    }

    fn each_record(
        &mut self,
        window: u64,
        each: &mut dyn FnMut(TakenRecord) -> Result<()>,
    ) -> Result<()> {
        let mut from = 0;
        while let Some((records, next)) = self
            .link
            .run(|session| page::records(&mut session.conn, window, from))?
        {
            from = next;
            records.into_iter().try_for_each(&mut *each)?;
        }
        Ok(())
    }

    fn each_sample(
        &mut self,
        window: u64,
        each: &mut dyn FnMut(&str, &str) -> Result<()>,
    ) -> Result<()> {
        let query = format!(
            "SELECT seq, id, sample FROM spam WHERE `window` = ? AND seq >= ? ORDER BY seq LIMIT {}",
            page::KNOWN_MAX
        );
        let mut from = 0;
        loop {
            let page = self.link.run(|session| {
                all(&mut session.conn, &query, (window, from), |row| {
                    (row.number(), row.text(), row.text())
                })
            })?;
            let Some((last, ..)) = page.last() else {
                return Ok(());
            };
            from = last + 1;
            page.iter()
                .try_for_each(|(_, id, sample)| each(id, sample))?;
        }
    }

    fn undeliverable(&mut self, window: u64) -> Result<Reasons> {
        let query = "SELECT date, reason, counter FROM undeliverable WHERE `window` = ?";
        self.link.run(|session| {
            all(&mut session.conn, query, (window,), |row| {
                (row.date(), row.text(), row.number())
            })
        })
    }

    fn unrelayed(&mut self, window: u64) -> Result<Reasons> {
        self.link
            .run(|session| relaying::unrelayed(&mut session.conn, window))
    }

    fn probes(&mut self, window: u64) -> Result<Vec<ProbeSeen>> {
        self.link
            .run(|session| relaying::probes(&mut session.conn, window))
    }

    fn settle_relays(&mut self, settled: &[Settlement]) -> Result<()> {
        self.link.transaction(|session| {
            relaying::settle(&mut session.conn, settled)?;
            Ok(Commit::Yes)
        })
    }

    fn settle_interrupted(&mut self, at: Timestamp) -> Result<u64> {
        let mut settled = 0;
        self.link.transaction(|session| {
            let now = relaying::settle_interrupted(&mut session.conn, at)?;
            // Of a commit whose answer was lost nothing is left to settle.
            settled = now.max(settled);
            Ok(Commit::Yes)
        })?;
        Ok(settled)
    }

    fn probe_recipients(&mut self) -> Result<Vec<String>> {
        self.link
            .run(|session| relaying::recipients_here(&mut session.conn))
    }

    fn drop_window(&mut self, window: u64) -> Result<()> {
        for (table, key) in WINDOW_TABLES {
            let statement = format!(
                "DELETE FROM {table} WHERE `window` = ? ORDER BY `window`, {key} LIMIT {DROP_STEP}"
            );
            while self
                .link
                .run(|session| execute(&mut session.conn, &statement, (window,)))?
                == DROP_STEP
            {}
        }
        let statement = "DELETE FROM windows WHERE number = ? AND closed IS NOT NULL";
        self.link
            .run(|session| execute(&mut session.conn, statement, (window,)))
            .map(drop)
    }
}

/// Brings the counters in a window's records up to date. While it is open they are kept by day
/// only: to rewrite a record's row for each of its copies would cost more than all else.
fn refresh_counters(conn: &mut mysql::Conn, window: u64) -> super::fault::Tried<()> {
    let query = "SELECT MAX(seq) FROM spam WHERE `window` = ?";
    let last = first(conn, query, (window,), |row| row.number())?.unwrap_or(0);
    let statement = "UPDATE spam JOIN (SELECT seq, SUM(todaysCounter) AS total, MIN(firstSeen) AS \
        first, MAX(lastSeen) AS last FROM days WHERE `window` = ? AND seq BETWEEN ? AND ? GROUP BY \
        seq) AS seen ON seen.seq = spam.seq SET totalCounter = total, firstSeen = first, lastSeen \
        = last WHERE spam.`window` = ? AND spam.seq BETWEEN ? AND ?";
    let mut from = 0;
    while from <= last {
        let to = from + REFRESH_STEP - 1;
        execute(conn, statement, (window, from, to, window, from, to))?;
        relaying::refresh(conn, window, from, to)?;
        watchdog::still_alive();
        from = to + 1;
    }
    Ok(())
}
