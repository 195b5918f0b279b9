//! The index over the main store: which of its records a record belongs to.

use crate::fingerprint::{Ctph, Fingerprint, SpamId};
use crate::sameness::{Against, Index, Rule, Scratch};
use crate::store::{Known, Result};

/// The index.
pub(super) struct MainIndex {
    rule: Rule,
    index: Index,
    scratch: Scratch,
    /// The id of each record in the index, by its number there.
    ids: Vec<SpamId>,
    /// The number of the last record of the main store that is in the index.
    last: u64,
}

impl MainIndex {
    /// One without records.
    pub(super) fn new(rule: Rule) -> MainIndex {
        MainIndex {
            rule,
            index: Index::new(),
            scratch: Scratch::new(),
            ids: Vec::new(),
            last: 0,
        }
    }

    /// How many records it has.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The number of the last record of the main store that it has.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Puts a record of the main store into the index.
    pub(super) fn add(&mut self, number: u64, known: &Known) -> Result<()> {
        self.last = number;
        // A row that another program left without a readable id cannot be met again.
        if let Ok(id) = known.id.parse::<SpamId>() {
            let digest = digest(&self.rule, known);
            let record = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
            self.index.insert(record, id, digest.as_ref(), known.length);
            self.ids.push(id);
        }
        Ok(())
    }

    /// The id of the record that this one belongs to, if there is one.
    pub(super) fn find(&mut self, known: &Known) -> Option<String> {
        let Some(fingerprint) = fingerprint(known) else {
            return Some(known.id.clone());
        };
        let query = self.rule.query(&fingerprint, Against::Main);
        let found = self.index.find(&query, &mut self.scratch)?;
        self.ids.get(found.record as usize).map(SpamId::to_string)
    }
}

fn digest(rule: &Rule, known: &Known) -> Option<Ctph> {
    rule.compares_digest(known.body_chars)
        .then(|| known.ssdeep.parse().ok())?
}

/// What a record is found by; nothing but its own id where that is none of ours. In windows that
/// the first SHIVA left there are records without a digest: they have no near copies.
fn fingerprint(known: &Known) -> Option<Fingerprint> {
    let ssdeep = known.ssdeep.parse::<Ctph>();
    Some(Fingerprint {
        id: known.id.parse().ok()?,
        body_chars: if ssdeep.is_ok() { known.body_chars } else { 0 },
        ssdeep: ssdeep.unwrap_or(Ctph::empty()),
        length: known.length,
        has_text: known.has_text,
    })
}
