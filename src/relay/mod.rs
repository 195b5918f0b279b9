//! The relay: which spam is worth handing on, and what never is.

pub mod probe;
pub mod refusal;
