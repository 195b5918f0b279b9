//! Delivery of a mail to the relay host, at most once.
//!
//! # Contract
//!
//! - What comes of a mail is a value, [`Outcome`], and there are four: it was accepted, it was
//!   refused, it did not get there, or nobody can know. The first three are certain. A mail is tried
//!   again here in one case only: over a connection that had been idle and turned out to be closed
//!   before the server answered anything of the mail, for then it cannot have taken it.
//! - The message's bytes are unaltered: dots are stuffed, CRLF is put behind the last line only
//!   where it is missing, nothing else. A message that a lenient server could take for two is for the
//!   caller to keep back ([`smuggling`](super::smuggling)).
//! - The envelope is the spammer's own. An address that could end its command is not said.
//! - A mail takes at most the sum of [`Timeouts::mail`] and [`Timeouts::end`], and the time the
//!   system's resolver takes where the host is a name. Memory is bounded whatever the server says.
//! - Connections are reused: [`MAILS_MAX`] mails each, and not after [`IDLE_MAX`] without one. Who
//!   waits for mails closes an idle one by [`Delivery::hang_up`] when [`Delivery::idle_until`] has
//!   passed.
//!
//! # Why blocking sockets and smtp-proto, not mail-send
//!
//! The design names mail-send 0.7. Read closely, it does not fit: `cmds` returns all answers or an
//! error, so that of a server that says `421` and closes nothing is left but "unparseable reply", and
//! whether the mail was refused or never reached decides over its slot; its answers may grow without
//! end (`250-` and a line end, repeated, are never counted); bytes behind an answer are lost. It
//! needs a runtime in a thread that has none, and brings the certificates of TLS, which is not spoken
//! to a loopback address. What would remain of it is `connect`. So the sockets are the standard
//! library's, and what the server offers is read by smtp-proto, of the same authors, which SHIVA has
//! anyway.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::transaction::check;

/// Mails over one connection. exim4 delivers no more than ten of one at once; the others it leaves to
/// its next queue run, in half an hour (`smtp_accept_queue_per_connection`).
pub const MAILS_MAX: u32 = 10;

/// How long a connection without mails is kept. Debian's exim4 closes after 5 minutes.
pub const IDLE_MAX: Duration = Duration::from_secs(10);

/// How long QUIT may take.
const QUIT: Duration = Duration::from_secs(2);

/// How long the parts of a delivery may take.
///
/// RFC 5321 section 4.5.3.2 has longer times, for a client that would send the mail again. Here a
/// mail is given up, and others wait behind it.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Connecting.
    pub connect: Duration,
    /// One answer.
    pub reply: Duration,
    /// All of a mail up to the dot that ends it, connecting included.
    pub mail: Duration,
    /// The answer to that dot: the server may look through the message first.
    pub end: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(10),
            reply: Duration::from_secs(60),
            mail: Duration::from_secs(300),
            end: Duration::from_secs(120),
        }
    }
}

/// A mail to relay.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'m> {
    /// The envelope's sender; empty for `<>`.
    pub from: &'m str,
    /// The envelope's recipients.
    pub to: &'m [String],
    /// The message's bytes as received.
    pub message: &'m [u8],
}

/// What came of a mail. The texts are one harmless line each, short enough for a log and a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered the end of the message by 250, with this text. Where it had refused some of
    /// the recipients, the text says which.
    Accepted(String),
    /// The server refused the sender, every recipient, or the message.
    Refused {
        /// Its code, 400 to 599; 553 also where an envelope cannot be said at all.
        code: u16,
        /// What it said.
        text: String,
    },
    /// There was no connection, or it did not last to the end of the message: not accepted.
    Unreached(String),
    /// The end of the message may have been sent, and no answer came: accepted or not.
    Unknown(String),
}

/// The way to one relay host. Not to be shared: each thread has its own.
pub struct Delivery {
    host: String,
    port: u16,
    helo: String,
    timeouts: Timeouts,
    idle: Option<Idle>,
}

/// A connection that waits for the next mail.
struct Idle {
    connection: Connection,
    mails: u32,
    since: Instant,
}

impl Delivery {
    /// A way to this host, not yet connected; `helo` is the name that we give.
    pub fn new(host: &str, port: u16, helo: &str) -> Delivery {
        Delivery::with_timeouts(host, port, helo, Timeouts::default())
    }

    /// As [`Delivery::new`], for who cannot wait as long.
    pub fn with_timeouts(host: &str, port: u16, helo: &str, timeouts: Timeouts) -> Delivery {
        Delivery {
            host: host.to_owned(),
            port,
            helo: helo.to_owned(),
            timeouts,
            idle: None,
        }
    }

    /// Delivers a mail, once at most.
    pub fn deliver(&mut self, mail: &Mail) -> Outcome {
        if let Err(why) = check(mail) {
            let text = format!("not said to the relay host: {why}");
            return Outcome::Refused { code: 553, text };
        }
        let deadline = Instant::now() + self.timeouts.mail;
        if let Some(Idle {
            mut connection,
            mails,
            ..
        }) = self.reusable()
        {
            let outcome = connection.relay(mail, deadline);
            if !connection.was_dead() {
                self.keep(connection, mails + 1);
                return outcome;
            }
        }
        let address = (self.host.as_str(), self.port);
        match Connection::open(address, &self.helo, self.timeouts, deadline) {
            Ok(mut connection) => {
                let outcome = connection.relay(mail, deadline);
                self.keep(connection, 1);
                outcome
            }
            Err(text) => Outcome::Unreached(text),
        }
    }

    /// When an open connection should be hung up, if no mail comes before.
    pub fn idle_until(&self) -> Option<Instant> {
        self.idle.as_ref().map(|idle| idle.since + IDLE_MAX)
    }

    /// Closes an open connection, with QUIT where the server still hears it.
    pub fn hang_up(&mut self) {
        if let Some(idle) = self.idle.take() {
            idle.connection.quit(QUIT);
        }
    }

    fn reusable(&mut self) -> Option<Idle> {
        let idle = self.idle.as_ref()?;
        if idle.mails >= MAILS_MAX || idle.since.elapsed() >= IDLE_MAX {
            self.hang_up();
        }
        self.idle.take()
    }

    fn keep(&mut self, connection: Connection, mails: u32) {
        if connection.is_usable() {
            let since = Instant::now();
            self.idle = Some(Idle {
                connection,
                mails,
                since,
            });
        }
    }
}
