//! The rule by which two spams are the same, as numbers.
//!
//! A new spam belongs to a record with its id. Failing that, to the record
//! with the best CTPH score, if that score is high enough and the record's
//! length lies near the new spam's. A spam whose body is short matches by id
//! only, on either side: its digest says too little, and is not filed.
//!
//! Every number here is a configuration key; the constants are the defaults.

use crate::fingerprint::{Ctph, Fingerprint};
use crate::sameness::index::Query;
use std::ops::RangeInclusive;

/// Score from which a spam belongs to a record of the same window.
pub const DEFAULT_SIMILARITY: u32 = 75;
/// The same for a spam without a text part: only its subject was hashed.
pub const DEFAULT_SIMILARITY_NO_TEXT: u32 = 85;
/// Score from which a record belongs to one of the main store.
pub const DEFAULT_SIMILARITY_MAIN: u32 = 80;
/// Percent by which a record's length may differ from the new spam's.
pub const DEFAULT_LENGTH_TOLERANCE: u32 = 10;
/// Characters of body from which CTPH is looked at.
pub const DEFAULT_MINIMUM_BODY: u64 = 150;

/// The numbers in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Score wanted within a window, 1 to 100.
    pub similarity: u32,
    /// Score wanted within a window when there is no text part, 1 to 100.
    pub similarity_no_text: u32,
    /// Score wanted against the main store, 1 to 100.
    pub similarity_main: u32,
    /// Percent of length that a record may be shorter or longer.
    pub length_tolerance: u32,
    /// Characters of body below which only the id counts.
    pub minimum_body: u64,
}

/// Whose records a spam is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// Those of the window that is open.
    Window,
    /// Those that the main store held before this window.
    Main,
}

impl Default for Rule {
    fn default() -> Self {
        Rule {
            similarity: DEFAULT_SIMILARITY,
            similarity_no_text: DEFAULT_SIMILARITY_NO_TEXT,
            similarity_main: DEFAULT_SIMILARITY_MAIN,
            length_tolerance: DEFAULT_LENGTH_TOLERANCE,
            minimum_body: DEFAULT_MINIMUM_BODY,
        }
    }
}

impl Rule {
    /// Lengths that a record may have to be compared with a new spam of
    /// `length`: both ends belong to it, both are rounded down.
    pub fn lengths(&self, length: u64) -> RangeInclusive<u64> {
        let tolerance = self.length_tolerance;
        let low = percent(length, 100u32.saturating_sub(tolerance));
        let high = percent(length, tolerance.saturating_add(100));
        low..=high
    }

    /// Whether the CTPH of a spam counts, and is to be computed and filed.
    pub fn compares_digest(&self, body_chars: u64) -> bool {
        body_chars >= self.minimum_body
    }

    /// The score that is enough.
    pub fn threshold(&self, has_text: bool, against: Against) -> u32 {
        match (against, has_text) {
            (Against::Window, true) => self.similarity,
            (Against::Window, false) => self.similarity_no_text,
            (Against::Main, _) => self.similarity_main,
        }
    }

    /// The digest to file for a spam, or none when it matches by id only.
    pub fn digest<'a>(&self, spam: &'a Fingerprint) -> Option<&'a Ctph> {
        self.compares_digest(spam.body_chars)
            .then_some(&spam.ssdeep)
    }

    /// The question to put to an index about a new spam.
    pub fn query<'a>(&self, spam: &'a Fingerprint, against: Against) -> Query<'a> {
        Query {
            id: spam.id,
            digest: self.digest(spam),
            lengths: self.lengths(spam.length),
            threshold: self.threshold(spam.has_text, against),
        }
    }
}

/// ⌊`part` / 100 · `whole`⌋, or the largest number if that is larger.
fn percent(whole: u64, part: u32) -> u64 {
    let exact = u128::from(whole) * u128::from(part) / 100;
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tolerance(length_tolerance: u32) -> Rule {
        Rule {
            length_tolerance,
            ..Rule::default()
        }
    }

    #[test]
    fn both_ends_of_the_length_window_are_rounded_down() {
        assert_eq!(tolerance(10).lengths(0), 0..=0);
        assert_eq!(tolerance(10).lengths(1), 0..=1);
        assert_eq!(tolerance(10).lengths(9), 8..=9);
        assert_eq!(tolerance(10).lengths(10), 9..=11);
        assert_eq!(tolerance(10).lengths(1999), 1799..=2198);
        assert_eq!(tolerance(0).lengths(1234), 1234..=1234);
    }

    #[test]
    fn no_tolerance_and_no_length_overflows() {
        assert_eq!(tolerance(100).lengths(70), 0..=140);
        assert_eq!(tolerance(250).lengths(100), 0..=350);
        assert_eq!(tolerance(u32::MAX).lengths(u64::MAX), 0..=u64::MAX);
        assert_eq!(*tolerance(10).lengths(u64::MAX).end(), u64::MAX);
    }

    #[test]
    fn thresholds_depend_on_text_and_store() {
        let rule = Rule::default();
        assert_eq!(rule.threshold(true, Against::Window), 75);
        assert_eq!(rule.threshold(false, Against::Window), 85);
        assert_eq!(rule.threshold(true, Against::Main), 80);
        assert_eq!(rule.threshold(false, Against::Main), 80);
    }

    #[test]
    fn a_short_body_has_no_digest_to_compare() {
        let rule = Rule::default();
        // 149 and 150 characters of two bytes each: characters count.
        let short = Fingerprint::of("s", &"é".repeat(149), true);
        let long = Fingerprint::of("s", &"é".repeat(150), true);
        assert_eq!(rule.query(&short, Against::Window).digest, None);
        assert_eq!(
            rule.query(&long, Against::Window).digest,
            Some(&long.ssdeep)
        );
    }
}
