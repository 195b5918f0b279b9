//! The ledger's part of relaying: slots go into the batch, what became of copies into the store.

use std::time::{Duration, Instant};

use super::Ledger;
use crate::analyzer::patience::GaveUp;
use crate::analyzer::worker::Examined;
use crate::queue::Claim;
use crate::relay::{Candidate, Outgoing};
use crate::store::{Day, Fate, ProbeSeen, Relay};
use crate::timestamp::Timestamp;
use crate::watchdog;

/// How long an answer of the relay host may wait to be written: to write one by itself costs the
/// analysis as much as a small batch does.
const WRITE_EVERY: Duration = Duration::from_millis(200);

/// How often a ledger that waits for the relay host looks for its answers.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Ledger {
    /// Decides whether a spam goes on to the relay host.
    pub(super) fn enter_relay(
        &mut self,
        claim: &Claim,
        record: u32,
        is_first: bool,
        spam: Examined,
    ) {
        let decision = self.relaying.consider(
            record,
            &Candidate {
                sender: spam.sender.as_deref(),
                recipients: &spam.recipients,
                dst_ip: spam.dst_ip,
                is_first,
                message: &spam.message,
                raw: spam.file.get(spam.begins..).unwrap_or_default(),
            },
        );
        if decision.is_probe {
            self.batch.probes.push(ProbeSeen {
                recipient: spam.recipients.first().cloned().unwrap_or_default(),
                source: source(&spam),
                seen: Day::once(spam.received_at),
            });
        }
        match decision.relay {
            Some(Ok(())) => self.enter_slot(claim, record, spam),
            Some(Err(reason)) => {
                let key = (spam.received_at.date(), reason.as_str());
                *self.batch.unrelayed.entry(key).or_default() += 1;
            }
            None => {}
        }
    }

    /// Puts the slot into the batch, and the copy where it waits for the batch to count.
    fn enter_slot(&mut self, claim: &Claim, record: u32, spam: Examined) {
        let relay = Relay {
            name: claim.name.as_str().to_owned(),
            taken: Timestamp::now(),
            settled: None,
            fate: Fate::Taken,
            answer: String::new(),
            source: source(&spam),
            sensor: spam.sensor.unwrap_or_default(),
            sender: spam.sender.unwrap_or_default(),
            recipients: spam.recipients,
        };
        let id = self.window.id(record);
        self.relaying.add(Outgoing {
            name: relay.name.clone(),
            record,
            id: id.map_or_else(String::new, |id| id.to_string()),
            sender: relay.sender.clone(),
            recipients: relay.recipients.clone(),
            file: spam.file,
            begins: spam.begins,
        });
        self.batch.relays.push((u64::from(record), relay));
    }

    /// Writes what became of copies, from time to time; true when a copy of a window that has closed
    /// is settled, so that perhaps the window can be taken in.
    pub fn settle_relays(&mut self) -> Result<bool, GaveUp> {
        if self.answers_written.elapsed() < WRITE_EVERY {
            return Ok(false);
        }
        self.write_answers()
    }

    /// Writes what became of copies since the last call.
    fn write_answers(&mut self) -> Result<bool, GaveUp> {
        let settled = self.relaying.settled();
        if settled.is_empty() {
            return Ok(false);
        }
        let store = &mut self.store;
        self.patience
            .until("database", || store.settle_relays(&settled))?;
        self.answers_written = Instant::now();
        let open = self.window.number();
        Ok(settled.iter().any(|one| one.window != open))
    }

    /// Waits until every copy under way is settled, for `most` at most.
    pub fn finish_relays(&mut self, most: Option<Duration>) -> Result<(), GaveUp> {
        let began = Instant::now();
        while self.relaying.under_way() > 0 && most.is_none_or(|most| began.elapsed() < most) {
            self.write_answers()?;
            self.keep()?;
            if most.is_none() && self.patience.is_stopped() {
                return Err(GaveUp::Stopped);
            }
            watchdog::still_alive();
            std::thread::sleep(LOOK_EVERY);
        }
        self.write_answers().map(drop)
    }

    /// Lets no further delivery begin.
    pub fn stop_relays(&self) {
        self.relaying.stop();
    }
}

fn source(spam: &Examined) -> String {
    spam.src_ip.clone().unwrap_or_else(|| "unknown".into())
}
