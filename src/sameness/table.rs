//! The map from a key to its list.
//!
//! A lookup asks for some sixty keys, most of which are not there, in a table
//! of hundreds of megabytes: the time goes into waiting for memory. So a key
//! that is absent costs one cache line: sixteen tags of 32 bits, compared at
//! once; only a tag that is found leads on to its link, in the next line.
//!
//! The key itself is not kept. Keys that agree in the bits looked at (tag and
//! shard, more than 40) share a list, which is then too long and never too
//! short: what is found is compared anyway.
//!
//! The table is cut into shards that grow one by one and by an eighth, so that
//! no insertion waits for the whole table and little memory lies empty. Within
//! a shard the tag's place is in proportion to its value, whatever the number of
//! buckets; a full bucket spills into the next.

use crate::sameness::lists::Link;
use crate::sameness::pages::Pages;

/// Bits of a hash that choose the shard, from its upper end.
const SHARD_BITS: u32 = 9;
/// Entries of a bucket: one cache line of tags, one of links.
const LANES: usize = 16;
/// A shard grows when more than 13 of 16 places would be taken.
const FULL: usize = 13;
/// A shard grows by one part in this many.
const GROWTH: usize = 8;
/// The tag of a free place.
const FREE: u32 = 0;

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket {
    /// Taken from the front; the last one says whether the bucket is full.
    tags: [u32; LANES],
    links: [Link; LANES],
}

/// Buckets of a page.
const PAGE: usize = 32;
type Page = [Bucket; PAGE];

/// A shard's buckets lie in pages that it takes from all shards' common store
/// and never gives back: were each shard one piece of memory, growing would
/// leave holes of every size behind.
#[derive(Default)]
struct Shard {
    pages: Vec<u32>,
    buckets: usize,
    used: usize,
}

pub(super) struct Table {
    shards: Vec<Shard>,
    pages: Pages<Page, 512>,
    /// Empty but while a shard grows.
    moving: Vec<(u32, Link)>,
    filled: Vec<u8>,
}

/// Where a tag stands, or where it would be put.
enum Place {
    Taken { bucket: usize, lane: usize },
    Free { bucket: usize },
}

impl Table {
    pub fn new() -> Self {
        Table {
            shards: (0..1 << SHARD_BITS).map(|_| Shard::default()).collect(),
            pages: Pages::default(),
            moving: Vec::new(),
            filled: Vec::new(),
        }
    }

    /// The list of a key.
    pub fn get(&self, hash: u64) -> Option<Link> {
        let shard = &self.shards[shard(hash)];
        if shard.buckets == 0 {
            return None;
        }
        match self.locate(shard, tag(hash)) {
            Place::Taken { bucket, lane } => Some(self.bucket(shard, bucket).links[lane]),
            Place::Free { .. } => None,
        }
    }

    /// Gives a new key the list `new`; of a known key, changes the list.
    pub fn put(&mut self, hash: u64, new: Link, change: impl FnOnce(Link) -> Link) {
        let number = shard(hash);
        let shard = &self.shards[number];
        if shard.used == shard.buckets * FULL {
            self.grow(number);
        }
        let shard = &self.shards[number];
        match self.locate(shard, tag(hash)) {
            Place::Taken { bucket, lane } => {
                let link = &mut bucket_mut(&mut self.pages, shard, bucket).links[lane];
                *link = change(*link);
            }
            Place::Free { bucket } => {
                bucket_mut(&mut self.pages, shard, bucket).add(tag(hash), new);
                self.shards[number].used += 1;
            }
        }
    }

    /// Starts to bring what a key needs from memory. What it gives says nothing;
    /// a caller that goes through many keys keeps it from being optimised away.
    pub fn approach(&self, hash: u64) -> u32 {
        let shard = &self.shards[shard(hash)];
        if shard.buckets == 0 {
            return 0;
        }
        self.bucket(shard, home(tag(hash), shard.buckets)).tags[0]
    }

    /// Needs a free place somewhere in the shard, which `grow` sees to.
    fn locate(&self, shard: &Shard, tag: u32) -> Place {
        let mut number = home(tag, shard.buckets);
        loop {
            let bucket = self.bucket(shard, number);
            if bucket.has(tag) {
                let lane = bucket.lane(tag);
                return Place::Taken {
                    bucket: number,
                    lane,
                };
            }
            if !bucket.is_full() {
                return Place::Free { bucket: number };
            }
            number = after(number, shard.buckets);
        }
    }

    fn bucket(&self, shard: &Shard, number: usize) -> &Bucket {
        let page = shard.pages[number / PAGE];
        &self.pages.get(page as usize)[number % PAGE]
    }

    /// Takes all entries of a shard out, makes it larger, puts them back. They
    /// come out in the order of their tags, but for a few, and go back in that
    /// order, so memory is walked through from end to end.
    fn grow(&mut self, number: usize) {
        let shard = &mut self.shards[number];
        for &page in &shard.pages {
            for bucket in self.pages.get_mut(page as usize) {
                let entries = bucket.tags.iter().copied().zip(bucket.links);
                self.moving
                    .extend(entries.take_while(|&(tag, _)| tag != FREE));
                *bucket = Bucket::default();
            }
        }
        shard.buckets += shard.buckets / GROWTH + 1;
        while shard.pages.len() * PAGE < shard.buckets {
            shard.pages.push(self.pages.len() as u32);
            self.pages.push([Bucket::default(); PAGE]);
        }
        self.filled.clear();
        self.filled.resize(shard.buckets, 0);
        for (tag, link) in self.moving.drain(..) {
            let mut number = home(tag, shard.buckets);
            while usize::from(self.filled[number]) == LANES {
                number = after(number, shard.buckets);
            }
            let lane = usize::from(self.filled[number]);
            let bucket = bucket_mut(&mut self.pages, shard, number);
            bucket.tags[lane] = tag;
            bucket.links[lane] = link;
            self.filled[number] += 1;
        }
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        let bytes = |s: &Shard| s.pages.capacity() * 4 + size_of::<Shard>();
        self.shards.iter().map(bytes).sum::<usize>() + self.pages.memory_bytes()
    }
}

fn bucket_mut<'a>(pages: &'a mut Pages<Page, 512>, shard: &Shard, number: usize) -> &'a mut Bucket {
    let page = shard.pages[number / PAGE];
    &mut pages.get_mut(page as usize)[number % PAGE]
}

fn after(bucket: usize, buckets: usize) -> usize {
    if bucket + 1 == buckets { 0 } else { bucket + 1 }
}

fn shard(hash: u64) -> usize {
    (hash >> (64 - SHARD_BITS)) as usize
}

fn tag(hash: u64) -> u32 {
    (hash as u32).max(FREE + 1)
}

/// Loops over the lanes have no way out halfway and no branch, so that each is
/// a few vector instructions.
impl Bucket {
    fn has(&self, tag: u32) -> bool {
        self.tags.iter().fold(false, |any, &t| any | (t == tag))
    }

    /// The lane of a tag that the bucket has; it has it once.
    fn lane(&self, tag: u32) -> usize {
        let lanes = self.tags.iter().zip(0u32..);
        lanes.fold(0, |sum, (&t, lane)| sum + if t == tag { lane } else { 0 }) as usize
    }

    fn is_full(&self) -> bool {
        self.tags[LANES - 1] != FREE
    }

    /// Adds an entry to a bucket that is not full.
    fn add(&mut self, tag: u32, link: Link) {
        let taken = |&t: &u32| usize::from(t != FREE);
        let lane = self.tags.iter().map(taken).sum::<usize>();
        self.tags[lane] = tag;
        self.links[lane] = link;
    }
}

/// The bucket of a shard of `buckets` in which a tag belongs.
fn home(tag: u32, buckets: usize) -> usize {
    ((u64::from(tag) * buckets as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_again_while_the_table_grows() {
        let mut table = Table::new();
        let key = |n: u32| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for n in 1..60_000 {
            assert!(table.get(key(n)).is_none());
            table.put(key(n), Link::one(n), |_| unreachable!("a new key"));
            table.put(key(n / 2 + 1), Link::one(0), |link| link);
        }
        for n in 1..60_000 {
            assert!(table.get(key(n)) == Some(Link::one(n)), "{n}");
        }
    }

    #[test]
    fn a_crowd_at_the_end_of_a_shard_wraps_around() {
        let mut table = Table::new();
        let key = |n: u32| u64::from(u32::MAX - n);
        for n in 0..200 {
            table.put(key(n), Link::one(n), |link| link);
        }
        assert!((0..200).all(|n| table.get(key(n)) == Some(Link::one(n))));
        assert!(table.get(key(200)).is_none());
    }
}
