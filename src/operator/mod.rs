//! The operator's commands: `shiva report`, `show`, `relay`, `probes`, `pseudonym`, `import`,
//! `parse`, `subscribe`, and `shiva-dbcreate`.
//!
//! They read the stores directly, whether the analyzer runs or not, and print what strangers
//! wrote only after [`crate::escape`] made it harmless (JSON escapes by itself).

pub mod dbcreate;
pub mod import;
pub mod mbox;
pub mod parse;
pub mod probes;
pub mod pseudonym;
pub mod relay;
pub mod report;
pub mod show;
pub mod subscribe;

use std::io::{self, Write};

use crate::exit::{Exit, Failure};
use crate::store::{StoreError, StoreErrorKind};

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let exit = match error.kind {
            StoreErrorKind::Unfit => Exit::Config,
            _ => Exit::Unavailable,
        };
        Failure::new(exit, error.what)
    }
}

/// Writes to standard output. A reader that has gone away (`shiva report | head`) is no failure.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Io,
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Prints one JSON value on a line of its own.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| Failure::new(Exit::Io, format!("cannot write JSON: {error}")))?;
    line.push(b'\n');
    print(&line)
}
