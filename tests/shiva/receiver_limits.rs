//! Each limit of the receiver, met by a real client: the answer is Postfix's, and a counter moves.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::rig::{Client, PATIENCE, Rig, Service, connected_from, free_port, wait_until};

/// A receiver with these keys, whose log can be read.
struct Limited {
    rig: Rig,
    receiver: Service,
}

impl Limited {
    fn with(keys: &str) -> Limited {
        let rig = Rig::with(&format!("[receiver]\n{keys}\n"));
        let receiver = Service::logging(rig.command("shiva-receiver"), &rig.path("log"));
        let listens = || {
            fs::read_to_string(rig.path("log"))
                .unwrap()
                .contains("receiver.listening")
        };
        wait_until("it listens", listens);
        Limited { rig, receiver }
    }

    fn client(&self) -> Client {
        self.rig.client()
    }

    /// A client that is another one as far as its address tells.
    fn client_from(&self, host: [u8; 4]) -> Client {
        Client::over(connected_from(host, self.rig.port))
    }

    /// The first line that a client gets.
    fn greeting(&self) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.rig.port)).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    }

    /// Stops it; the line that it says then has this counter.
    fn counted(self, counter: &str) {
        self.receiver.stop();
        let log = fs::read_to_string(self.rig.path("log")).unwrap();
        let said = log
            .lines()
            .find(|line| line.contains("event=receiver.minute"));
        let said = said.unwrap_or_else(|| panic!("no line in {log}"));
        let counter = format!(" {counter}=");
        assert!(said.contains(&counter), "{counter} in {said}");
    }
}

const TURNED_AWAY: &str = "421 4.7.0 mx.example.net Error: too many connections from 127.0.0.1\r\n";

#[test]
fn sessions_in_all() {
    let limited = Limited::with("maxsessions : 2");
    let (_first, second) = (limited.client(), limited.client_from([127, 0, 0, 2]));
    assert_eq!(limited.greeting(), TURNED_AWAY);
    drop(second);
    wait_until("there is room again", || {
        !limited.greeting().starts_with("421")
    });
    limited.counted("full");
}

#[test]
fn sessions_of_one_address() {
    let limited = Limited::with("maxsessionsperaddress : 2");
    let _both = (limited.client(), limited.client());
    assert_eq!(limited.greeting(), TURNED_AWAY);
    limited.client_from([127, 0, 0, 2]);
    limited.counted("address_full");
}

#[test]
fn messages_of_a_session() {
    let limited = Limited::with("maxmessages : 2");
    let mut client = limited.client();
    for _ in 0..2 {
        let reply = client
            .mail("a@b", "c@d", b"Subject: x\r\n\r\nx\r\n")
            .unwrap();
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let refusal = "421 4.7.0 mx.example.net Error: too much mail from 127.0.0.1\r\n";
    assert_eq!(client.say("MAIL FROM:<a@b>"), refusal);
    assert_eq!(client.reply(), None);
    assert_eq!(limited.rig.queue().len(), 2);
    limited.counted("closed");
}

#[test]
fn recipients_of_a_message() {
    let limited = Limited::with("maxrecipients : 2");
    let mut client = limited.client();
    client.say("MAIL FROM:<a@b>");
    for name in ["c", "d"] {
        assert_eq!(
            client.say(&format!("RCPT TO:<{name}@x>")),
            "250 2.1.5 Ok\r\n"
        );
    }
    assert_eq!(
        client.say("RCPT TO:<e@x>"),
        "452 4.5.3 Error: too many recipients\r\n"
    );
    assert!(client.say("DATA").starts_with("354 "));
    assert!(client.say("Subject: x\r\n\r\nx\r\n.").starts_with("250 "));
    let queued = fs::read_to_string(&limited.rig.queue()[0]).unwrap();
    assert!(queued.contains(r#""rcpt_to":["c@x","d@x"]"#), "{queued}");
    limited.counted("recipients");
}

#[test]
fn bytes_of_a_message() {
    let limited = Limited::with("maxmessagesize : 65536");
    let reply = limited
        .client()
        .mail("a@b", "c@d", &[b'x'; 100_000])
        .unwrap();
    assert_eq!(reply, "552 5.3.4 Error: message file too big\r\n");
    limited.counted("too_big");
    // Said beforehand it is the same limit.
    let limited = Limited::with("maxmessagesize : 65536");
    let reply = limited.client().say("MAIL FROM:<a@b> SIZE=65537");
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    limited.counted("too_big");
}

#[test]
fn bytes_of_a_line() {
    let limited = Limited::with("maxline : 512\npersonality : exim");
    let mut client = limited.client();
    let fits = format!("NOOP {}", "x".repeat(512 - 7));
    assert_eq!(client.say(&fits), "250 OK\r\n");
    let refusal = "500 unrecognized command\r\n";
    assert_eq!(client.say(&format!("{fits}x")), refusal);
    limited.counted("long_lines");
}

#[test]
fn commands_without_a_message_and_errors() {
    let closing = "421 4.7.0 mx.example.net Error: too many errors\r\n";
    let limited = Limited::with("maxcommands : 4");
    let mut client = limited.client();
    for _ in 0..3 {
        assert_eq!(client.say("NOOP"), "250 2.0.0 Ok\r\n");
    }
    assert_eq!(client.reply().unwrap(), closing);
    assert_eq!(client.reply(), None);
    limited.counted("closed");
    let limited = Limited::with("maxerrors : 2");
    let mut client = limited.client();
    client.say("WHAT");
    client.mail("a@b", "c@d", b"forgives\r\n").unwrap();
    assert!(client.say("WHAT").starts_with("500 "));
    assert!(client.say("WHAT").starts_with("500 "));
    assert_eq!(client.reply().unwrap(), closing);
    limited.counted("closed");
}

const TIMEOUT: &str = "421 4.4.2 mx.example.net Error: timeout exceeded\r\n";

#[test]
fn silence() {
    let limited = Limited::with("idletimeout : 1");
    let mut client = limited.client();
    assert_eq!(client.reply().unwrap(), TIMEOUT);
    assert_eq!(client.reply(), None);
    limited.counted("timeouts");
}

/// Neither to drip is a greeting nor to be greeted, and a TLS handshake has to be done by then.
#[test]
fn a_first_command_that_does_not_come() {
    let tls = free_port();
    let limited = Limited::with(&format!("greettimeout : 1\ntlslistenport : {tls}"));
    let connected = || TcpStream::connect(("127.0.0.1", limited.rig.port)).unwrap();
    let mut dripping = connected();
    let sender = std::thread::spawn({
        let mut stream = dripping.try_clone().unwrap();
        move || {
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let mut said = String::new();
    let _ = dripping.read_to_string(&mut said);
    sender.join().unwrap();
    assert_eq!(
        said,
        format!("220 mx.example.net ESMTP Postfix\r\n{TIMEOUT}")
    );
    let mut silent = TcpStream::connect(("127.0.0.1", tls)).unwrap();
    let mut nothing = Vec::new();
    let _ = silent.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
    // Who has said something is waited for.
    let mut client = limited.client();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(client.say("NOOP").starts_with("250 "));
    limited.counted("timeouts");
}

/// Sends a piece over and over, never silent for long, until the other side has spoken.
fn drip(client: &mut Client, piece: &[u8]) -> String {
    let mut stream = client.stream();
    let sender = std::thread::spawn({
        let piece = piece.to_vec();
        move || {
            while stream.write_all(&piece).is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let reply = client.reply().unwrap_or_default();
    client.close();
    sender.join().unwrap();
    reply
}

#[test]
fn a_command_that_drips_in() {
    let limited = Limited::with("commandtimeout : 1");
    assert_eq!(drip(&mut limited.client(), b"x"), TIMEOUT);
    limited.counted("timeouts");
}

/// Sends without a pause, from several threads, until the other side has hung up; its last words
/// may be lost by that.
fn flood(client: &Client) {
    let began = Instant::now();
    let send = |mut stream: TcpStream| {
        while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {
            assert!(began.elapsed() < PATIENCE, "it is still listened to");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let stream = client.stream();
            scope.spawn(move || send(stream));
        }
    });
}

#[test]
fn who_never_pauses_runs_out_of_time_too() {
    let limited = Limited::with("commandtimeout : 1");
    flood(&limited.client());
    limited.counted("timeouts");
    let limited = Limited::with("datatimeout : 1\nmaxmessagesize : 65536");
    flood(&sending(&limited));
    limited.counted("timeouts");
}

/// A client in the middle of a message.
fn sending(limited: &Limited) -> Client {
    let mut client = limited.client();
    client.say("MAIL FROM:<a@b>");
    client.say("RCPT TO:<c@d>");
    assert!(client.say("DATA").starts_with("354 "));
    client
}

#[test]
fn a_message_that_takes_too_long() {
    let limited = Limited::with("datatimeout : 1\nminrate : 0");
    assert_eq!(drip(&mut sending(&limited), &[b'x'; 4000]), TIMEOUT);
    assert_eq!(limited.rig.queue().len(), 0);
    limited.counted("timeouts");
}

/// A chunk more is not more time.
#[test]
fn a_message_whose_chunks_drip_in() {
    let limited = Limited::with("datatimeout : 1\nminrate : 0");
    let mut client = limited.client();
    client.say("MAIL FROM:<a@b>");
    client.say("RCPT TO:<c@d>");
    let mut replies = Vec::new();
    while replies.len() < 200 {
        client.send(b"BDAT 2000\r\n");
        client.send(&[b'x'; 2000]);
        let Some(reply) = client.reply() else {
            break;
        };
        replies.push(reply);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(replies.pop().unwrap(), TIMEOUT);
    assert!(
        replies
            .iter()
            .all(|reply| reply == "250 2.0.0 Ok: 2000 bytes\r\n")
    );
    assert_eq!(limited.rig.queue().len(), 0);
    limited.counted("timeouts");
}

#[test]
fn a_message_that_comes_too_slowly() {
    let limited = Limited::with("minrate : 1000000\nminrategrace : 1");
    assert_eq!(drip(&mut sending(&limited), b"x"), TIMEOUT);
    limited.counted("timeouts");
    // Too big is no excuse.
    let limited = Limited::with("minrate : 1000000\nminrategrace : 1\nmaxmessagesize : 65536");
    let mut client = sending(&limited);
    client.send(&[b'x'; 70_000]);
    assert_eq!(drip(&mut client, b"x"), TIMEOUT);
    limited.counted("too_big");
}

#[test]
fn a_disk_with_too_little_room() {
    let limited = Limited::with(&format!("mindiskfree : {}", 1_u64 << 50));
    let mut client = limited.client();
    assert_eq!(
        client.say("MAIL FROM:<a@b>"),
        "452 4.3.1 Insufficient system storage\r\n"
    );
    assert!(client.say("RCPT TO:<c@d>").starts_with("503 "));
    assert!(client.say("NOOP").starts_with("250 "));
    limited.counted("no_room");
}

/// A client that has named so many recipients of 1,900 bytes, or as many as it could before the
/// first refusal.
fn addressing(limited: &Limited, recipients: usize) -> (Client, Option<String>) {
    let mut client = limited.client();
    client.say("MAIL FROM:<a@b>");
    let recipient = format!("RCPT TO:<{}@d>", "x".repeat(1900));
    let mut replies = (0..recipients).map(|_| client.say(&recipient));
    let refusal = replies.find(|reply| !reply.starts_with("250 "));
    (client, refusal)
}

#[test]
fn memory() {
    let limited = Limited::with("maxmemory : 1048576");
    // Envelopes take it up: no message and no recipient is taken, those under way go on.
    let mut message = sending(&limited);
    let mut envelopes: Vec<Client> = Vec::new();
    let full = "452 4.3.1 Insufficient system storage\r\n";
    let refusal = (0..20).find_map(|_| {
        let (client, refusal) = addressing(&limited, 100);
        envelopes.push(client);
        refusal
    });
    assert_eq!(refusal.as_deref(), Some(full));
    assert_eq!(limited.greeting(), TURNED_AWAY);
    assert_eq!(envelopes[0].say("RCPT TO:<one.more@d>"), full);
    for _ in 0..10 {
        message.send(&[b'x'; 30_000]);
    }
    assert!(message.say("\r\n.").starts_with("250 "));
    // What they held is free again.
    envelopes.clear();
    wait_until("there is room", || !limited.greeting().starts_with("421"));
    let reply = limited.client().mail("a@b", "c@d", b"x\r\n").unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
    limited.counted("no_memory");
}

#[test]
fn memory_that_one_address_may_take() {
    // A quarter, as of the sessions.
    let limited = Limited::with("maxmemory : 8388608");
    let mut envelopes = Vec::new();
    while limited.greeting() != TURNED_AWAY {
        envelopes.push(addressing(&limited, 100));
        assert!(envelopes.len() < 20);
    }
    let mut other = limited.client_from([127, 0, 0, 2]);
    let reply = other.mail("a@b", "c@d", b"x\r\n").unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
    limited.counted("no_memory");
}

#[test]
fn what_is_kept_for_the_session_log_is_memory_too() {
    let limited = Limited::with("maxmemory : 1048576");
    // Each holds the names of its recipients until the message is whole.
    let sending: Vec<Client> = (0..20)
        .map_while(|_| {
            if limited.greeting() == TURNED_AWAY {
                return None;
            }
            let (mut client, _) = addressing(&limited, 40);
            client.say("DATA");
            Some(client)
        })
        .collect();
    assert!(sending.len() < 20);
    limited.counted("no_memory");
}

#[test]
fn recipients_wait_on_the_disk_for_the_message() {
    let limited = Limited::with("");
    let (mut client, refusal) = addressing(&limited, 50);
    assert_eq!(refusal, None);
    assert!(client.say("DATA").starts_with("354 "));
    let files = || fs::read_dir(limited.rig.path("queue/tmp")).unwrap().count();
    wait_until("they are on the disk", || files() == 1);
    assert!(client.say("Subject: x\r\n.").starts_with("250 "));
}
