//! A worker: reads a queue file and makes of it what the ledger needs.
//!
//! Workers share nothing but the [`Digests`] computed of late (a flood repeats itself, and CTPH is
//! the dearest step) and a [`Gate`] that bounds the bytes of messages in memory. A panic in a parser
//! is the mail's own: it is set aside like any other unreadable one.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::crash;
use crate::envelope::{self, Envelope};
use crate::fingerprint::{self, Ctph, Fingerprint, SpamId};
use crate::message::{self, Message};
use crate::queue::Claim;
use crate::queue::maildir::open_regular;
use crate::timestamp::Timestamp;
use crate::watchdog;

/// Largest queue file that is read, in bytes. A larger one is set aside unread.
pub const FILE_MAX: u64 = 128 << 20;

/// Bytes of queue files that may be in memory at once; one larger file may be alone.
const IN_MEMORY_MAX: u64 = 192 << 20;

/// How long to wait at the gate before saying that the thread is alive.
const GATE_PAUSE: Duration = Duration::from_secs(1);

/// Digests remembered at once.
const DIGESTS_MAX: usize = 50_000;

/// The CTPH of ids met of late. The id stands for subject and body, so it stands for their CTPH.
#[derive(Debug, Default)]
pub struct Digests(RwLock<HashMap<SpamId, Ctph>>);

impl Digests {
    /// The CTPH of these, which have this id.
    fn of(&self, id: SpamId, subject: &str, body: &str) -> Ctph {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(ctph) = known.get(&id) {
            return *ctph;
        }
        drop(known);
        let ctph = fingerprint::ctph(subject, body);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= DIGESTS_MAX {
            known.clear();
        }
        known.insert(id, ctph);
        ctph
    }
}

/// A spam, read and fingerprinted.
pub struct Examined {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// What stands in it.
    pub message: Message,
    /// The queue file, for the sample.
    pub file: Vec<u8>,
    /// Where in it the message begins.
    pub begins: usize,
    /// The envelope's sender; `None` without an envelope of a session of ours.
    pub sender: Option<String>,
    /// The address that the client connected to, if that is known.
    pub dst_ip: Option<IpAddr>,
    /// When it was received.
    pub received_at: Timestamp,
    /// Who sent it, if that is known.
    pub src_ip: Option<String>,
    /// The sensor that took it, if that is known.
    pub sensor: Option<String>,
    /// The user who authenticated, if one did.
    pub user: Option<String>,
    /// Whom it was sent to: the envelope's recipients, else those of the To header.
    pub recipients: Vec<String>,
}

/// What became of a claim.
pub enum Outcome {
    /// A spam to be entered.
    Spam(Box<Examined>),
    /// An unreadable message: its bytes, its envelope, and why.
    Unreadable {
        /// The message's bytes.
        message: Vec<u8>,
        /// Its envelope, if it has one.
        envelope: Option<Box<Envelope>>,
        /// When it was received.
        received_at: Timestamp,
        /// Why it is unreadable.
        reason: String,
    },
    /// A file that is not to be read, and why.
    Unread(String),
    /// The file is gone: somebody took it back.
    Gone,
    /// The file could not be read now; not the mail's fault.
    Later(io::Error),
}

/// A claim with its outcome, and the bytes to give back to the [`Gate`].
pub struct Result {
    /// The claim.
    pub claim: Claim,
    /// What became of it.
    pub outcome: Outcome,
    /// Bytes to give back.
    pub bytes: u64,
}

/// Examines one claim.
pub fn examine(claim: Claim, digests: &Digests, gate: &Gate) -> Result {
    let _busy = watchdog::busy();
    let mut bytes = 0;
    let outcome = if claim.killer {
        Outcome::Unread("the analyzer died twice while this message alone was in work".into())
    } else {
        match watchdog::waiting(|| read(&claim, gate, &mut bytes)) {
            Ok(Some((file, modified))) => examine_file(&claim, file, modified, digests),
            Ok(None) => Outcome::Unread(format!("the file is larger than {FILE_MAX} bytes")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Gone,
            Err(error) => Outcome::Later(error),
        }
    };
    Result {
        claim,
        outcome,
        bytes,
    }
}

/// Reads a queue file whole; `None` when it is too large.
fn read(claim: &Claim, gate: &Gate, bytes: &mut u64) -> io::Result<Option<(Vec<u8>, Timestamp)>> {
    let mut file = open_regular(&claim.path)?;
    let metadata = file.metadata()?;
    if metadata.len() > FILE_MAX {
        return Ok(None);
    }
    gate.enter(metadata.len());
    *bytes = metadata.len();
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // A file that grows meanwhile is read as long as it was.
    file.by_ref()
        .take(metadata.len())
        .read_to_end(&mut content)?;
    Ok(Some((content, Timestamp::from(metadata.modified()?))))
}

fn examine_file(claim: &Claim, file: Vec<u8>, modified: Timestamp, digests: &Digests) -> Outcome {
    let (envelope, raw) = envelope::split(&file);
    let received_at = match (&envelope, &claim.origin) {
        (Some(envelope), _) => envelope.received_at,
        (None, Some(origin)) => origin.received_at,
        (None, None) => modified,
    };
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        crash::on_poison(raw);
        message::parse(raw)
            .map_err(|reason| reason.to_string())
            .map(|message| fingerprinted(message, digests))
    }));
    let parsed = parsed.unwrap_or_else(|_| Err("the parser failed on this message".into()));
    match parsed {
        Ok((message, fingerprint)) => {
            let begins = file.len() - raw.len();
            let mut examined = examined(claim, envelope, received_at, message, fingerprint);
            (examined.file, examined.begins) = (file, begins);
            Outcome::Spam(Box::new(examined))
        }
        Err(reason) => Outcome::Unreadable {
            message: raw.to_vec(),
            envelope: envelope.map(Box::new),
            received_at,
            reason,
        },
    }
}

fn fingerprinted(message: Message, digests: &Digests) -> (Message, Fingerprint) {
    let (subject, body) = (message.subject.as_str(), message.body());
    let id = fingerprint::id(subject, body);
    let fingerprint = Fingerprint {
        id,
        ssdeep: digests.of(id, subject, body),
        length: fingerprint::length(subject, body),
        body_chars: body.chars().count() as u64,
        has_text: message.has_text_part(),
    };
    (message, fingerprint)
}

fn examined(
    claim: &Claim,
    envelope: Option<Envelope>,
    received_at: Timestamp,
    mut message: Message,
    fingerprint: Fingerprint,
) -> Examined {
    let to = std::mem::take(&mut message.to);
    let mut examined = Examined {
        fingerprint,
        message,
        file: Vec::new(),
        begins: 0,
        sender: None,
        dst_ip: None,
        received_at,
        src_ip: None,
        sensor: None,
        user: None,
        recipients: to,
    };
    if let Some(envelope) = envelope {
        examined.src_ip = Some(envelope.src_ip.to_canonical().to_string());
        examined.sensor = Some(envelope.sensor);
        examined.user = envelope.user;
        examined.recipients = envelope.rcpt_to;
        examined.sender = (!envelope.imported).then_some(envelope.mail_from);
        examined.dst_ip = Some(envelope.dst_ip.to_canonical());
    } else if let Some(origin) = &claim.origin {
        examined.src_ip = origin.src_ip.map(|ip| ip.to_string());
        examined.sensor = Some(origin.sensor.clone());
        examined.user = origin.user.clone();
    }
    examined
}

/// Bounds the bytes of messages in memory between the workers and the ledger.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<GateState>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    inside: u64,
    /// The ledger has ended: nobody gives bytes back, and nobody need wait.
    wide_open: bool,
}

impl Gate {
    /// Waits until there is room for this many bytes.
    fn enter(&self, bytes: u64) {
        let mut state = self.lock();
        while !state.wide_open && state.inside > 0 && state.inside + bytes > IN_MEMORY_MAX {
            // The ledger may wait for the database, for hours: we are alive.
            watchdog::still_alive();
            let waited = self.left.wait_timeout(state, GATE_PAUSE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.inside += bytes;
    }

    /// Gives this many bytes back.
    pub fn leave(&self, bytes: u64) {
        let mut state = self.lock();
        state.inside = state.inside.saturating_sub(bytes);
        self.left.notify_all();
    }

    /// Lets everybody in from now on.
    pub fn open_wide(&self) {
        self.lock().wide_open = true;
        self.left.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
