//! What is shared over hpfeeds.
//!
//! - [`pseudonym`]: keeps the trap's own addresses out of it.

pub mod pseudonym;
