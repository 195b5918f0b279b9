//! SHIVA, a spam honeypot: a receiver that plays an open mail relay, and an analyzer that finds
//! the few distinct spams among millions of copies.
//!
//! The modules, in the order of a mail's way:
//!
//! - [`smtp`]: the SMTP session, decisions only: bytes in, replies and steps out.
//! - [`receiver`]: the service around it, sockets and signals.
//! - [`envelope`]: what the session knew, as it travels with the message.
//! - [`queue`]: the maildir between the two services: durable on the way in, each file once on
//!   the way out.
//! - [`message`]: from a message's bytes to what an analyst needs of it.
//! - [`fingerprint`]: id and CTPH of a spam.
//! - [`sameness`]: what makes two spams the same, and the index that finds them.
//! - [`window`]: the open window, where each spam gets its record.
//! - [`archive`]: samples, attachments and undeliverable messages on disk.
//! - [`relay`]: the counted few that go on to the relay host.
//! - [`store`]: the window store and the main store, and their engines.
//! - [`correlation`]: closed windows, and what others published, go into the main store.
//! - [`hpfeeds`]: what was learnt is shared.
//! - [`analyzer`]: the service around all of these, threads and waiting.
//! - [`operator`]: the commands `shiva report`, `show`, `relay`, `probes`, `pseudonym`, `import`,
//!   `subscribe` and `parse`, and `shiva-dbcreate`.
//!
//! Beside the way: [`notification`] (what needs a person is mailed to one), [`cli`],
//! [`parsed`] (the JSON of a spam), [`config`], [`logging`], [`escape`] (a stranger's bytes made
//! harmless), [`timestamp`], [`privileges`] (root's commands do not stay root), [`exit`] (sysexits),
//! [`watchdog`] (a stuck thread is noticed), [`crash`] (where tests kill the process).

#![forbid(unsafe_code)]
#![warn(missing_docs)]
// Who reads the documentation reads the code: `make check` builds it with what is private.
#![allow(rustdoc::private_intra_doc_links)]

pub mod analyzer;
pub mod archive;
pub mod cli;
pub mod config;
pub mod correlation;
pub mod crash;
pub mod envelope;
pub mod escape;
pub mod exit;
pub mod fingerprint;
pub mod hpfeeds;
pub mod logging;
pub mod message;
pub mod notification;
pub mod operator;
pub mod parsed;
pub mod privileges;
pub mod queue;
pub mod receiver;
pub mod relay;
pub mod sameness;
pub mod smtp;
pub mod store;
pub mod timestamp;
pub mod watchdog;
pub mod window;
