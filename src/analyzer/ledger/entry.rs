//! What a spam adds to the batch: a record or a copy of one, and what is new to that record.

use std::path::PathBuf;

use super::Ledger;
use crate::analyzer::patience::GaveUp;
use crate::analyzer::worker::Examined;
use crate::fingerprint::hex;
use crate::queue::Claim;
use crate::store::bounds;
use crate::store::{Day, Delta, Known, NewRecord, Part, Sets};
use crate::window::{Kind, Place};

impl Ledger {
    pub(super) fn enter_spam(&mut self, claim: &Claim, spam: Examined) -> Result<(), GaveUp> {
        let place = self.window.place(&spam.fingerprint);
        let record = match place {
            Place::New(record) => {
                let new = self.new_record(claim, &spam)?;
                self.delta(record).new = Some(Box::new(new));
                record
            }
            Place::Known(record, _) => record,
        };
        let day = Day::once(spam.received_at);
        self.delta(record)
            .days
            .entry(spam.received_at.day())
            .and_modify(|known| known.add(&day))
            .or_insert(day);
        self.enter_values(record, &spam);
        self.enter_parts(record, &spam)?;
        self.enter_relay(claim, record, matches!(place, Place::New(_)), spam);
        Ok(())
    }

    fn delta(&mut self, record: u32) -> &mut Delta {
        let id = self.window.id(record);
        let delta = self.batch.deltas.entry(u64::from(record)).or_default();
        if delta.id.is_empty() {
            delta.id = id.map_or_else(String::new, |id| id.to_string());
        }
        delta
    }

    fn new_record(&mut self, claim: &Claim, spam: &Examined) -> Result<NewRecord, GaveUp> {
        let id = spam.fingerprint.id.to_string();
        let (archive, window) = (&mut self.archive, self.window.number());
        let sample = self.patience.until("disk", || {
            archive.keep_sample(&id, window, &claim.path, &spam.file)
        })?;
        let fingerprint = &spam.fingerprint;
        Ok(NewRecord {
            known: Known {
                id,
                ssdeep: fingerprint.ssdeep.to_string(),
                length: fingerprint.length,
                body_chars: fingerprint.body_chars,
                has_text: fingerprint.has_text,
            },
            from: spam.message.from.clone(),
            subject: spam.message.subject.clone(),
            text: spam.message.text.clone(),
            html: spam.message.html.clone(),
            headers: spam.message.headers.clone(),
            sample: path_text(sample),
        })
    }

    fn enter_values(&mut self, record: u32, spam: &Examined) {
        let recipients = spam.recipients.iter().take(bounds::RECIPIENTS);
        self.enter_new(record, Kind::Link, &spam.message.links, |sets| {
            &mut sets.links
        });
        self.enter_new(record, Kind::Ip, &spam.src_ip, |sets| &mut sets.ips);
        self.enter_new(record, Kind::Sensor, &spam.sensor, |sets| &mut sets.sensors);
        self.enter_new(record, Kind::Recipient, recipients, |sets| {
            &mut sets.recipients
        });
        self.enter_new(record, Kind::User, &spam.user, |sets| &mut sets.users);
    }

    /// Enters those of the values that are new to the record into one of its sets.
    fn enter_new<'v>(
        &mut self,
        record: u32,
        kind: Kind,
        values: impl IntoIterator<Item = &'v String>,
        set: impl Fn(&mut Sets) -> &mut Vec<String>,
    ) {
        for value in values {
            if self.window.is_new_to(record, kind, value) {
                set(&mut self.delta(record).sets).push(value.clone());
            }
        }
    }

    fn enter_parts(&mut self, record: u32, spam: &Examined) -> Result<(), GaveUp> {
        for part in &spam.message.attachments {
            let sha256 = hex(&part.sha256);
            let key = format!("{sha256} {} {}", part.inline, part.name);
            if !self.window.is_new_to(record, Kind::Part, &key) {
                continue;
            }
            let archive = &mut self.archive;
            let path = self.patience.until("disk", || {
                archive.keep_part(part.inline, &sha256, &part.content)
            })?;
            let part = Part {
                name: part.name.clone(),
                media_type: part.media_type.clone(),
                size: part.content.len() as u64,
                md5: hex(&part.md5),
                sha256,
                inline: part.inline,
                path: path_text(path),
            };
            self.delta(record).sets.parts.push(part);
        }
        Ok(())
    }
}

fn path_text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}
