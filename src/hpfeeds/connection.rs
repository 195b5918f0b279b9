//! A connection to a broker, for an ordinary thread: it publishes, or waits for what others publish.
//!
//! # What a publisher may believe
//!
//! A broker acknowledges nothing. What it read before the end of our stream it has handed on before it
//! closes; so [`Connection::finish`] ends our side, waits until the broker ends its own without an
//! error, and only then were the payloads *taken*. All that was published on a connection that ended
//! otherwise may be lost, and is published again. What may look like such an end is told from it:
//!
//! - A broker that ended first did not take what came after. `finish` looks before it sends our end.
//! - A broker that ends while our last bytes are on their way answers them by a reset, which comes
//!   after its end. `finish` looks once more when a whole turn to the broker and back has passed.
//! - A broker that is killed ends its connections, too, and if it had read everything, as if all were
//!   well. Over TLS the goodbye is missing. That turn is a second connection: who still greets was
//!   not killed just now.
//!
//! Taken means: by the broker. What a subscriber makes of it nobody learns.
//!
//! # Limits
//!
//! Every wait has an end ([`Timeouts`]). Memory is one frame and one block in each direction. A
//! payload of more than [`payload_max`](super::codec::payload_max) bytes is refused before anything
//! of it is sent. Looking a name up ends when the system's resolver says so.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Fault;
use super::codec::{self, Decoder, Frame, TooLong};
use super::tls::{Tls, TlsError};
use super::wire::{Wire, is_timeout};

/// Bytes that are written and read at once.
const BLOCK: usize = 64 * 1024;

/// How long a broker that closed is listened to for why it did.
const PARTING: Duration = Duration::from_secs(1);

/// The shortest look at what a broker has said.
const GLANCE: Duration = Duration::from_millis(1);

/// How long to wait for a broker.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For its greeting.
    pub greeting: Duration,
    /// Until it takes a block of 64 KiB.
    pub write: Duration,
    /// Until it has read everything and closes.
    pub finish: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            greeting: Duration::from_secs(10),
            write: Duration::from_secs(60),
            finish: Duration::from_secs(120),
        }
    }
}

/// Encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// Certificates of the authorities that are trusted, in PEM; `None` are the system's.
    pub authorities: Option<PathBuf>,
}

/// A broker, and who we are to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Our name.
    pub ident: String,
    /// The secret we share.
    pub secret: String,
    /// TLS, if the broker wants it.
    pub tls: Option<Encryption>,
}

/// What somebody published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who.
    pub ident: String,
    /// Where.
    pub channel: String,
    /// What.
    pub payload: Vec<u8>,
}

/// A connection. Dropped, it is closed, and nothing is known of what was published on it.
pub struct Connection {
    wire: Wire,
    /// What is read goes through here.
    read: Vec<u8>,
    decoder: Decoder,
    broker: Broker,
    timeouts: Timeouts,
    /// Frames that are not written yet.
    out: Vec<u8>,
    /// The broker was asked for more than to know us.
    asked: bool,
}

/// What came from the broker.
enum Heard {
    Nonce(Vec<u8>),
    Message(Message),
    /// It has closed.
    End,
    /// Nothing until the deadline.
    Nothing,
}

impl Broker {
    /// Where it is, as `host:port`.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn lost(&self, what: &str) -> Fault {
        Fault::Lost(format!("{}: {what}", self.address()))
    }

    fn failed(&self, what: &str, error: &io::Error) -> Fault {
        match is_timeout(error) {
            true => self.lost(&format!("{what} in time")),
            false => self.lost(&format!("{what}: {error}")),
        }
    }

    fn too_long(&self, error: &TooLong) -> Fault {
        Fault::TooLong(format!("not sent to {}: {error}", self.address()))
    }

    fn connect(&self, timeouts: Timeouts) -> Result<Wire, Fault> {
        let deadline = Instant::now() + timeouts.connect;
        let wire = Wire::connect(&self.host, self.port, deadline)
            .map_err(|error| self.failed("cannot connect", &error))?;
        let Some(Encryption { authorities }) = &self.tls else {
            return Ok(wire);
        };
        Tls::new(&self.host, authorities.as_deref())
            .and_then(|tls| wire.encrypt(tls))
            .map_err(|error| match error {
                TlsError::Untrusted(what) => {
                    Fault::Untrusted(format!("{}: no TLS: {what}", self.address()))
                }
                TlsError::Lost(error) => self.failed("no TLS", &error),
            })
    }
}

impl Connection {
    /// Connects, waits for the greeting and says who we are. The broker answers only if it refuses
    /// that, at any later call.
    pub fn open(broker: &Broker) -> Result<Connection, Fault> {
        Connection::with_timeouts(broker, Timeouts::default())
    }

    /// [`Connection::open`] with other time-outs.
    pub fn with_timeouts(broker: &Broker, timeouts: Timeouts) -> Result<Connection, Fault> {
        let (mut connection, nonce) = Connection::greeted(broker, timeouts)?;
        let digest = codec::digest(&nonce, &broker.secret);
        let ident = broker.ident.as_str().into();
        connection.say(&Frame::Auth { ident, digest })?;
        connection.flush()?;
        Ok(connection)
    }

    /// Publishes a payload, as soon as a block is full or at [`Connection::flush`]. Waits while the
    /// broker does not read.
    pub fn publish(&mut self, channel: &str, payload: &[u8]) -> Result<(), Fault> {
        let ident = self.broker.ident.clone();
        self.say(&Frame::Publish {
            ident: ident.into(),
            channel: channel.into(),
            payload,
        })?;
        self.asked = true;
        match self.out.len() >= BLOCK {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Writes what was published so far.
    pub fn flush(&mut self) -> Result<(), Fault> {
        let out = std::mem::take(&mut self.out);
        for block in out.chunks(BLOCK) {
            let deadline = Instant::now() + self.timeouts.write;
            if let Err(error) = self.wire.until(deadline).write(block) {
                let fault = self.broker.failed("cannot write", &error);
                return Err(self.refusal().unwrap_or(fault));
            }
        }
        self.out = out;
        self.out.clear();
        Ok(())
    }

    /// Asks for what is published on a channel.
    pub fn subscribe(&mut self, channel: &str) -> Result<(), Fault> {
        let ident = self.broker.ident.clone();
        self.say(&Frame::Subscribe {
            ident: ident.into(),
            channel: channel.into(),
        })?;
        self.asked = true;
        self.flush()
    }

    /// Waits for the next message; `None` when none came in this time. A broker that vanished
    /// without closing is noticed after some minutes of silence.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Message>, Fault> {
        match self.hear(Instant::now() + patience)? {
            Heard::Message(message) => Ok(Some(message)),
            Heard::Nothing => Ok(None),
            Heard::End => Err(self.broker.lost("the broker closed the connection")),
            Heard::Nonce(_) => Err(self.malformed("a second greeting")),
        }
    }

    /// Ends the connection. When this is `Ok` the broker has taken all that was published on it;
    /// when not, it may have taken any part of it.
    pub fn finish(mut self) -> Result<(), Fault> {
        self.flush()?;
        self.must_be_open()?;
        let deadline = Instant::now() + self.timeouts.write;
        if let Err(error) = self.wire.until(deadline).close_write() {
            let fault = self.broker.failed("cannot end the connection", &error);
            return Err(self.refusal().unwrap_or(fault));
        }
        let deadline = Instant::now() + self.timeouts.finish;
        loop {
            match self.hear(deadline)? {
                Heard::Message(_) | Heard::Nonce(_) => {}
                Heard::End => break,
                Heard::Nothing => {
                    return Err(self
                        .broker
                        .lost("the broker did not read everything in time"));
                }
            }
        }
        Connection::greeted(&self.broker, self.timeouts).map_err(|fault| {
            let gone = "the broker was gone right after it closed the connection";
            self.broker.lost(&format!("{gone} ({fault})"))
        })?;
        let checked = self.wire.check();
        checked.map_err(|error| {
            self.broker
                .failed("the broker closed before it read all", &error)
        })
    }

    /// A new connection, and the nonce of its greeting.
    fn greeted(broker: &Broker, timeouts: Timeouts) -> Result<(Connection, Vec<u8>), Fault> {
        let mut connection = Connection {
            wire: broker.connect(timeouts)?,
            read: vec![0; BLOCK],
            decoder: Decoder::default(),
            broker: broker.clone(),
            timeouts,
            out: Vec::new(),
            asked: false,
        };
        match connection.hear(Instant::now() + timeouts.greeting)? {
            Heard::Nonce(nonce) => Ok((connection, nonce)),
            Heard::Message(_) => Err(connection.malformed("a message before the greeting")),
            Heard::End => Err(broker.lost("the broker closed the connection before it greeted")),
            Heard::Nothing => {
                let hint = match broker.tls {
                    None => " (does it want TLS?)",
                    Some(_) => "",
                };
                Err(broker.lost(&format!("no greeting in time{hint}")))
            }
        }
    }

    fn say(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let written = frame.encode(&mut self.out);
        written.map_err(|error| self.broker.too_long(&error))
    }

    /// The next thing the broker says, until the deadline.
    fn hear(&mut self, deadline: Instant) -> Result<Heard, Fault> {
        loop {
            if let Some(heard) = self.heard()? {
                return Ok(heard);
            }
            match self.wire.until(deadline).read(&mut self.read) {
                Ok(0) if self.decoder.is_empty() => return Ok(Heard::End),
                Ok(0) => return Err(self.broker.lost("the broker closed within a frame")),
                Ok(read) => self.decoder.push(self.read.get(..read).unwrap_or_default()),
                Err(error) if is_timeout(&error) => return Ok(Heard::Nothing),
                Err(error) => return Err(self.broker.failed("the connection broke", &error)),
            }
        }
    }

    /// What there is of it in what was read.
    fn heard(&mut self) -> Result<Option<Heard>, Fault> {
        let what = match self.decoder.next() {
            Ok(None) => return Ok(None),
            Ok(Some(Frame::Info { nonce, .. })) => return Ok(Some(Heard::Nonce(nonce.to_vec()))),
            Ok(Some(Frame::Publish {
                ident,
                channel,
                payload,
            })) => {
                return Ok(Some(Heard::Message(Message {
                    ident: ident.into_owned(),
                    channel: channel.into_owned(),
                    payload: payload.to_vec(),
                })));
            }
            Ok(Some(Frame::Error(words))) => {
                return Err(Fault::said(&self.broker.address(), &words, self.asked));
            }
            Ok(Some(_)) => "a frame that only clients send".to_owned(),
            Err(malformed) => malformed.to_string(),
        };
        Err(self.malformed(&what))
    }

    /// What the broker said before it closed on us, where that says more than the closing.
    fn refusal(&mut self) -> Option<Fault> {
        let deadline = Instant::now() + PARTING;
        loop {
            match self.hear(deadline) {
                Ok(Heard::Message(_) | Heard::Nonce(_)) => {}
                Ok(Heard::End | Heard::Nothing) | Err(Fault::Lost(_)) => return None,
                Err(fault) => return Some(fault),
            }
        }
    }

    /// A broker that has closed took nothing of what came after.
    fn must_be_open(&mut self) -> Result<(), Fault> {
        let deadline = Instant::now() + GLANCE;
        loop {
            match self.hear(deadline)? {
                Heard::Message(_) | Heard::Nonce(_) => {}
                Heard::Nothing => return Ok(()),
                Heard::End => return Err(self.broker.lost("the broker closed the connection")),
            }
        }
    }

    fn malformed(&self, what: &str) -> Fault {
        let address = self.broker.address();
        Fault::Malformed(format!("{address} does not speak hpfeeds: {what}"))
    }
}

#[cfg(test)]
mod tests;
