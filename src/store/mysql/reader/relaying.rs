//! What an operator asks about relaying.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::View;
use crate::store::mysql::fault::Tried;
use crate::store::mysql::page::day;
use crate::store::mysql::relaying::{RELAY, fate, relay};
use crate::store::mysql::rows::{Columns, all, first, hash};
use crate::store::relay::RECORDS_AFTER_PROBE;
use crate::store::{Day, Fate, LedgerLine, Probe};
use crate::timestamp::Timestamp;

/// The clients of a recipient's tests, which its hash names twice.
const CLIENTS: &str = "SELECT sourceIP FROM {m}.probe_source WHERE hash = ? UNION SELECT sourceIP \
    FROM {w}.probes WHERE hash = ? AND {open}";

/// Ids and counts of the most frequent records from these clients since a time, that hash and the
/// time named for the main store, then for the windows.
const RECORDS: &str = "SELECT id, SUM(n) AS total FROM (SELECT spam.id, todaysCounter AS n FROM \
    (SELECT DISTINCT spam_id FROM ({clients}) AS client JOIN {m}.ip ON ip.sourceIP = \
    client.sourceIP JOIN {m}.ip_spam ON ip_id = ip.id) AS theirs JOIN {m}.spam ON spam.id = \
    theirs.spam_id JOIN {m}.sdate_spam ON sdate_spam.spam_id = theirs.spam_id JOIN {m}.sdate ON \
    sdate.id = date_id WHERE sdate.lastSeen >= ? UNION ALL SELECT spam.id, todaysCounter FROM \
    (SELECT DISTINCT `window`, seq FROM ({clients}) AS client JOIN {w}.sources USING (sourceIP) \
    WHERE {open}) AS theirs JOIN {w}.days USING (`window`, seq) JOIN {w}.spam USING (`window`, \
    seq) WHERE days.lastSeen >= ?) AS seen GROUP BY id ORDER BY total DESC, id LIMIT ?";

impl View<'_> {
    /// The ledger, newest line first. Each store is asked by itself: a server that is asked for both
    /// in one query reads and sorts them whole.
    pub(super) fn ledger(&mut self, most: usize) -> Tried<Vec<LedgerLine>> {
        let mut lines = Vec::new();
        for (table, condition) in [("{m}.relay_log", "TRUE"), ("{w}.relays", "{open}")] {
            let query = self.sql(&format!(
                "SELECT spam_id, {RELAY} FROM {table} WHERE {condition} ORDER BY taken DESC, name \
                 DESC LIMIT ?"
            ));
            let line = |row: &mut Columns| LedgerLine {
                id: row.text(),
                relay: relay(row),
            };
            lines.extend(all(self.conn, &query, (most,), line)?);
        }
        let key = |line: &LedgerLine| Reverse((line.relay.taken, line.relay.name.clone()));
        lines.sort_by_cached_key(key);
        lines.truncate(most);
        Ok(lines)
    }

    /// How many copies the relay host accepted that only the window store knows of, where a
    /// condition holds.
    pub(super) fn accepted(&mut self, condition: &str) -> Tried<u64> {
        self.count(&format!(
            "SELECT COUNT(*) FROM {{w}}.relays WHERE fate = 'accepted' AND {condition}"
        ))
    }

    /// How many copies of a record were relayed.
    pub(super) fn relayed(&mut self, id: &str, mine: &str) -> Tried<u64> {
        let query = self.sql("SELECT SUM(totalRelayed) FROM {m}.relay WHERE spam_id = ?");
        let taken_in = first(self.conn, &query, (id,), |row| row.number())?;
        Ok(taken_in.unwrap_or(0) + self.accepted(mine)?)
    }

    /// What was not relayed, by reason, most frequent first.
    pub(super) fn not_relayed(&mut self) -> Tried<Vec<(String, u64)>> {
        let query = self.sql(
            "SELECT reason, SUM(counter) AS total FROM (SELECT reason, counter FROM {m}.unrelayed \
             UNION ALL SELECT reason, counter FROM {w}.unrelayed WHERE {open}) AS both_stores \
             GROUP BY reason ORDER BY total DESC, reason",
        );
        all(self.conn, &query, (), |row| (row.text(), row.number()))
    }

    /// How many lines of the ledger have each fate.
    pub(super) fn fates(&mut self) -> Tried<Vec<(Fate, u64)>> {
        let query = self.sql(
            "SELECT fate, COUNT(*) FROM (SELECT fate FROM {m}.relay_log UNION ALL SELECT fate FROM \
             {w}.relays WHERE {open}) AS both_stores GROUP BY fate ORDER BY fate",
        );
        all(self.conn, &query, (), |row| (fate(row), row.number()))
    }

    /// The recipients of tests, those of late first, and the records that came from the same
    /// clients since.
    pub(super) fn followed_probes(&mut self, most: usize) -> Tried<Vec<Probe>> {
        let query = self.sql(
            "SELECT MIN(recipient) AS address, MIN(a), MAX(b) AS last, SUM(n) FROM (SELECT hash, \
             recipient, firstSeen AS a, lastSeen AS b, counter AS n FROM {m}.probe UNION ALL \
             SELECT hash, recipient, firstSeen, lastSeen, counter FROM {w}.probes WHERE {open}) AS \
             both_stores GROUP BY hash ORDER BY last DESC, address LIMIT ?",
        );
        let probes = all(self.conn, &query, (most,), |row| (row.text(), day(row)))?;
        let probe = |(recipient, seen): (String, Day)| {
            Ok(Probe {
                sources: self.clients(&recipient)?,
                records: self.records_after(&recipient, seen.first_seen)?,
                recipient,
                seen,
            })
        };
        probes.into_iter().map(probe).collect()
    }

    fn clients(&mut self, recipient: &str) -> Tried<Vec<String>> {
        let (query, key) = (self.sql(CLIENTS), hash(recipient));
        let clients = all(self.conn, &query, (&key, &key), |row| row.text())?;
        Ok(BTreeSet::from_iter(clients).into_iter().collect())
    }

    fn records_after(
        &mut self,
        recipient: &str,
        since: Timestamp,
    ) -> Tried<Vec<(String, String, u64)>> {
        let query = self.sql(&RECORDS.replace("{clients}", CLIENTS));
        let (key, since) = (hash(recipient), since.datetime());
        let values = (&key, &key, &since, &key, &key, &since, RECORDS_AFTER_PROBE);
        let records = all(self.conn, &query, values, |row| (row.text(), row.number()))?;
        let record = |(id, count): (String, u64)| Ok((id.clone(), self.subject(&id)?, count));
        records.into_iter().map(record).collect()
    }
}
