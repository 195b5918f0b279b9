//! The open window in memory: where sameness is decided, one spam after the other.
//!
//! No I/O. [`Window::place`] says which record a spam belongs to; [`Window::is_new_to`] which of the
//! values it brings are new to that record. What changes goes into the store's batch; after a
//! restart the window is built again from the store.
//!
//! Memory is bounded by the number of records and by [`SEEN_MAX`]: values are remembered as
//! 128-bit keyed hashes, and when there are too many they are forgotten, which costs a look-up
//! in the store for each that comes again, and no more.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use crate::fingerprint::{Ctph, Fingerprint, SpamId};
use crate::sameness::{Against, Evidence, Index, Rule, Scratch};
use crate::store::OpenWindow;
use crate::timestamp::Timestamp;

/// Values remembered as known to their record.
const SEEN_MAX: usize = 4_000_000;

/// Which record a spam belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the first of its kind: this is its record's number.
    New(u32),
    /// It belongs to this record, on this evidence.
    Known(u32, Evidence),
}

/// The open window.
pub struct Window {
    number: u64,
    opened: Timestamp,
    rule: Rule,
    ids: Vec<SpamId>,
    index: Index,
    scratch: Scratch,
    seen: Seen,
}

impl Window {
    /// The window as the store has it.
    pub fn resume(stored: &OpenWindow, rule: Rule) -> Window {
        let mut window = Window {
            number: stored.number,
            opened: stored.opened,
            rule,
            ids: Vec::new(),
            index: Index::new(),
            scratch: Scratch::new(),
            seen: Seen::new(),
        };
        for known in &stored.records {
            // What a store gives back as no id or no digest is left out of the comparison.
            let id = known.id.parse().unwrap_or(SpamId::from([0; 16]));
            let digest = known.ssdeep.parse::<Ctph>().ok();
            let digest = digest.filter(|_| rule.compares_digest(known.body_chars));
            window.insert(id, digest.as_ref(), known.length);
        }
        window
    }

    /// The window's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it opened.
    pub fn opened(&self) -> Timestamp {
        self.opened
    }

    /// Its records.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of a record.
    pub fn id(&self, record: u32) -> Option<SpamId> {
        self.ids.get(record as usize).copied()
    }

    /// Decides which record a spam belongs to, and makes it a record if none.
    pub fn place(&mut self, spam: &Fingerprint) -> Place {
        let query = self.rule.query(spam, Against::Window);
        if let Some(found) = self.index.find(&query, &mut self.scratch) {
            return Place::Known(found.record, found.by);
        }
        Place::New(self.insert(spam.id, self.rule.digest(spam), spam.length))
    }

    /// Whether a value of this kind comes to the record for the first time, as far as is
    /// remembered.
    pub fn is_new_to(&mut self, record: u32, kind: Kind, value: &str) -> bool {
        self.seen.insert(record, kind, value)
    }

    fn insert(&mut self, id: SpamId, digest: Option<&Ctph>, length: u64) -> u32 {
        let record = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.ids.push(id);
        self.index.insert(record, id, digest, length);
        record
    }
}

/// What a record has a set of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Links.
    Link,
    /// Source addresses.
    Ip,
    /// Sensors.
    Sensor,
    /// Recipients.
    Recipient,
    /// Users who logged in.
    User,
    /// Attachments and inline parts.
    Part,
}

/// A set of values, each remembered by two independent keyed hashes.
struct Seen {
    keys: [RandomState; 2],
    values: HashSet<u128, BuildHasherDefault<AlreadyHashed>>,
}

impl Seen {
    fn new() -> Seen {
        Seen {
            keys: [RandomState::new(), RandomState::new()],
            values: HashSet::default(),
        }
    }

    fn insert(&mut self, record: u32, kind: Kind, value: &str) -> bool {
        if self.values.len() >= SEEN_MAX {
            self.values.clear();
        }
        let [high, low] = self
            .keys
            .each_ref()
            .map(|key| key.hash_one((record, kind, value)));
        self.values.insert(u128::from(high) << 64 | u128::from(low))
    }
}

/// The values are hashes: their low half serves as it is.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Window {
        let stored = OpenWindow {
            number: 1,
            opened: Timestamp::now(),
            records: Vec::new(),
            slots: Vec::new(),
        };
        Window::resume(&stored, Rule::default())
    }

    #[test]
    fn a_copy_is_known_and_a_stranger_is_new() {
        let mut window = empty();
        let a = Fingerprint::of("subject", "body", true);
        assert_eq!(window.place(&a), Place::New(0));
        assert_eq!(window.place(&a), Place::Known(0, Evidence::Id));
        let b = Fingerprint::of("subject", "another body", true);
        assert_eq!(window.place(&b), Place::New(1));
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn a_value_is_new_to_each_record_once() {
        let mut window = empty();
        assert!(window.is_new_to(0, Kind::Link, "http://a/"));
        assert!(!window.is_new_to(0, Kind::Link, "http://a/"));
        assert!(window.is_new_to(0, Kind::Ip, "http://a/"));
        assert!(window.is_new_to(1, Kind::Link, "http://a/"));
    }
}
