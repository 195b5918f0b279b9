//! What makes two spams the same.
//!
//! [`rule`] holds the numbers: which lengths are compared, which score is
//! enough, which spams match by id only. [`index`] finds the record that a new
//! spam belongs to among all records, and gives exactly what comparing against
//! every one of them would give. Neither does I/O, neither can fail.
//!
//! Below the index: `grams` makes the keys under which a digest is filed,
//! `table` maps a key to a list, `lists` holds the lists, `profile` throws out
//! candidates that cannot reach the score wanted before they are compared,
//! `pages` is the vector in which the large parts lie.

mod grams;
pub mod index;
mod lists;
mod pages;
mod profile;
pub mod rule;
mod table;

pub use index::{Evidence, Index, Match, Query, Scratch};
pub use rule::{Against, Rule};
