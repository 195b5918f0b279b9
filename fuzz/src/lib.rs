//! What the fuzz targets share.
//!
//! Each target in `fuzz_targets/` takes bytes as a stranger may send them, and holds what becomes
//! of them to the contract of one module, not only to not panicking. [`input`] says how the bytes
//! of a fuzz input are read, [`dialogue`] drives an SMTP session with [`settings`] as the receiver
//! does, [`reply`] reads what it says.
//!
//! The seeds in `seeds/` are written for this; none of them is spam.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod dialogue;
pub mod input;
pub mod reply;
pub mod settings;
