//! How a program of SHIVA ends: the exit codes of sysexits(3), and the last line on stderr.
//!
//! Every failure that ends a program is a [`Failure`]: what failed, on what, and what the
//! operator can do about it. Whatever can be waited out never becomes one in a service.

use std::fmt;
use std::process::ExitCode;

use crate::escape;

/// Exit codes, as in sysexits(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command line was wrong.
    Usage = 64,
    /// The input was wrong: `shiva parse` met an unreadable message.
    Data = 65,
    /// A file or record that was asked for does not exist.
    NoInput = 66,
    /// A neighbour (database, another process's lock, a port) is not to be had now.
    Unavailable = 69,
    /// A file or directory cannot be made.
    CantCreate = 73,
    /// Reading or writing failed.
    Io = 74,
    /// The configuration is wrong.
    Config = 78,
}

/// Why a program ends before its work is done.
#[derive(Debug)]
pub struct Failure {
    /// The code the process exits with.
    pub exit: Exit,
    /// One line for the operator: what failed, on what, and the remedy.
    pub message: String,
}

impl Failure {
    /// A failure with its last line.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Ends a program: prints the last line of a failure as `program: message`.
pub fn code(program: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            // A file's name may be a stranger's.
            let lines: Vec<_> = text.lines().map(escape::line).collect();
            let text = lines.join("\n");
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&text)]);
            // An error for the journal, which takes every other line for an information.
            let priority = match std::env::var_os("JOURNAL_STREAM") {
                Some(_) => "<3>",
                None => "",
            };
            eprintln!("{priority}{program}: {text}");
            ExitCode::from(failure.exit as u8)
        }
    }
}
