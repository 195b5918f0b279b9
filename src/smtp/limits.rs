//! How much of one session is borne, and how often it was too much.

use super::line::MAX_LINE;
use super::session::MAX_COMMANDS;

/// Bounds of one session. The server that is played may bear less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest command line in bytes, line end included.
    pub line: usize,
    /// Commands without a DATA between them after which the session is closed. Recipients that
    /// were accepted do not count.
    pub commands: u32,
    /// Errors after which the session is closed. A message that was stored forgives those before.
    pub errors: u32,
    /// Messages after which the session is closed at the next MAIL.
    pub messages: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            line: MAX_LINE,
            commands: MAX_COMMANDS,
            errors: 100,
            messages: 10_000,
        }
    }
}

/// What the shell lacks for one more message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Room on the disk: MAIL is answered 452.
    Disk,
    /// Memory: MAIL and RCPT are answered 452.
    Memory,
}

/// How often a limit was met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Met {
    /// Lines that were too long.
    pub lines: u64,
    /// Recipients that were one too many.
    pub recipients: u64,
    /// Messages that were too big.
    pub sizes: u64,
    /// Times that the shell lacked something.
    pub shortages: u64,
    /// Sessions closed after too many commands, errors or messages.
    pub closed: u64,
}
