//! Relaying as the ledger has it, without one: what waits while a window closes, and how much may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shiva::config;
use shiva::message::Message;
use shiva::relay::dispatch::{BYTES_MAX, JOBS_MAX};
use shiva::relay::{Candidate, KnownProbes, Outgoing, Reason, Relaying};
use shiva::store::{Fate, OpenWindow, Settlement};
use shiva::timestamp::Timestamp;

use crate::relay_host::{Act, At, Sink};
use crate::rig::{PATIENCE, wait_until};

const SMALL: &[u8] = b"Subject: x\r\n\r\nx\r\n";

/// A relay host that answers no message until it is let go, then so, and what hands copies to it.
struct Held {
    sink: Sink,
    let_go: Arc<AtomicBool>,
    relaying: Relaying,
    settled: Vec<Settlement>,
    _queue: tempfile::TempDir,
}

impl Held {
    fn new(individual: u64, global: u64) -> Held {
        Held::answering(individual, global, Act::Serve)
    }

    fn answering(individual: u64, global: u64, answer: Act) -> Held {
        let let_go = Arc::new(AtomicBool::new(false));
        let held = Arc::clone(&let_go);
        let sink = Sink::with(&["PIPELINING"], None, move |_, at| {
            while at == At::End && !held.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            match at {
                At::End => answer,
                _ => Act::Serve,
            }
        });
        let config = config::Relay {
            on: true,
            policy: config::Policy::Counter,
            individual,
            global,
            host: "127.0.0.1".into(),
            port: sink.port,
            max_recipients: 3,
            deny: Vec::new(),
            tokens: Vec::new(),
            own_names: Vec::new(),
            hostname: "mx.example".into(),
        };
        let queue = tempfile::tempdir().unwrap();
        let relaying = Relaying::start(&config, queue.path(), KnownProbes::default());
        let mut held = Held {
            sink,
            let_go,
            relaying: relaying.unwrap(),
            settled: Vec::new(),
            _queue: queue,
        };
        held.open(1, &[]);
        held
    }

    fn open(&mut self, number: u64, slots: &[(u64, u64)]) {
        self.relaying.resume(&OpenWindow {
            number,
            opened: Timestamp::now(),
            records: Vec::new(),
            slots: slots.to_vec(),
        });
    }

    /// A copy of a record, with these bytes; it has to be handed over.
    fn take(&mut self, record: u32, name: &str, raw: &[u8]) -> Result<(), Reason> {
        let recipients = vec!["b@example.org".to_owned()];
        let decision = self.relaying.consider(
            record,
            &Candidate {
                sender: Some("a@example.net"),
                recipients: &recipients,
                dst_ip: None,
                is_first: false,
                message: &Message::default(),
                raw,
            },
        );
        decision.relay.unwrap()?;
        self.relaying.add(Outgoing {
            name: name.into(),
            record,
            id: String::new(),
            sender: "a@example.net".into(),
            recipients,
            file: raw.to_vec(),
            begins: 0,
        });
        Ok(())
    }

    /// What so many copies came to, by name.
    fn settle(&mut self, copies: usize) -> Vec<(String, u64, Fate)> {
        let began = Instant::now();
        while self.settled.len() < copies {
            assert!(began.elapsed() < PATIENCE, "{:?}", self.settled);
            self.settled.extend(self.relaying.settled());
            std::thread::sleep(Duration::from_millis(2));
        }
        let settled = self.settled.drain(..);
        let mut settled: Vec<_> = settled
            .map(|one| (one.name, one.window, one.fate))
            .collect();
        settled.sort();
        settled
    }

    fn wait_until_one_is_under_way(&self) {
        wait_until("one is under way", || {
            self.sink.commands().iter().any(|line| line == "DATA")
        });
    }
}

#[test]
fn a_window_that_closes_waits_for_one_delivery_and_the_next_has_its_own_slots() {
    let mut held = Held::new(2, 3);
    for (record, name) in [(0, "a"), (0, "b"), (1, "c")] {
        assert_eq!(held.take(record, name, SMALL), Ok(()));
    }
    held.relaying.hand_over();
    held.wait_until_one_is_under_way();
    assert_eq!(held.relaying.under_way(), 3);
    held.open(2, &[]);
    for name in ["d", "e"] {
        assert_eq!(held.take(0, name, SMALL), Ok(()));
    }
    // What waited comes back at once, while the relay host is still silent. It had slots in the
    // window before: those of this one stay taken.
    let withdrawn = |name: &str| (name.to_owned(), 1, Fate::Withdrawn);
    assert_eq!(held.settle(2), [withdrawn("b"), withdrawn("c")]);
    assert_eq!(held.take(0, "f", SMALL), Err(Reason::RecordLimit));
    held.relaying.hand_over();
    held.let_go.store(true, Ordering::SeqCst);
    let accepted = |name: &str, window| (name.to_owned(), window, Fate::Accepted);
    let expected = [accepted("a", 1), accepted("d", 2), accepted("e", 2)];
    assert_eq!(held.settle(3), expected);
    assert_eq!(held.relaying.under_way(), 0);
    assert_eq!(held.take(0, "g", SMALL), Err(Reason::RecordLimit));
    assert_eq!(held.sink.taken().len(), 3);
}

#[test]
fn a_batch_that_is_undone_is_not_handed_over() {
    let mut held = Held::new(2, 3);
    held.let_go.store(true, Ordering::SeqCst);
    assert_eq!(held.take(0, "undone", SMALL), Ok(()));
    held.open(1, &[(0, 1)]);
    assert_eq!(held.take(0, "a", SMALL), Ok(()));
    assert_eq!(held.take(0, "b", SMALL), Err(Reason::RecordLimit));
    held.relaying.hand_over();
    assert_eq!(held.settle(1), [("a".to_owned(), 1, Fate::Accepted)]);
    assert_eq!(held.sink.taken().len(), 1);
}

#[test]
fn what_waits_behind_a_failure_is_not_tried_and_its_slots_are_free_again() {
    let mut held = Held::answering(3, 3, Act::Say("451 later\r\n"));
    for name in ["a", "b", "c"] {
        assert_eq!(held.take(0, name, SMALL), Ok(()));
    }
    held.relaying.hand_over();
    held.wait_until_one_is_under_way();
    assert_eq!(held.take(0, "d", SMALL), Err(Reason::WindowLimit));
    held.let_go.store(true, Ordering::SeqCst);
    let settled = |name: &str, fate| (name.to_owned(), 1, fate);
    let expected = [
        settled("a", Fate::Refused),
        settled("b", Fate::Unreached),
        settled("c", Fate::Unreached),
    ];
    assert_eq!(held.settle(3), expected);
    let commands = held.sink.commands();
    let tried = commands.iter().filter(|line| line.starts_with("MAIL"));
    assert_eq!(tried.count(), 1, "{commands:?}");
    assert_eq!(held.take(0, "d", SMALL), Err(Reason::Away));
}

#[test]
fn memory_is_bounded_by_copies_and_by_bytes() {
    let mut held = Held::new(u64::MAX, u64::MAX);
    for number in 0..JOBS_MAX {
        assert_eq!(held.take(0, &number.to_string(), SMALL), Ok(()));
    }
    assert_eq!(held.take(0, "more", SMALL), Err(Reason::Busy));
    // Handed over or not, they are in memory.
    held.relaying.hand_over();
    held.wait_until_one_is_under_way();
    assert_eq!(held.take(0, "more", SMALL), Err(Reason::Busy));
    held.relaying.stop();
    let withdrawn = held.settle(JOBS_MAX - 1);
    assert!(
        withdrawn
            .iter()
            .all(|(_, _, fate)| *fate == Fate::Withdrawn)
    );

    let mut held = Held::new(u64::MAX, u64::MAX);
    let large = vec![b'x'; BYTES_MAX];
    assert_eq!(held.take(0, "alone", &large), Ok(()));
    assert_eq!(held.take(0, "small", SMALL), Err(Reason::Busy));
    held.open(1, &[]);
    assert_eq!(held.take(0, "small", SMALL), Ok(()));
    assert_eq!(held.take(0, "large", &large), Err(Reason::Busy));
}
