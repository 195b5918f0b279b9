//! Relaying: the few spams that go on, so that a spammer believes in the relay.

mod connection;
pub mod delivery;
mod reply;
pub mod smuggling;
mod stuffing;
mod transaction;
