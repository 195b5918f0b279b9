//! Names of queue files.
//!
//! A name that SHIVA gives can never come again: seconds, microseconds, process, a counter, 64
//! random bits drawn at the process's start, and the inode of the file itself:
//!
//! ```text
//! 1732222222.M123456P4711Q17R0123456789abcdefI98765[-<ip>-<sensor>-<user>]
//! ```
//!
//! The inode tells a file that was copied back under an old name from the one that had it. The
//! part in brackets is there only for a file that came under a name of the first SHIVA,
//! `<epoch>.M<µs>P<pid>Q<n>-<ip>-<sensor>-<user|none>`, and keeps what that said.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::timestamp::Timestamp;

/// The longest file name ext4 and its kin take, in bytes.
const NAME_MAX: usize = 255;

/// What a mail tool puts before the flags it adds to a name.
const FLAGS: &str = ":2,";

/// Where the numbers of tickets begin: here, or up to so many later.
const FIRST_TICKET: u64 = 1_000_000;
const FIRST_TICKETS: u64 = 3_000_000;

/// The name of a file in the queue: no path separator, no leading dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(String);

/// What a name of the first SHIVA says about its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// When it was received.
    pub received_at: Timestamp,
    /// Who sent it.
    pub src_ip: Option<IpAddr>,
    /// The sensor that took it.
    pub sensor: String,
    /// The user who authenticated, if one did.
    pub user: Option<String>,
}

/// What a message that was named is known by until its receiver ends: for replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// When it was received.
    pub at: Timestamp,
    /// Unique within the process. It begins anywhere between one and four million, where inodes
    /// and process ids are, so that it does not tell how many there were.
    pub number: u64,
}

/// What a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Given by SHIVA to the file with this inode.
    Own {
        /// The file's inode when it was named.
        inode: u64,
        /// What the name before it said, if that was an old one.
        origin: Option<Origin>,
    },
    /// Given by the first SHIVA.
    Old(Origin),
    /// Given by anybody.
    Foreign,
}

impl QueueName {
    /// A name as it was read from a directory or a store; `None` for a dot-file or a path.
    pub fn new(name: &str) -> Option<QueueName> {
        let fits = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        fits.then(|| QueueName(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without the flags that a mail tool adds when it moves a mail to `cur/`: what
    /// identifies the mail.
    pub fn unique(&self) -> &str {
        self.0
            .split_once(FLAGS)
            .map_or(&self.0, |(unique, _)| unique)
    }

    /// Of what identifies the mail the first `bytes`, fewer where a character would be split. It
    /// stands at the beginning of a name of ours, before what an old name said.
    pub fn stem(&self, bytes: usize) -> &str {
        cut(self.unique(), bytes)
    }

    /// Reads the name's form.
    pub fn form(&self) -> Form {
        parse(&self.0).unwrap_or(Form::Foreign)
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse(name: &str) -> Option<Form> {
    let name = name.split_once(FLAGS).map_or(name, |(name, _)| name);
    let (unique, tail) = match name.split_once('-') {
        Some((unique, tail)) => (unique, Some(tail)),
        None => (name, None),
    };
    let (epoch, rest) = unique.split_once(".M")?;
    let (micros, rest) = rest.split_once('P')?;
    let (pid, rest) = rest.split_once('Q')?;
    let received_at = Timestamp::from_seconds(digits(epoch)?, digits(micros)?);
    digits::<u64>(pid)?;
    let origin = tail.and_then(|tail| origin(received_at, tail));
    if let Some((counter, rest)) = rest.split_once('R') {
        let (token, inode) = rest.split_once('I')?;
        digits::<u64>(counter)?;
        if token.len() != 16 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let inode = digits(inode)?;
        return Some(Form::Own { inode, origin });
    }
    digits::<u64>(rest)?;
    origin.map(Form::Old)
}

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn origin(received_at: Timestamp, tail: &str) -> Option<Origin> {
    let (ip, rest) = tail.split_once('-')?;
    let (sensor, user) = rest.rsplit_once('-')?;
    Some(Origin {
        received_at,
        src_ip: ip.parse().ok(),
        sensor: sensor.to_owned(),
        user: (user != "none").then(|| user.to_owned()),
    })
}

/// 64 random bits as 16 hex digits: tells a thing from every other one of its kind, on whatever
/// machine.
pub fn token() -> io::Result<String> {
    Ok(format!("{:016x}", random_bits()?))
}

fn random_bits() -> io::Result<u64> {
    let mut bits = [0; 8];
    rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bits))
}

/// Gives names that can never come again; one for each process.
#[derive(Debug)]
pub struct Namer {
    token: u64,
    counter: AtomicU64,
}

impl Namer {
    /// Draws the process's random bits.
    pub fn new() -> Namer {
        Namer {
            // Without entropy the time, the process, the counter and the inode still differ.
            token: random_bits().unwrap_or(0),
            counter: AtomicU64::new(0),
        }
    }

    /// A fresh name for the file with this inode, received or adopted at `at`, and its
    /// ticket.
    pub fn fresh(&self, at: Timestamp, inode: u64, origin: Option<&Origin>) -> (QueueName, Ticket) {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let at = origin.map_or(at, |origin| origin.received_at);
        let mut name = format!(
            "{}.M{:06}P{}Q{counter}R{:016x}I{inode}",
            at.seconds().max(0),
            at.subsecond_micros(),
            std::process::id(),
            self.token
        );
        if let Some(origin) = origin {
            let ip = origin
                .src_ip
                .map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
            let user = origin.user.as_deref().unwrap_or("none");
            let room = NAME_MAX.saturating_sub(name.len() + ip.len() + 3);
            let user = cut(user, room / 2);
            let sensor = cut(&origin.sensor, room - user.len());
            name.push_str(&format!("-{ip}-{sensor}-{user}"));
        }
        let number = FIRST_TICKET + self.token % FIRST_TICKETS + counter;
        (QueueName(name), Ticket { at, number })
    }

    /// A name for a file in `tmp/`, unique while this process lives and after.
    pub fn temporary(&self) -> String {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{}.{:016x}.{counter}", std::process::id(), self.token)
    }
}

impl Default for Namer {
    fn default() -> Namer {
        Namer::new()
    }
}

/// The first `bytes` of a text, fewer where a character would be split.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_known_again_and_differ() {
        let namer = Namer::new();
        let at = Timestamp::from_seconds(1_700_000_000, 42);
        let (a, first) = namer.fresh(at, 77, None);
        let (b, second) = namer.fresh(at, 77, None);
        assert_ne!(a, b);
        assert_eq!(second.number, first.number + 1);
        assert_eq!(
            a.form(),
            Form::Own {
                inode: 77,
                origin: None
            }
        );
    }

    #[test]
    fn an_old_name_says_time_ip_sensor_and_user() {
        let name = QueueName::new("1374000000.M012345P99Q3-203.0.113.9-my-sensor-none").unwrap();
        let Form::Old(origin) = name.form() else {
            panic!("{:?}", name.form())
        };
        assert_eq!(
            origin.received_at,
            Timestamp::from_seconds(1_374_000_000, 12_345)
        );
        assert_eq!(origin.src_ip, "203.0.113.9".parse().ok());
        assert_eq!(origin.sensor, "my-sensor");
        assert_eq!(origin.user, None);
        let (own, _) = Namer::new().fresh(Timestamp::now(), 5, Some(&origin));
        assert_eq!(
            own.form(),
            Form::Own {
                inode: 5,
                origin: Some(origin)
            }
        );
    }

    #[test]
    fn a_long_old_name_still_fits_a_directory() {
        let old = format!(
            "1374000000.M1P9Q3-2001:db8::1-{}-{}",
            "ß".repeat(60),
            "u".repeat(90)
        );
        let Form::Old(origin) = QueueName::new(&old).unwrap().form() else {
            panic!("{old}")
        };
        let (own, _) = Namer::new().fresh(Timestamp::now(), u64::MAX, Some(&origin));
        assert!(own.as_str().len() <= NAME_MAX, "{own}");
    }

    #[test]
    fn all_else_is_foreign() {
        for name in [
            "mail.eml",
            "1.M2P3",
            "1.M2P3Q4",
            "x.M1P1Q1-1.2.3.4-s-none",
            "1.M1P1Q1R12I5",
        ] {
            assert_eq!(
                QueueName::new(name).unwrap().form(),
                Form::Foreign,
                "{name}"
            );
        }
        for name in ["", ".hidden", "../up", "a/b"] {
            assert_eq!(QueueName::new(name), None, "{name}");
        }
    }
}
