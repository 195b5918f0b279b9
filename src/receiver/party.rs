//! Who speaks with whom: what is known of a session before anything is said.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::envelope::Envelope;
use crate::smtp::{Client, Transaction};
use crate::timestamp::Timestamp;

/// The two ends of a connection, and the session's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Names the session.
    pub session: String,
    /// The client. An IPv4 client of an IPv6 socket has its IPv4 address.
    pub src: SocketAddr,
    /// Where the client connected to.
    pub dst: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// When it began.
    pub connected_at: Timestamp,
}

/// What is spoken on a connection from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP in the clear; STARTTLS may follow.
    Smtp,
    /// TLS, and SMTP within it.
    Smtps,
}

impl Protocol {
    /// The name in records.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Smtp => "smtp",
            Protocol::Smtps => "smtps",
        }
    }
}

impl Party {
    /// A session that begins now.
    pub fn new(src: SocketAddr, dst: SocketAddr, protocol: Protocol) -> Party {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        let now = Timestamp::now();
        Party {
            session: session_name(now),
            src: canonical(src),
            dst: canonical(dst),
            protocol,
            connected_at: now,
        }
    }

    /// What the session is told of its client.
    pub fn client(&self) -> Client {
        Client {
            address: self.src.ip(),
            connected_at: self.connected_at,
            nonce: nonce(),
        }
    }

    /// The envelope of a message that this sensor has begun to receive.
    pub fn envelope(
        &self,
        sensor: &str,
        transaction: Transaction,
        received_at: Timestamp,
    ) -> Envelope {
        Envelope {
            session: self.session.clone(),
            received_at,
            sensor: sensor.to_owned(),
            src_ip: self.src.ip(),
            src_port: self.src.port(),
            dst_ip: self.dst.ip(),
            dst_port: self.dst.port(),
            helo: transaction.helo,
            mail_from: transaction.mail_from,
            rcpt_to: transaction.rcpt_to,
            user: transaction.user,
            tls: transaction.tls,
            imported: false,
        }
    }
}

/// Time and counter: unique within a receiver's life and after.
fn session_name(now: Timestamp) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let (seconds, micros) = (now.seconds(), now.subsecond_micros());
    format!("{seconds:x}{micros:05x}{counter:x}")
}

/// Random bits for one session.
fn nonce() -> u64 {
    let mut bytes = [0; 8];
    // Without entropy a challenge can be foreseen; it is bait, and nothing hangs on it.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}
