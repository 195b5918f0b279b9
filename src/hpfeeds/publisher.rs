//! The publisher: takes what waits in the outbox to the broker, beside the analysis.
//!
//! One connection for each [`BATCH_RECORDS`] records or [`BATCH_BYTES`] bytes: a broker acknowledges
//! nothing, so only what was sent on a connection that it closed in peace is forgotten
//! ([`Connection::finish`]); all else is sent again. Then what was sent moves
//! ([`sent`](super::sent)), and only then the outbox forgets it. A crash at any point sends again.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::Fault;
use super::codec::payload_max;
use super::connection::{Broker, Connection};
use super::covered::covered;
use super::outbox::{Entry, Outbox, Stage, Waiting};
use super::payload::{self, ATTACHMENTS, PARSED, Payload, RAW, Sample};
use super::pseudonym::Pseudonyms;
use super::sent::Sent;
use crate::crash;
use crate::envelope;
use crate::store::{MainStore, StoreError};

/// Records on one connection.
pub const BATCH_RECORDS: usize = 1000;

/// Bytes of payloads on one connection, roughly.
pub const BATCH_BYTES: usize = 32 << 20;

/// Why a batch was not published, or not forgotten.
#[derive(Debug)]
pub enum Failure {
    /// The broker.
    Broker(Fault),
    /// The outbox, or the files.
    Files(io::Error),
    /// The main store.
    Store(StoreError),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Broker(fault)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Files(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

/// What the publisher works with.
pub struct Publisher {
    /// What waits.
    pub outbox: Outbox,
    /// Where it goes.
    pub broker: Broker,
    /// What stands for recipients; `None` to publish them as they are.
    pub pseudonyms: Option<Pseudonyms>,
    /// Where what was sent goes.
    pub sent: Sent,
}

/// What one connection carried.
#[derive(Debug, Default)]
struct Batch {
    payloads: u64,
    bytes: usize,
    /// The position behind the last record.
    at: u64,
    /// The window's file was read to its end.
    whole: bool,
    /// Records whose samples were sent: id, path.
    samples: Vec<(String, String)>,
    /// Contents that were sent: SHA-256, path.
    parts: Vec<(String, String)>,
    seen: HashSet<String>,
}

impl Publisher {
    /// Publishes a batch of what waits; returns how many payloads, or `None` when nothing waits.
    pub fn publish(&self, main: &mut dyn MainStore) -> Result<Option<u64>, Failure> {
        let Some(waiting) = self.outbox.next()? else {
            return Ok(None);
        };
        let mut connection = Connection::open(&self.broker)?;
        let batch = self.send(&waiting, &mut connection)?;
        crash::point("feed-sent");
        connection.finish()?;
        crash::point("feed-taken");
        for (id, sample) in &batch.samples {
            self.sent.move_sample(main, id, sample)?;
        }
        for (sha256, path) in &batch.parts {
            self.sent.move_part(main, path, sha256)?;
        }
        crash::point("feed-moved");
        match batch.whole {
            true => self.outbox.done(&waiting)?,
            false => self.outbox.advance(&waiting, batch.at)?,
        }
        Ok(Some(batch.payloads))
    }

    fn send(&self, waiting: &Waiting, connection: &mut Connection) -> Result<Batch, Failure> {
        let mut batch = Batch::default();
        let mut reader = self.outbox.read(waiting)?;
        for _ in 0..BATCH_RECORDS {
            let Some((entry, at)) = reader.entry()? else {
                batch.whole = true;
                break;
            };
            match waiting.stage {
                Stage::Parsed => self.send_record(&entry, connection, &mut batch)?,
                Stage::Raw => self.send_files(waiting, &entry, connection, &mut batch)?,
            }
            batch.at = at;
            if batch.bytes >= BATCH_BYTES {
                break;
            }
        }
        Ok(batch)
    }

    /// The record, its links and its source addresses.
    fn send_record(
        &self,
        entry: &Entry,
        connection: &mut Connection,
        batch: &mut Batch,
    ) -> Result<(), Failure> {
        let covered = self.pseudonyms.as_ref().map(|pseudonyms| {
            let cover = pseudonyms.cover(&entry.parsed.to);
            covered(pseudonyms, &cover, &entry.parsed)
        });
        let parsed = covered.as_ref().unwrap_or(&entry.parsed);
        batch.send(connection, &payload::parsed(parsed, self.room(PARSED)))?;
        for payload in payload::links_and_addresses(parsed) {
            batch.send(connection, &payload)?;
        }
        Ok(())
    }

    /// The sample, and what attachments were not sent before.
    fn send_files(
        &self,
        waiting: &Waiting,
        entry: &Entry,
        connection: &mut Connection,
        batch: &mut Batch,
    ) -> Result<(), Failure> {
        let id = &entry.parsed.id;
        let pseudonyms = self.pseudonyms.as_ref();
        let cover = pseudonyms.map(|pseudonyms| pseudonyms.cover(&entry.parsed.to));
        if let Some(sample) = self.outbox.sample(waiting, entry)? {
            let (_, message) = envelope::split(&sample);
            let covered = cover.as_ref().map(|cover| cover.raw(message));
            let published = covered.as_deref().unwrap_or(message);
            let name = Path::new(&entry.sample).file_name().unwrap_or_default();
            let sample = Sample {
                id,
                name: &name.to_string_lossy(),
                ip: entry.parsed.ips.first().map_or("", String::as_str),
                message: published,
                changed: published != message,
            };
            let payload = payload::raw(&sample, self.room(RAW));
            batch.send(connection, &payload)?;
            if !payload.oversize {
                batch.samples.push((id.clone(), entry.sample.clone()));
            }
        }
        for part in &entry.parts {
            if self.sent.part(&part.sha256).exists() || !batch.seen.insert(part.sha256.clone()) {
                continue;
            }
            let content = match std::fs::read(&part.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let covered = cover
                .as_ref()
                .map(|cover| cover.attachment(&part.media_type, &content));
            let published = covered.as_deref().unwrap_or(&content);
            let name = cover.as_ref().map(|cover| cover.text(&part.name));
            let payload = payload::attachment(
                id,
                name.as_deref().unwrap_or(&part.name),
                published,
                published != content,
                self.room(ATTACHMENTS),
            );
            batch.send(connection, &payload)?;
            if !payload.oversize {
                batch.parts.push((part.sha256.clone(), part.path.clone()));
            }
        }
        Ok(())
    }

    /// Bytes that a payload on this channel may have.
    fn room(&self, channel: &str) -> usize {
        payload_max(&self.broker.ident, channel)
    }
}

impl Batch {
    fn send(&mut self, connection: &mut Connection, payload: &Payload) -> Result<(), Failure> {
        connection.publish(payload.channel, &payload.json)?;
        self.payloads += 1;
        self.bytes += payload.json.len();
        Ok(())
    }
}
