//! hpfeeds: what was learnt is shared through a broker, and what others share is received.
//!
//! A client greets a broker with a name (`ident`) and a proof of the secret they share, and then
//! publishes payloads on channels or subscribes to channels. The broker hands each payload to who
//! is subscribed at that moment. It keeps nothing, and acknowledges nothing.
//!
//! A window's way: [`outbox`] takes its records in before it goes into the main store; the
//! [`publisher`], beside the analysis, puts [`pseudonym`]s in the place of recipients ([`covered`]),
//! makes [`payload`]s and hands them to the broker; what the broker surely has is moved ([`sent`]) and
//! forgotten. What others published is read by [`received`].
//!
//! The protocol: [`codec`] is bytes and frames, without I/O; [`connection`] speaks it to a broker, over
//! TCP or TLS; [`fault`] is why a connection ended, and [`backoff`] decides when the next one is
//! tried.

pub mod backoff;
pub mod codec;
pub mod connection;
pub mod covered;
pub mod fault;
pub mod outbox;
pub mod payload;
pub mod pseudonym;
pub mod publisher;
pub mod received;
pub mod sent;
mod tls;
mod wire;

pub use backoff::Backoff;
pub use connection::{Broker, Connection, Message};
pub use fault::Fault;
