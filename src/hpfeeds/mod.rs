//! hpfeeds: what was learnt is shared.
//!
//! A window's way: [`outbox`] takes its records in when it is closed, before it goes into the main
//! store; a thread beside the analysis (`publisher`) makes [`payload`]s of them, replaces recipients
//! by [`pseudonym`]s, and hands them to the broker over a connection; what the broker surely has is
//! forgotten.

pub mod covered;
pub mod outbox;
pub mod payload;
pub mod pseudonym;
