//! Relaying: a counted few go on to the relay host, so that the spammer believes in the relay.
//!
//! A spam's way: [`Relaying::consider`] judges it while the ledger enters it ([`policy`]) and takes a
//! slot ([`slots`]); the slot is written in the transaction of the batch; only then
//! [`Relaying::hand_over`] gives the copy to a thread beside the analysis ([`dispatch`]), which
//! delivers it ([`delivery`]); what became of it comes back as a
//! [`Settlement`], is written, and the slot given back where the relay host did not take it.
//!
//! What is promised: nothing waits for the relay host; a copy is relayed at most once, wherever the
//! process dies; no more copies go on than the counters allow; what was not relayed is counted by
//! its [`Reason`].

mod connection;
pub mod delivery;
pub mod dispatch;
mod pauses;
pub mod policy;
pub mod probe;
pub mod refusal;
mod reply;
pub mod slots;
pub mod smuggling;
mod stuffing;
pub mod switch;
mod transaction;

use std::io;
use std::path::Path;

use crate::config;
use crate::store::{OpenWindow, Settlement};
pub use dispatch::Outgoing;
use dispatch::{Dispatch, Job};
use policy::Policy;
pub use policy::{Candidate, KnownProbes};
use slots::Slots;
use switch::Switch;

/// Why a spam is not relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It did not come from the receiver, or was imported: nobody waits for it.
    NoEnvelope,
    /// It has no recipient, or more than `relaymaxrcpt`.
    Recipients,
    /// An address of its envelope is not plainly `local@domain`.
    Address,
    /// Its sender or one of its recipients is in a domain of `relaydeny`.
    Denied,
    /// `relaypolicy : probe`, and it is no test of the relay.
    NoProbe,
    /// `globalcounter` spams were relayed in this window.
    WindowLimit,
    /// `individualcounter` copies of its record were relayed in this window.
    RecordLimit,
    /// An attachment is a program.
    Executable,
    /// It holds what a lenient server takes for the end of the message.
    Smuggling,
    /// Relaying is switched off by `shiva relay off`.
    Off,
    /// The relay host did not answer, or refused, and is left alone for a while.
    Away,
    /// As much waits for the relay host as memory is allowed for.
    Busy,
}

impl Reason {
    /// Every reason, for the documents.
    pub const ALL: [Reason; 12] = [
        Reason::NoEnvelope,
        Reason::Recipients,
        Reason::Address,
        Reason::Denied,
        Reason::NoProbe,
        Reason::WindowLimit,
        Reason::RecordLimit,
        Reason::Executable,
        Reason::Smuggling,
        Reason::Off,
        Reason::Away,
        Reason::Busy,
    ];

    /// The word for it in a store and a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoEnvelope => "no-envelope",
            Reason::Recipients => "recipients",
            Reason::Address => "address",
            Reason::Denied => "denied",
            Reason::NoProbe => "no-probe",
            Reason::WindowLimit => "window-limit",
            Reason::RecordLimit => "record-limit",
            Reason::Executable => "executable",
            Reason::Smuggling => "smuggling",
            Reason::Off => "switched-off",
            Reason::Away => "relay-host-away",
            Reason::Busy => "busy",
        }
    }
}

/// What is done about a spam.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// It is a test of the relay.
    pub is_probe: bool,
    /// It is relayed, or why not; `None` where nothing is relayed at all.
    pub relay: Option<Result<(), Reason>>,
}

/// Relaying as the ledger has it.
pub struct Relaying {
    on: bool,
    policy: Policy,
    slots: Slots,
    known: KnownProbes,
    switch: Switch,
    dispatch: Dispatch,
    /// Jobs of the batch that does not count yet.
    pending: Vec<Job>,
    /// Jobs that were handed over and have not come back.
    under_way: usize,
    window: u64,
}

impl Relaying {
    /// Begins with the thread that delivers; `queue` is where the switch lies.
    pub fn start(config: &config::Relay, queue: &Path, known: KnownProbes) -> io::Result<Relaying> {
        let switch = Switch::of(queue);
        if config.on && switch.is_off() {
            log::warn!("event=relay.switched_off action=\"relay nothing until shiva relay on\"");
        }
        Ok(Relaying {
            on: config.on,
            policy: Policy::new(config),
            slots: Slots::default(),
            known,
            dispatch: Dispatch::start(config, switch.clone())?,
            switch,
            pending: Vec::new(),
            under_way: 0,
            window: 0,
        })
    }

    /// Goes on with a window as the store has it. What was not handed over is forgotten.
    pub fn resume(&mut self, window: &OpenWindow) {
        self.pending.clear();
        self.slots = Slots::of(window);
        self.window = window.number;
        self.dispatch.open_window(window.number);
    }

    /// Decides about a spam of this record, and takes a slot where it is to be relayed:
    /// [`Relaying::add`] has to follow.
    pub fn consider(&mut self, record: u32, spam: &Candidate<'_>) -> Decision {
        if !self.on && !self.policy.looks_for_probes() {
            return Decision::default();
        }
        let judged = self.policy.judge(spam, &self.known);
        if let (true, [recipient]) = (judged.is_probe, spam.recipients) {
            self.known.add(recipient);
        }
        Decision {
            is_probe: judged.is_probe,
            relay: self.on.then(|| {
                judged.verdict?;
                self.policy.within(&self.slots, record)?;
                self.dispatch.has_room(spam.raw.len())?;
                if self.switch.is_off() {
                    return Err(Reason::Off);
                }
                // The dearest question comes last.
                self.policy.harmless(spam)?;
                self.slots.take(record);
                Ok(())
            }),
        }
    }

    /// Adds the copy that has the slot just taken.
    pub fn add(&mut self, copy: Outgoing) {
        self.pending.push(self.dispatch.job(copy));
    }

    /// The batch counts: its copies go to the relay host.
    pub fn hand_over(&mut self) {
        for job in self.pending.drain(..) {
            self.under_way += usize::from(self.dispatch.send(job));
        }
    }

    /// What became of copies since it was last asked; slots are given back.
    pub fn settled(&mut self) -> Vec<Settlement> {
        let settled: Vec<Settlement> = self.dispatch.settled().collect();
        for one in &settled {
            self.under_way = self.under_way.saturating_sub(1);
            if one.window == self.window && !one.fate.holds_slot() {
                self.slots.give_back(one.seq);
            }
        }
        settled
    }

    /// Copies that were handed over and have not come back.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// No delivery is begun any more: what waits comes back untried.
    pub fn stop(&self) {
        self.dispatch.stop();
    }
}
