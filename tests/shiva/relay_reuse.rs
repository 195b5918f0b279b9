//! Connections of `relay::delivery`: used again, made anew, and a mail never sent twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shiva::relay::delivery::{MAILS_MAX, Outcome, Timeouts};

use crate::relay_delivery::{ALL, PATIENT, accepted, deliver, delivery, refused};
use crate::relay_host::{Act, At, Sink};
use crate::rig::wait_until;

#[test]
fn a_connection_is_reused_and_a_refused_mail_is_reset() {
    for offers in [&[][..], ALL] {
        let mails = AtomicUsize::new(0);
        let sink = Sink::with(offers, None, move |_, at| match at {
            At::Command(line) if line.starts_with("MAIL") => {
                match mails.fetch_add(1, Ordering::SeqCst) {
                    1 => Act::Say("451 later\r\n"),
                    _ => Act::Serve,
                }
            }
            _ => Act::Serve,
        });
        let mut delivery = delivery(sink.port, PATIENT);
        let outcomes = [b"1", b"2", b"3"].map(|message| deliver(&mut delivery, message));
        assert_eq!(outcomes, [accepted(), refused(451, "later"), accepted()]);
        delivery.hang_up();
        assert_eq!(delivery.idle_until(), None);
        assert_eq!(sink.connections(), 1);
        wait_until("QUIT comes", || {
            sink.commands().last().is_some_and(|line| line == "QUIT")
        });
        let resets = sink
            .commands()
            .iter()
            .filter(|&line| line == "RSET")
            .count();
        assert_eq!(resets, 1, "{:?}", sink.commands());
    }
}

#[test]
fn a_connection_takes_so_many_mails() {
    let sink = Sink::new(ALL);
    let mut delivery = delivery(sink.port, PATIENT);
    for _ in 0..=MAILS_MAX {
        assert_eq!(deliver(&mut delivery, b"a"), accepted());
        assert!(delivery.idle_until().is_some());
    }
    assert_eq!(sink.connections(), 2);
}

#[test]
fn a_connection_that_died_while_idle_is_made_anew() {
    for offers in [&[][..], ALL] {
        let sink = Sink::new(offers);
        let mut delivery = delivery(sink.port, PATIENT);
        for number in 1..=3 {
            assert_eq!(deliver(&mut delivery, b"a"), accepted());
            assert_eq!(sink.connections(), number);
            sink.hang_up();
        }
        assert_eq!(sink.taken().len(), 3);
    }
}

/// What comes of a second mail over a connection on which this happens to it, and how many
/// connections there were.
fn second_mail(place: &'static str, act: Act) -> (Outcome, usize) {
    let passed = AtomicUsize::new(0);
    let sink = Sink::with(ALL, None, move |connection, at| {
        let here = match at {
            At::Command(line) => line.starts_with(place),
            At::End => place == "end",
            _ => false,
        };
        let first = here && connection == 0 && passed.fetch_add(1, Ordering::SeqCst) == 0;
        if here && connection == 0 && !first {
            act
        } else {
            Act::Serve
        }
    });
    // Time enough for the first mail, even on a machine that has much to do.
    let reply = match act {
        Act::Silence => Duration::from_secs(3),
        _ => PATIENT.reply,
    };
    let mut delivery = delivery(sink.port, Timeouts { reply, ..PATIENT });
    assert_eq!(deliver(&mut delivery, b"1"), accepted());
    let outcome = deliver(&mut delivery, b"2");
    (outcome, sink.connections())
}

#[test]
fn a_second_try_is_made_only_of_what_cannot_have_been_taken() {
    for act in [
        Act::Close,
        Act::SayAndClose("421 timeout\r\n"),
        Act::Say("421 timeout\r\n"),
    ] {
        assert_eq!(second_mail("MAIL", act), (accepted(), 2), "{act:?}");
    }
    let (outcome, connections) = second_mail("end", Act::Close);
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert_eq!(connections, 1);
    for (place, act) in [("DATA", Act::Close), ("MAIL", Act::Silence)] {
        let (outcome, connections) = second_mail(place, act);
        assert!(matches!(outcome, Outcome::Unreached(_)), "{outcome:?}");
        assert_eq!(connections, 1, "{place} {act:?}");
    }
    let (outcome, connections) = second_mail("MAIL", Act::Say("550 no\r\n"));
    assert_eq!((outcome, connections), (refused(550, "no"), 1));
}
