//! The main store on a server. See [`MainStore`] for what each call promises.

use super::fault::{Fault, Tried};
use super::link::{Commit, Link, Session};
use super::relaying;
use super::rows::{all, execute, exists, first};
use super::taking::Taking;
use crate::store::{Known, MainStore, Result, StoreError, StoreErrorKind, TakeIn, WindowKey};

/// Records read by one query.
const PAGE: usize = 5000;

/// The main store.
pub(super) struct MysqlMain {
    link: Link,
    keep_bodies: bool,
}

impl MysqlMain {
    pub(super) fn new(link: Link, keep_bodies: bool) -> MysqlMain {
        MysqlMain { link, keep_bodies }
    }
}

impl MainStore for MysqlMain {
    fn each_known(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Known) -> Result<()>,
    ) -> Result<()> {
        let mut after = after;
        loop {
            let page = self.link.run(|session| known(session, after))?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = *last;
            for (number, known) in page {
                each(number, known)?;
            }
        }
    }

    fn is_taken(&mut self, key: &WindowKey) -> Result<bool> {
        self.link.run(|session| is_taken(session, key))
    }

    fn add(&mut self, fill: &mut dyn FnMut(&mut dyn TakeIn) -> Result<()>) -> Result<()> {
        let keep_bodies = self.keep_bodies;
        self.link.transaction(|session| {
            // Whoever adds to the store waits here for who does already.
            let query = "SELECT id FROM taking_in WHERE id = 1 FOR UPDATE";
            if !exists(&mut session.conn, query, ())? {
                return Err(Fault::Store(StoreError {
                    kind: StoreErrorKind::Unfit,
                    what: "the main database has no row in taking_in; shiva-dbcreate makes it"
                        .into(),
                }));
            }
            let mut taking = Taking::new(session, keep_bodies);
            let filled = fill(&mut taking).and_then(|()| taking.finish());
            match (taking.fault.take(), filled) {
                (Some(fault), _) => Err(fault),
                (None, filled) => Ok(filled.map(|()| Commit::Yes)?),
            }
        })
    }

    fn keeps_sample(&mut self, id: &str, sample: &str) -> Result<bool> {
        let query = "SELECT sample FROM spam WHERE id = ?";
        let kept = self
            .link
            .run(|session| first(&mut session.conn, query, (id,), |row| row.text()))?;
        Ok(kept.is_some_and(|kept| kept == sample))
    }

    fn move_sample(&mut self, id: &str, from: &str, to: &str) -> Result<()> {
        let moved = "UPDATE spam SET sample = ? WHERE id = ? AND sample = ?";
        self.link
            .run(|session| execute(&mut session.conn, moved, (to, id, from)))
            .map(drop)
    }

    fn move_part(&mut self, sha256: &str, to: &str) -> Result<()> {
        for table in ["attachment", "inline"] {
            let moved = format!("UPDATE {table} SET {table}_file_path = ? WHERE sha256 = ?");
            self.link
                .run(|session| execute(&mut session.conn, &moved, (to, sha256)))?;
        }
        Ok(())
    }

    fn probe_recipients(&mut self, most: usize) -> Result<Vec<String>> {
        self.link
            .run(|session| relaying::probe_recipients(&mut session.conn, most))
    }
}

pub(super) fn is_taken(session: &mut Session, key: &WindowKey) -> Tried<bool> {
    let query = "SELECT 1 FROM windows_taken WHERE analyzer = ? AND `window` = ? AND token = ?";
    let marker = (&key.analyzer, key.window, &key.token);
    exists(&mut session.conn, query, marker)
}

/// The next records after number `after`, each with its number.
pub(super) fn known(session: &mut Session, after: u64) -> Tried<Vec<(u64, Known)>> {
    let query = format!(
        "SELECT seq, id, ssdeep, length, bodyChars FROM spam WHERE seq > ? ORDER BY seq LIMIT {PAGE}"
    );
    all(&mut session.conn, &query, (after,), |row| {
        let number = row.number();
        let known = Known {
            id: row.text(),
            ssdeep: row.text(),
            length: row.number(),
            body_chars: row.number(),
            has_text: true,
        };
        (number, known)
    })
}
