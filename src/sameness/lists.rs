//! Which digests are filed under one key.
//!
//! Most keys have one digest, many a few, some thousands. A [`Link`] is four
//! bytes and says which: one digest stands in the link itself; two, four or
//! eight stand side by side in an arena of blocks of that size; beyond that a
//! list is "popular" and lives on the heap.
//!
//! A popular list is divided by the character that stands before the gram.
//! Whoever looks for a gram and has the same character before it shares the
//! gram one place further left as well, and met the division's members there.
//! So it skips the division: of a stretch that thousands of digests share, only
//! the first gram's list is read, not that of every gram.
//!
//! Numbers are appended in rising order and stay so within each slice given
//! out, where each stands once; none is ever removed. A digest that has a gram
//! more than once may stand in several divisions.

use crate::sameness::pages::Pages;

/// What a key leads to.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Link(u32);

/// Bits of a link that say where the rest points.
const KIND_SHIFT: u32 = 29;
const NUMBER: u32 = (1 << KIND_SHIFT) - 1;
const ONE: u32 = 0;
const TWO: u32 = 1;
const FOUR: u32 = 2;
const EIGHT: u32 = 3;
const POPULAR: u32 = 4;

/// Most digests that links can number.
pub(super) const MOST_DIGESTS: usize = NUMBER as usize;

/// Fills the free places of a block.
const FREE: u32 = u32::MAX;

/// What the allocator needs for itself, about, for each piece of memory.
const ALLOCATION: usize = 16;

/// All lists of an index.
#[derive(Default)]
pub(super) struct Lists {
    twos: Arena<2>,
    fours: Arena<4>,
    eights: Arena<8>,
    popular: Pages<Popular, 1024>,
}

/// A list that became popular. What is needed to skip its first division, which
/// as a rule is the only one, stands side by side.
struct Popular {
    /// The eight that were there before; they are never skipped.
    undivided: [u32; 8],
    first: Division,
    more: Vec<Division>,
}

struct Division {
    before: u8,
    members: Vec<u32>,
}

/// Where the members of a list are to be read.
pub(super) enum Members<'a> {
    Few(&'a [u32]),
    Popular(u32),
}

impl Link {
    /// A list of this digest alone.
    pub fn one(digest: u32) -> Self {
        Link::new(ONE, digest)
    }

    fn new(kind: u32, number: u32) -> Self {
        debug_assert!(number <= NUMBER);
        Link(kind << KIND_SHIFT | number)
    }

    fn kind(self) -> u32 {
        self.0 >> KIND_SHIFT
    }

    fn number(self) -> u32 {
        self.0 & NUMBER
    }
}

impl Lists {
    /// Appends `digest` to the list at `link`; gives where the list is now.
    pub fn append(&mut self, link: Link, digest: u32, before: u8) -> Link {
        let number = link.number();
        match link.kind() {
            ONE if number == digest => link,
            ONE => Link::new(TWO, self.twos.take(&[number, digest])),
            TWO => match self.twos.append(number, digest) {
                None => link,
                Some(full) => Link::new(FOUR, self.fours.take(&full)),
            },
            FOUR => match self.fours.append(number, digest) {
                None => link,
                Some(full) => Link::new(EIGHT, self.eights.take(&full)),
            },
            EIGHT => match self.eights.append(number, digest) {
                None => link,
                Some(_) => {
                    let undivided = *self.eights.blocks.get(number as usize);
                    self.make_popular(undivided, digest, before)
                }
            },
            _ => {
                self.append_popular(number, digest, before);
                link
            }
        }
    }

    fn make_popular(&mut self, undivided: [u32; 8], digest: u32, before: u8) -> Link {
        let number = self.popular.len() as u32;
        self.popular.push(Popular {
            undivided,
            first: Division::of(digest, before),
            more: Vec::new(),
        });
        Link::new(POPULAR, number)
    }

    fn append_popular(&mut self, number: u32, digest: u32, before: u8) {
        let list = self.popular.get_mut(number as usize);
        let mut divisions = std::iter::once(&mut list.first).chain(&mut list.more);
        match divisions.find(|division| division.before == before) {
            Some(division) if division.members.last() == Some(&digest) => (),
            Some(division) => push(&mut division.members, digest),
            None => push(&mut list.more, Division::of(digest, before)),
        }
    }

    /// The members of a list, or that it is popular.
    pub fn members<'a>(&'a self, link: &'a Link) -> Members<'a> {
        let number = link.number();
        Members::Few(match link.kind() {
            // A link to one digest is that digest's number.
            ONE => std::slice::from_ref(&link.0),
            TWO => self.twos.read(number),
            FOUR => self.fours.read(number),
            EIGHT => self.eights.read(number),
            _ => return Members::Popular(number),
        })
    }

    /// The members of a popular list, without those that share the character
    /// `before` and were therefore met one gram earlier.
    pub fn popular(&self, number: u32, before: Option<u8>) -> impl Iterator<Item = &[u32]> {
        let list = self.popular.get(number as usize);
        let divisions = std::iter::once(&list.first).chain(&list.more);
        let others = divisions
            .filter(move |division| before != Some(division.before))
            .map(|division| division.members.as_slice());
        std::iter::once(list.undivided.as_slice()).chain(others)
    }

    /// Bytes held, about.
    pub fn memory_bytes(&self) -> usize {
        let members = |d: &Division| d.members.capacity() * 4 + ALLOCATION;
        let divisions = |number| {
            let list = self.popular.get(number);
            let more = list.more.capacity() * size_of::<Division>() + ALLOCATION;
            members(&list.first) + list.more.iter().map(members).sum::<usize>() + more
        };
        self.twos.memory_bytes()
            + self.fours.memory_bytes()
            + self.eights.memory_bytes()
            + self.popular.memory_bytes()
            + (0..self.popular.len()).map(divisions).sum::<usize>()
    }
}

impl Division {
    fn of(digest: u32, before: u8) -> Self {
        Division {
            before,
            members: vec![digest],
        }
    }
}

/// Blocks of up to `N` numbers; a block that became too small is used again.
#[derive(Default)]
struct Arena<const N: usize> {
    blocks: Pages<[u32; N], 8192>,
    free: Vec<u32>,
}

impl<const N: usize> Arena<N> {
    /// A block that holds `members`, which are `N` at most.
    fn take(&mut self, members: &[u32]) -> u32 {
        let mut block = [FREE; N];
        for (place, &member) in block.iter_mut().zip(members) {
            *place = member;
        }
        match self.free.pop() {
            Some(number) => {
                *self.blocks.get_mut(number as usize) = block;
                number
            }
            None => {
                self.blocks.push(block);
                self.blocks.len() as u32 - 1
            }
        }
    }

    /// Appends to a block. Where it is full, gives it up and returns all.
    fn append(&mut self, number: u32, digest: u32) -> Option<Vec<u32>> {
        let block = self.blocks.get_mut(number as usize);
        let used = block.iter().take_while(|&&member| member != FREE).count();
        if block[used - 1] == digest {
            return None;
        }
        if let Some(place) = block.get_mut(used) {
            *place = digest;
            return None;
        }
        let mut all = block.to_vec();
        all.push(digest);
        push(&mut self.free, number);
        Some(all)
    }

    fn read(&self, number: u32) -> &[u32] {
        let block = self.blocks.get(number as usize);
        let used = block.iter().take_while(|&&member| member != FREE).count();
        &block[..used]
    }

    fn memory_bytes(&self) -> usize {
        self.blocks.memory_bytes() + self.free.capacity() * 4
    }
}

/// `Vec::push` that grows by an eighth: there are many of these, and doubling
/// would hold as much again in reserve.
fn push<T>(vec: &mut Vec<T>, value: T) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact(vec.len() / 8 + 2);
    }
    vec.push(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lists: &Lists, link: Link, before: Option<u8>) -> Vec<u32> {
        match lists.members(&link) {
            Members::Few(few) => few.to_vec(),
            Members::Popular(number) => lists.popular(number, before).flatten().copied().collect(),
        }
    }

    #[test]
    fn a_list_keeps_its_members_through_all_sizes() {
        let mut lists = Lists::default();
        let mut links = [Link::one(0), Link::one(0)];
        for digest in 0..40 {
            for link in &mut links {
                *link = lists.append(*link, digest, 3);
                // A repeated gram, with the same character before it.
                *link = lists.append(*link, digest, 3);
            }
            let wanted: Vec<u32> = (0..=digest).collect();
            for link in links {
                let mut kept = all(&lists, link, None);
                kept.dedup();
                assert_eq!(kept, wanted);
            }
        }
    }

    #[test]
    fn only_the_division_with_the_same_character_before_is_skipped() {
        let mut lists = Lists::default();
        let mut link = Link::one(0);
        for digest in 1..13 {
            link = lists.append(link, digest, (digest % 2) as u8);
        }
        let undivided: Vec<u32> = (0..8).collect();
        let without = |before, rest: &[u32]| {
            assert_eq!(all(&lists, link, Some(before)), [&undivided, rest].concat());
        };
        without(0, &[9, 11]);
        without(1, &[8, 10, 12]);
        assert_eq!(all(&lists, link, Some(7)).len(), 13);
    }
}
