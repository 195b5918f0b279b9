//! What rules a candidate out without comparing it.
//!
//! The score of two block hashes falls with their edit distance, in which a
//! character is inserted or removed at a cost of one each. Whatever the order,
//! each character that one has more often than the other must be inserted or
//! removed; so the distance is no less than the sum, over the alphabet, of the
//! differences in number. With one 64-bit mask of the characters that occur,
//! one of those that occur twice and so on, that sum is the number of bits by
//! which the masks differ. It costs a tenth of a comparison, reads one cache
//! line, and rules out nearly all that merely share a piece of a template.
//!
//! Nothing is ruled out that could reach the score asked for.

use ssdeep::{FuzzyHash, FuzzyHashCompareTarget, block_hash};
use std::ops::RangeInclusive;

/// Masks kept of a first and of a second block hash, which is half as long.
const FIRST_MASKS: usize = 3;
const SECOND_MASKS: usize = 2;
/// Shortest block hash that can share what a score needs.
const SHORTEST: u8 = block_hash::MIN_LCS_FOR_COMPARISON as u8;
/// The score scales a distance to this many steps before it makes percent.
const STEPS: u32 = block_hash::FULL_SIZE as u32;
/// The best score.
pub(super) const BEST: u32 = 100;

/// All that is looked at before a comparison; one cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Profile {
    length: u64,
    first: [u64; FIRST_MASKS],
    second: [u64; SECOND_MASKS],
    /// The record to which the digest belongs.
    pub record: u32,
    log_block_size: u8,
    first_len: u8,
    second_len: u8,
}

/// A score that is wanted, made ready for many candidates.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    score: u32,
    /// A distance is small enough if `STEPS` times it is less than this many
    /// times the two lengths together.
    steps: u32,
}

impl Wanted {
    pub fn new(score: u32) -> Self {
        let enough = |&steps: &u32| BEST * steps / STEPS <= BEST.saturating_sub(score);
        let steps = if score > BEST {
            0
        } else {
            (0..=STEPS).take_while(enough).count() as u32
        };
        Wanted { score, steps }
    }

    /// Whether any digest can score as much.
    pub fn is_possible(self) -> bool {
        self.score <= BEST
    }

    /// Whether a score is as much.
    pub fn is_reached_by(self, score: u32) -> bool {
        score >= self.score
    }

    fn allows(self, distance: u32, lengths: u32) -> bool {
        STEPS * distance < self.steps * lengths
    }
}

/// One block hash of a profile.
struct Half<'a> {
    masks: &'a [u64],
    len: u8,
}

impl Profile {
    pub fn new(digest: &FuzzyHash, record: u32, length: u64) -> Self {
        Profile {
            length,
            first: masks(digest.block_hash_1()),
            second: masks(digest.block_hash_2()),
            record,
            log_block_size: digest.log_block_size(),
            first_len: digest.block_hash_1_len() as u8,
            second_len: digest.block_hash_2_len() as u8,
        }
    }

    /// Whether the record's length lies in `lengths`.
    pub fn fits(&self, lengths: &RangeInclusive<u64>) -> bool {
        (self.length >= *lengths.start()) & (self.length <= *lengths.end())
    }

    /// Whether `other` may score as wanted with this one. False is certain, true
    /// is not.
    pub fn may_match(&self, other: &Profile, wanted: Wanted) -> bool {
        let own = self.log_block_size;
        match i16::from(own) - i16::from(other.log_block_size) {
            0 => {
                // Equal digests score 100 whatever the bounds below say.
                self.may_equal(other)
                    || reaches(self.first(), other.first(), own, wanted)
                    || reaches(self.second(), other.second(), own + 1, wanted)
            }
            1 => reaches(self.first(), other.second(), own, wanted),
            -1 => reaches(self.second(), other.first(), own + 1, wanted),
            _ => false,
        }
    }

    fn may_equal(&self, other: &Profile) -> bool {
        self.first == other.first
            && self.second == other.second
            && self.first_len == other.first_len
            && self.second_len == other.second_len
    }

    fn first(&self) -> Half<'_> {
        Half {
            masks: &self.first,
            len: self.first_len,
        }
    }

    fn second(&self) -> Half<'_> {
        Half {
            masks: &self.second,
            len: self.second_len,
        }
    }
}

/// Whether two block hashes made with the same block size may score as wanted.
fn reaches(one: Half<'_>, other: Half<'_>, log_block_size: u8, wanted: Wanted) -> bool {
    if one.len.min(other.len) < SHORTEST {
        return false;
    }
    let cap = FuzzyHashCompareTarget::score_cap_on_block_hash_comparison(
        log_block_size,
        one.len,
        other.len,
    );
    if cap < wanted.score {
        return false;
    }
    let lengths = u32::from(one.len) + u32::from(other.len);
    // All of it at once: to leave the loop early would be a branch that the
    // processor cannot foresee, which costs more than the rest of the sum.
    let masks = one.masks.iter().zip(other.masks);
    let distance = masks.map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
    let least = distance.max(u32::from(one.len.abs_diff(other.len)));
    wanted.allows(least, lengths)
}

/// The characters that occur at least once, twice and so on up to `N` times.
fn masks<const N: usize>(characters: &[u8]) -> [u64; N] {
    let mut masks = [0; N];
    for &character in characters {
        let mut bit = 1u64 << character;
        for mask in &mut masks {
            let again = *mask & bit;
            *mask |= bit;
            bit = again;
        }
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowed_distance_is_that_of_the_score() {
        for first in SHORTEST..=64 {
            let second = (first + 5).min(64);
            let lengths = u32::from(first) + u32::from(second);
            let most = lengths - 2 * u32::from(SHORTEST);
            for distance in 0..=most {
                let score =
                    FuzzyHashCompareTarget::raw_score_by_edit_distance(first, second, distance);
                for threshold in 1..=101 {
                    let allowed = Wanted::new(threshold).allows(distance, lengths);
                    assert_eq!(
                        allowed,
                        score >= threshold,
                        "{first} {distance} {threshold}"
                    );
                }
            }
        }
    }

    #[test]
    fn masks_count_up_to_their_number() {
        assert_eq!(masks::<3>(&[0, 0, 2, 0, 0, 63, 2]), [1 << 63 | 5, 5, 1]);
        assert_eq!(size_of::<Profile>(), 64);
    }
}
