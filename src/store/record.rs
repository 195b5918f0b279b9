//! What goes into the stores and comes out of them.

use std::collections::BTreeMap;

use super::relay::{Fate, ProbeSeen, Relay};
use crate::queue::QueueName;
use crate::timestamp::Timestamp;

/// The part of a record that matching needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// MD5 of subject and body, 32 hex digits.
    pub id: String,
    /// CTPH of body and subject.
    pub ssdeep: String,
    /// Bytes of body and subject.
    pub length: u64,
    /// Characters of the body.
    pub body_chars: u64,
    /// Whether there was a text/plain part.
    pub has_text: bool,
}

/// What only a record's first spam gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// What matching needs.
    pub known: Known,
    /// The From header, decoded.
    pub from: String,
    /// The subject, decoded.
    pub subject: String,
    /// The text/plain body.
    pub text: String,
    /// The text/html body.
    pub html: String,
    /// The header block.
    pub headers: String,
    /// Where the sample lies.
    pub sample: String,
}

/// An attachment or inline part as a record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The sender's file name. Data, never a path.
    pub name: String,
    /// The media type.
    pub media_type: String,
    /// Size of the decoded content in bytes.
    pub size: u64,
    /// MD5 of the decoded content, hex.
    pub md5: String,
    /// SHA-256 of the decoded content, hex.
    pub sha256: String,
    /// Inline part rather than attachment.
    pub inline: bool,
    /// Where the content lies.
    pub path: String,
}

/// What a record gathers beside its counter. New to the record in a [`Delta`], all of it in a
/// [`TakenRecord`] and a [`Spam`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// Links, as a reader would follow them.
    pub links: Vec<String>,
    /// Source addresses.
    pub ips: Vec<String>,
    /// Sensors.
    pub sensors: Vec<String>,
    /// Recipients.
    pub recipients: Vec<String>,
    /// Authenticated users.
    pub users: Vec<String>,
    /// Attachments and inline parts.
    pub parts: Vec<Part>,
}

/// A record's share of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Spams seen that day.
    pub count: u64,
    /// First of them.
    pub first_seen: Timestamp,
    /// Last of them.
    pub last_seen: Timestamp,
}

impl Day {
    /// A day with one spam.
    pub fn once(at: Timestamp) -> Day {
        Day {
            count: 1,
            first_seen: at,
            last_seen: at,
        }
    }

    /// These days as one; no spam at all, at the epoch, where there is none.
    pub fn all<'d>(days: impl IntoIterator<Item = &'d Day>) -> Day {
        let mut days = days.into_iter();
        let mut all = days.next().copied().unwrap_or(Day {
            count: 0,
            ..Day::once(Timestamp::from_seconds(0, 0))
        });
        days.for_each(|day| all.add(day));
        all
    }

    /// This day with those of another added.
    pub fn add(&mut self, other: &Day) {
        self.count += other.count;
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// What a batch changes of one record.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// The record itself, when this batch saw it first.
    pub new: Option<Box<NewRecord>>,
    /// The record's id.
    pub id: String,
    /// What was seen, by day (days since the epoch).
    pub days: BTreeMap<i64, Day>,
    /// What is new to its sets.
    pub sets: Sets,
}

impl Delta {
    /// Its days as one.
    pub fn total(&self) -> Day {
        Day::all(self.days.values())
    }
}

/// A batch: what some queue files change, and the names of these files.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The open window's number.
    pub window: u64,
    /// Changes by the record's number in the window.
    pub deltas: BTreeMap<u64, Delta>,
    /// Undeliverable messages: date and reason, count.
    pub undeliverable: BTreeMap<(String, String), u64>,
    /// Copies that are given a slot to be relayed, with their record's number.
    pub relays: Vec<(u64, Relay)>,
    /// What is not relayed: date and reason, count.
    pub unrelayed: BTreeMap<(String, &'static str), u64>,
    /// Tests of the relay.
    pub probes: Vec<ProbeSeen>,
    /// The files.
    pub files: Vec<QueueName>,
}

/// A window's record on its way into the main store.
#[derive(Clone, Debug)]
pub struct TakenRecord {
    /// The record.
    pub record: NewRecord,
    /// Spams of the window.
    pub count: u64,
    /// The window's days.
    pub days: Vec<Day>,
    /// All it gathered in the window.
    pub sets: Sets,
    /// What was done to relay it.
    pub relays: Vec<Relay>,
}

impl TakenRecord {
    /// Its days as one.
    pub fn seen(&self) -> Day {
        Day::all(&self.days)
    }

    /// What the relay host accepted of it, by day.
    pub fn relayed_days(&self) -> BTreeMap<i64, Day> {
        let mut days: BTreeMap<i64, Day> = BTreeMap::new();
        for relay in &self.relays {
            if relay.fate == Fate::Accepted {
                let at = relay.settled.unwrap_or(relay.taken);
                let day = Day::once(at);
                let known = days.entry(at.day());
                known.and_modify(|known| known.add(&day)).or_insert(day);
            }
        }
        days
    }
}

/// The totals of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Spams analysed.
    pub spams: u64,
    /// Distinct spams.
    pub distinct: u64,
    /// Distinct links.
    pub links: u64,
    /// Distinct source addresses.
    pub ips: u64,
    /// Distinct attachment contents, inline parts included.
    pub attachments: u64,
    /// Distinct sensors.
    pub sensors: u64,
    /// Messages set aside.
    pub undeliverable: u64,
    /// Spams that the relay host accepted.
    pub relayed: u64,
}

/// A distinct spam with all that is known of it.
#[derive(Clone, Debug)]
pub struct Spam {
    /// The record's first spam.
    pub record: NewRecord,
    /// Spams.
    pub count: u64,
    /// First seen.
    pub first_seen: Timestamp,
    /// Last seen.
    pub last_seen: Timestamp,
    /// Spams relayed.
    pub relayed: u64,
    /// All it gathered.
    pub sets: Sets,
}

/// A distinct spam as the report's top list has it: how much there is of what it gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopSpam {
    /// Its id.
    pub id: String,
    /// Its subject.
    pub subject: String,
    /// Spams.
    pub count: u64,
    /// First seen.
    pub first_seen: Timestamp,
    /// Last seen.
    pub last_seen: Timestamp,
    /// Source addresses.
    pub ips: u64,
    /// Links.
    pub links: u64,
    /// Attachments and inline parts.
    pub attachments: u64,
}

/// What a search by the beginning of an id found.
#[derive(Clone, Debug)]
pub enum Find {
    /// Nothing.
    None,
    /// One record.
    One(Box<Spam>),
    /// Several ids begin so; the first of them.
    Several(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_over_two_days_totals_both() {
        let at = |seconds| Timestamp::from_seconds(seconds, 0);
        let (first, second) = (Day::once(at(86_000)), Day::once(at(87_000)));
        let delta = Delta {
            days: BTreeMap::from([(0, first), (1, second)]),
            ..Delta::default()
        };
        let total = delta.total();
        assert_eq!(total.count, 2);
        assert_eq!(
            (total.first_seen, total.last_seen),
            (at(86_000), at(87_000))
        );
    }
}
