//! Which record does a spam belong to?
//!
//! The index holds every record's id and, for those that match by more than
//! their id, digest and length. [`Index::find`] gives exactly what comparing
//! against each record in turn would give: the record with the same id; else,
//! among those of a length in range, the one with the best score, if that is
//! at least the threshold; of several with that score the one inserted first.
//!
//! Scores are those of libfuzzy: digests are normalised, block sizes must be
//! equal or differ by a factor of two, seven characters in a row must be shared,
//! and equal digests score 100 even where they are too short for that.
//!
//! The time of a lookup does not grow with the number of records, but with the
//! number of those that share seven characters with the new spam. Memory is
//! below a kilobyte a record, and two megabytes to begin with. Nothing here
//! fails on what a stranger sent, and how keys are hashed is drawn anew for each
//! index, so that no stranger can choose what collides.

use crate::fingerprint::{Ctph, SpamId};
use crate::sameness::grams::{self, Key, OPENING};
use crate::sameness::lists::{self, Link, Lists, Members};
use crate::sameness::pages::Pages;
use crate::sameness::profile::{BEST, Profile, Wanted};
use crate::sameness::table::Table;
use ssdeep::{FuzzyHash, FuzzyHashCompareTarget};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;

/// Candidates that are weighed together: so few that their profiles stay in the
/// fastest cache from one round to the next, so many that waiting overlaps.
const PORTION: usize = 256;

/// The records that a new spam is compared with.
pub struct Index {
    ids: HashMap<SpamId, u32>,
    /// Digests in the order of insertion, which is that of their records, and
    /// what is looked at before a digest is.
    digests: Pages<FuzzyHash, 1024>,
    profiles: Pages<Profile, 1024>,
    table: Table,
    lists: Lists,
    keys: Vec<Key>,
    seed: u64,
    records: usize,
}

/// A question to an [`Index`].
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// Of the new spam.
    pub id: SpamId,
    /// Of the new spam; none if only the id counts.
    pub digest: Option<&'a Ctph>,
    /// Lengths that a record may have to be compared by digest.
    pub lengths: RangeInclusive<u64>,
    /// Score that is enough, 1 to 100. Nothing scores more than 100; 0 is
    /// taken for 1, since a score of 0 is no likeness.
    pub threshold: u32,
}

/// An answer of an [`Index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The record, by the number it was inserted with.
    pub record: u32,
    /// 1 to 100.
    pub score: u32,
    /// What was found to be alike.
    pub by: Evidence,
}

/// What a match rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Subject and body are the same.
    Id,
    /// The digests are alike.
    Ctph,
}

/// Memory that lookups use again and again; one for each thread, for any
/// number of indexes.
#[derive(Default)]
pub struct Scratch {
    keys: Vec<Key>,
    found: Vec<(Link, u8)>,
    popular: Vec<(u32, u8)>,
    candidates: Vec<u32>,
    target: FuzzyHashCompareTarget,
    /// For each digest the lookup in which it was met last.
    met: Vec<u32>,
    lookup: u32,
}

impl Default for Index {
    fn default() -> Self {
        Index::new()
    }
}

impl Index {
    /// An index without records.
    pub fn new() -> Self {
        Index {
            ids: HashMap::new(),
            digests: Pages::default(),
            profiles: Pages::default(),
            table: Table::new(),
            lists: Lists::default(),
            keys: Vec::new(),
            seed: RandomState::new().hash_one(0),
            records: 0,
        }
    }

    /// Adds a record. Records are numbered in the order in which they were
    /// first seen and inserted in that order. Where an id is inserted again it
    /// goes on meaning the first record; the digest counts all the same.
    ///
    /// There is room for 500 million digests, more than memory has; a further
    /// one is not filed.
    pub fn insert(&mut self, record: u32, id: SpamId, digest: Option<&Ctph>, length: u64) {
        self.records += 1;
        self.ids.entry(id).or_insert(record);
        let Some(digest) = digest else { return };
        if self.digests.len() >= lists::MOST_DIGESTS {
            return;
        }
        let digest = digest.normalised();
        let number = self.digests.len() as u32;
        self.digests.push(digest);
        self.profiles.push(Profile::new(&digest, record, length));
        grams::keys(&digest, self.seed, &mut self.keys);
        approach(&self.table, &self.keys);
        for key in &self.keys {
            self.table.put(key.hash, Link::one(number), |list| {
                self.lists.append(list, number, key.before)
            });
        }
    }

    /// The record that a spam belongs to.
    pub fn find(&self, query: &Query<'_>, scratch: &mut Scratch) -> Option<Match> {
        if let Some(record) = self.by_id(&query.id) {
            return Some(Match {
                record,
                score: BEST,
                by: Evidence::Id,
            });
        }
        let digest = query.digest?.normalised();
        grams::keys(&digest, self.seed, &mut scratch.keys);
        Search::new(self, digest, query, scratch).run()
    }

    /// The first record with this id.
    pub fn by_id(&self, id: &SpamId) -> Option<u32> {
        self.ids.get(id).copied()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes held, about.
    pub fn memory_bytes(&self) -> usize {
        // Of eight places of such a map at most seven are used; a place holds
        // one byte besides key and value.
        let id_places = (self.ids.capacity() * 8 / 7).next_power_of_two();
        id_places * (size_of::<(SpamId, u32)>() + 1)
            + self.digests.memory_bytes()
            + self.profiles.memory_bytes()
            + self.table.memory_bytes()
            + self.lists.memory_bytes()
    }
}

impl Scratch {
    /// Empty; it grows as it is used.
    pub fn new() -> Self {
        Scratch::default()
    }

    fn begin(&mut self, digests: usize) {
        if self.met.len() < digests {
            self.met.resize(digests.next_power_of_two(), 0);
        }
        self.lookup = self.lookup.wrapping_add(1);
        if self.lookup == 0 {
            // The numbers begin anew: forget the lookups that had them before.
            self.met.fill(0);
            self.lookup = 1;
        }
    }

    /// Makes candidates of those digests that were not met in this lookup yet.
    fn meet(&mut self, digests: &[u32]) {
        for &number in digests {
            let last = &mut self.met[number as usize];
            if *last != self.lookup {
                *last = self.lookup;
                self.candidates.push(number);
            }
        }
    }
}

/// One lookup by digest.
struct Search<'a> {
    index: &'a Index,
    scratch: &'a mut Scratch,
    digest: FuzzyHash,
    profile: Profile,
    lengths: &'a RangeInclusive<u64>,
    /// Number of the best digest so far, and its score.
    best: Option<(u32, u32)>,
    /// What a digest inserted before the best must score, and one after it.
    to_tie: Wanted,
    to_beat: Wanted,
    target_ready: bool,
}

impl<'a> Search<'a> {
    fn new(
        index: &'a Index,
        digest: FuzzyHash,
        query: &'a Query<'_>,
        scratch: &'a mut Scratch,
    ) -> Self {
        let threshold = Wanted::new(query.threshold.max(1));
        scratch.begin(index.digests.len());
        Search {
            index,
            scratch,
            digest,
            profile: Profile::new(&digest, 0, 0),
            lengths: &query.lengths,
            best: None,
            to_tie: threshold,
            to_beat: threshold,
            target_ready: false,
        }
    }

    /// The work is done in rounds, each over all keys or all candidates: what a
    /// round reads lies anywhere in memory, but its reads do not wait for each
    /// other. The short lists come first, since a good match among them rules
    /// out most of what the long ones hold.
    fn run(mut self) -> Option<Match> {
        self.look_up_keys();
        self.read_short_lists();
        self.weigh();
        self.read_popular_lists();
        self.weigh();
        self.best.map(|(number, score)| Match {
            record: self.index.profiles.get(number as usize).record,
            score,
            by: Evidence::Ctph,
        })
    }

    fn look_up_keys(&mut self) {
        approach(&self.index.table, &self.scratch.keys);
        let list = |key: &Key| Some((self.index.table.get(key.hash)?, key.before));
        self.scratch.found.clear();
        let found = self.scratch.keys.iter().filter_map(list);
        self.scratch.found.extend(found);
    }

    fn read_short_lists(&mut self) {
        self.scratch.popular.clear();
        for place in 0..self.scratch.found.len() {
            let (list, before) = self.scratch.found[place];
            match self.index.lists.members(&list) {
                Members::Few(digests) => self.scratch.meet(digests),
                Members::Popular(number) => self.scratch.popular.push((number, before)),
            }
        }
    }

    fn read_popular_lists(&mut self) {
        for place in 0..self.scratch.popular.len() {
            let (number, before) = self.scratch.popular[place];
            // Nothing stands before an opening gram, so whatever shares it was
            // not met before.
            let before = (before != OPENING).then_some(before);
            for digests in self.index.lists.popular(number, before) {
                let end = match self.best {
                    // Later ones could tie at most: rising order ends the list.
                    Some((best, BEST)) => digests.partition_point(|&number| number < best),
                    _ => digests.len(),
                };
                for portion in digests[..end].chunks(PORTION) {
                    self.scratch.meet(portion);
                    if self.scratch.candidates.len() >= PORTION {
                        self.weigh();
                    }
                }
            }
        }
    }

    /// Rules candidates out, then compares the rest.
    fn weigh(&mut self) {
        let mut candidates = std::mem::take(&mut self.scratch.candidates);
        self.keep_fitting(&mut candidates);
        candidates.retain(|&number| self.may_match(number));
        for &number in &candidates {
            // What is wanted has risen since, if one was found.
            if self.best.is_none() || self.may_match(number) {
                self.compare(number);
            }
        }
        candidates.clear();
        self.scratch.candidates = candidates;
    }

    /// Keeps the candidates of a length in range. There is no branch on what is
    /// read, so that the next profile is asked for before this one has come.
    fn keep_fitting(&self, candidates: &mut Vec<u32>) {
        let mut kept = 0;
        for place in 0..candidates.len() {
            let number = candidates[place];
            let profile = self.index.profiles.get(number as usize);
            candidates[kept] = number;
            kept += usize::from(profile.fits(self.lengths));
        }
        candidates.truncate(kept);
    }

    fn may_match(&self, number: u32) -> bool {
        let wanted = match self.best {
            Some((best, _)) if number > best => self.to_beat,
            _ => self.to_tie,
        };
        let profile = self.index.profiles.get(number as usize);
        wanted.is_possible() && self.profile.may_match(profile, wanted)
    }

    fn compare(&mut self, number: u32) {
        if !self.target_ready {
            self.scratch.target.init_from(self.digest);
            self.target_ready = true;
        }
        let score = self
            .scratch
            .target
            .compare(self.index.digests.get(number as usize));
        let better = match self.best {
            None => self.to_beat.is_reached_by(score),
            Some((best, high)) => score > high || (score == high && number < best),
        };
        if better {
            self.best = Some((number, score));
            self.to_tie = Wanted::new(score);
            self.to_beat = Wanted::new(score + 1);
        }
    }
}

/// Asks for all that the keys need from memory before the first of it is used.
/// A lookup that is taken branch by branch would wait for each in turn.
fn approach(table: &Table, keys: &[Key]) {
    let any = keys
        .iter()
        .fold(0, |any, key| any ^ table.approach(key.hash));
    std::hint::black_box(any);
}
