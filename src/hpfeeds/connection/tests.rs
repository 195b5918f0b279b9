//! What the real broker does not do when asked: brokers that say the wrong thing, or nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use rustix::net::sockopt::{self, Timeout as Direction};

use super::*;

/// More than any of these waits for the other.
const PATIENCE: Duration = Duration::from_secs(20);

const GREETING: &[u8] = b"\0\0\0\x0b\x01\x01brand";

/// How a broker treats a connection.
type Live = Box<dyn FnOnce(&mut TcpStream) + Send>;

/// A broker that treats one connection after the other as it is told, and is gone after the last.
fn broker(lives: Vec<Live>) -> (Broker, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let broker = Broker {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
        ident: "sensor".into(),
        secret: "s3cret".into(),
        tls: None,
    };
    // A broker that waits in vain fails its test.
    sockopt::set_socket_timeout(&listener, Direction::Recv, Some(PATIENCE)).unwrap();
    let thread = thread::spawn(move || {
        let mut listener = Some(listener);
        let mut lives = lives.into_iter().peekable();
        while let Some(live) = lives.next() {
            let (mut client, _) = listener.as_ref().unwrap().accept().unwrap();
            if lives.peek().is_none() {
                listener = None;
            }
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            live(&mut client);
        }
    });
    (broker, thread)
}

fn read_all(client: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    all
}

/// Publishes one payload on a connection that the broker treats so, and ends it.
fn published(lives: Vec<Live>) -> Result<(), Fault> {
    let (broker, thread) = broker(lives);
    let timeouts = Timeouts {
        greeting: Duration::from_secs(2),
        finish: Duration::from_secs(2),
        ..Timeouts::default()
    };
    let published = Connection::with_timeouts(&broker, timeouts).and_then(|mut connection| {
        connection.publish("c", b"payload")?;
        connection.finish()
    });
    let port = broker.port.to_string();
    let text = published.as_ref().err().map(ToString::to_string);
    assert!(
        text.is_none_or(|text| text.contains(&port)),
        "{published:?}"
    );
    thread.join().unwrap();
    published
}

fn greet(client: &mut TcpStream) {
    client.write_all(GREETING).unwrap();
}

#[test]
fn taken_is_what_was_read_to_its_end_by_a_broker_that_lives() {
    let taken = published(vec![
        Box::new(|client| {
            greet(client);
            let all = read_all(client);
            assert!(all.ends_with(b"\x06sensor\x01cpayload"), "{all:?}");
        }),
        Box::new(greet),
    ]);
    assert_eq!(taken, Ok(()));
}

#[test]
fn a_broker_that_is_gone_when_it_closed_has_taken_nothing() {
    let fault = published(vec![Box::new(|client| {
        greet(client);
        read_all(client);
    })]);
    assert!(
        matches!(&fault, Err(Fault::Lost(text)) if text.contains("gone")),
        "{fault:?}"
    );
}

#[test]
fn a_broker_that_closes_first_is_not_asked_for_more() {
    let (broker, thread) = broker(vec![
        Box::new(|client| {
            greet(client);
            // All is read, so that the kernel ends the connection and does not reset it.
            let mut all = [0; 32 + 21];
            client.read_exact(&mut all).unwrap();
            assert!(all.ends_with(b"\x06sensor\x01cpayload"), "{all:?}");
        }),
        Box::new(greet),
        Box::new(greet),
    ]);
    let mut connection = Connection::open(&broker).unwrap();
    connection.publish("c", b"payload").unwrap();
    connection.flush().unwrap();
    // It is greeted when the connection before is over.
    let greeted = || read_all(&mut TcpStream::connect(("127.0.0.1", broker.port)).unwrap());
    assert_eq!(greeted(), GREETING);
    let fault = connection.finish();
    assert!(
        matches!(&fault, Err(Fault::Lost(text)) if text.contains("closed the connection")),
        "{fault:?}"
    );
    assert_eq!(greeted(), GREETING);
    thread.join().unwrap();
}

/// On loopback nothing is on its way for long: what `finish` does in this case is done by hand.
#[test]
fn a_reset_behind_the_end_is_seen() {
    let (broker, thread) = broker(vec![
        Box::new(|client| {
            greet(client);
            let mut auth = [0; 32];
            client.read_exact(&mut auth).unwrap();
        }),
        Box::new(greet),
    ]);
    let mut connection = Connection::open(&broker).unwrap();
    let mut next = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
    assert_eq!(read_all(&mut next), GREETING);
    connection.publish("c", b"payload").unwrap();
    connection.flush().unwrap();
    let end = connection.hear(Instant::now() + PATIENCE);
    assert!(matches!(end, Ok(Heard::End)));
    assert!(connection.wire.check().is_err());
    thread.join().unwrap();
}

#[test]
fn an_error_after_the_end_is_an_error() {
    let fault = published(vec![Box::new(|client| {
        greet(client);
        read_all(client);
        client.write_all(b"\0\0\0\x10\0accessfail.").unwrap();
    })]);
    assert!(
        matches!(&fault, Err(Fault::Refused(text)) if text.ends_with("accessfail.")),
        "{fault:?}"
    );
}

#[test]
fn half_a_frame_before_the_end_is_a_broken_connection() {
    let fault = published(vec![Box::new(|client| {
        greet(client);
        read_all(client);
        client.write_all(b"\0\0\0\x10\0acc").unwrap();
    })]);
    assert!(
        matches!(&fault, Err(Fault::Lost(text)) if text.contains("within a frame")),
        "{fault:?}"
    );
}

#[test]
fn a_broker_that_never_closes_is_not_waited_for_without_end() {
    let fault = published(vec![Box::new(|client| {
        greet(client);
        read_all(client);
        // Until we give up.
        while client.write_all(b"\0\0\0\x06\x01\0").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    })]);
    assert!(
        matches!(fault, Err(Fault::Lost(_) | Fault::Malformed(_))),
        "{fault:?}"
    );
}

#[test]
fn what_greets_otherwise_is_no_broker() {
    let other = published(vec![Box::new(|client| {
        client.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").unwrap();
        let _ = client.shutdown(Shutdown::Write);
        read_all(client);
    })]);
    assert!(
        matches!(&other, Err(Fault::Malformed(text)) if text.contains("unknown kind")),
        "{other:?}"
    );
    let silent = published(vec![Box::new(|client| {
        read_all(client);
    })]);
    assert!(
        matches!(&silent, Err(Fault::Lost(text)) if text.contains("TLS?")),
        "{silent:?}"
    );
    let refusing = published(vec![Box::new(|client| {
        client.write_all(b"\0\0\0\x09\0full").unwrap();
    })]);
    assert!(
        matches!(&refusing, Err(Fault::Credentials(text)) if text.ends_with("full")),
        "{refusing:?}"
    );
}

#[test]
fn a_payload_over_the_limit_is_refused_and_the_connection_goes_on() {
    let (broker, thread) = broker(vec![
        Box::new(|client| {
            greet(client);
            let all = read_all(client);
            assert!(all.ends_with(b"\x06sensor\x01cafter"));
        }),
        Box::new(greet),
    ]);
    let mut connection = Connection::open(&broker).unwrap();
    let long = vec![0; codec::payload_max("sensor", "c") + 1];
    let fault = connection.publish("c", &long).unwrap_err();
    assert!(
        matches!(&fault, Fault::TooLong(text) if text.contains("1048577")),
        "{fault:?}"
    );
    connection.publish("c", b"after").unwrap();
    assert_eq!(connection.finish(), Ok(()));
    thread.join().unwrap();
}

#[test]
fn a_broker_that_does_not_read_is_given_up() {
    let (gone, hold) = std::sync::mpsc::channel::<()>();
    let (broker, thread) = broker(vec![Box::new(move |client| {
        greet(client);
        let _ = hold.recv_timeout(PATIENCE);
    })]);
    let timeouts = Timeouts {
        write: Duration::from_millis(300),
        ..Timeouts::default()
    };
    let mut connection = Connection::with_timeouts(&broker, timeouts).unwrap();
    let payload = vec![0; 1 << 19];
    let fault = (0..1000).find_map(|_| connection.publish("c", &payload).err());
    assert!(
        matches!(&fault, Some(Fault::Lost(text)) if text.contains("in time")),
        "{fault:?}"
    );
    drop(gone);
    thread.join().unwrap();
}
