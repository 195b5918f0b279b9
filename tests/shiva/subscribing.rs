//! `shiva subscribe` at a real broker, with what a Python client publishes.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shiva::parsed::ParsedSpam;

use crate::broker::{Broker, NOBODY, PUBLISHER, SUBSCRIBER, secret};
use crate::rig::{Rig, Service, files_under, wait_until};

/// An id.
pub fn id(n: u64) -> String {
    format!("{n:032x}")
}

/// Writes the broker into the configuration.
pub fn configure(rig: &Rig, broker: &Broker, ident: &str, secret: &str) {
    let conf = rig.path("shiva.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let port = broker.account(ident).port;
    let more =
        format!("[hpfeeds]\nhost : 127.0.0.1\nport : {port}\nident : {ident}\nsecret : {secret}\n");
    fs::write(conf, text + &more).unwrap();
}

/// A running `shiva subscribe`.
pub struct Subscribing {
    service: Service,
    out: PathBuf,
    err: PathBuf,
}

impl Subscribing {
    /// Starts it, not yet subscribed.
    pub fn start(rig: &Rig, arguments: &[&str]) -> Subscribing {
        let (out, err) = (rig.path("subscribe.out"), rig.path("subscribe.err"));
        let mut command = rig.command("shiva");
        command.arg("subscribe").args(arguments);
        command.stdout(fs::File::create(&out).unwrap());
        command.stderr(fs::File::create(&err).unwrap());
        let service = Service(command.stdin(Stdio::null()).spawn().unwrap());
        Subscribing { service, out, err }
    }

    /// Starts it as the broker's subscriber, and waits until it receives.
    pub fn receiving(rig: &Rig, broker: &Broker, arguments: &[&str]) -> Subscribing {
        configure(rig, broker, SUBSCRIBER, &secret(SUBSCRIBER));
        let subscribing = Subscribing::start(rig, arguments);
        subscribing.wait_until_it_receives(broker, 0);
        subscribing
    }

    /// Publishes a link, again and again, until it arrives.
    pub fn wait_until_it_receives(&self, broker: &Broker, round: u64) {
        let link = format!("http://example.net/ready/{round}");
        let payload = json!({"id": id(0), "url": link});
        wait_until("it receives", || {
            publish(broker, &[("shiva.ip.url", &payload)]);
            self.printed().contains(&link)
        });
    }

    /// What it printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// What it said on standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// The lines it printed of payloads, those of [`Subscribing::receiving`] left out, once there are
    /// so many.
    pub fn lines(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        wait_until("the lines are there", || {
            let printed = self.printed();
            let of_interest = printed.lines().filter(|line| !line.contains("/ready/"));
            lines = of_interest.map(ToOwned::to_owned).collect();
            lines.len() >= count
        });
        lines
    }

    /// Waits until it says something on standard error.
    pub fn wait_until_said(&self, words: &str) {
        wait_until(words, || self.said().contains(words));
    }

    /// SIGTERM; it must end with this code. Returns what it said.
    pub fn fail(mut self, code: i32) -> String {
        let child = &mut self.service.0;
        kill_process(Pid::from_child(child), Signal::TERM).unwrap();
        wait_until("it ends", || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        fs::read_to_string(&self.err).unwrap()
    }

    /// SIGTERM; it must end well. Returns what it said.
    pub fn stop(self) -> String {
        self.service.stop();
        fs::read_to_string(&self.err).unwrap()
    }
}

/// Publishes these, in this order.
pub fn publish(broker: &Broker, payloads: &[(&str, &Value)]) {
    let texts: Vec<_> = payloads
        .iter()
        .map(|(channel, payload)| (*channel, payload.to_string()))
        .collect();
    let messages = texts
        .iter()
        .map(|(channel, text)| (*channel, text.as_bytes()));
    broker.publish(messages);
}

/// A record as a sensor publishes it.
pub fn record(n: u64, subject: &str, count: u64) -> ParsedSpam {
    ParsedSpam {
        id: id(n),
        subject: subject.into(),
        count,
        first_seen: "2026-11-21T21:07:55Z".into(),
        last_seen: "2026-11-22T00:00:01Z".into(),
        ..ParsedSpam::default()
    }
}

fn raw(content: &[u8], name: &str) -> Value {
    json!({"s_id": id(1), "name": name, "ip": "192.0.2.1", "spamfile": STANDARD.encode(content)})
}

fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_payload_is_a_line() {
    let (broker, rig) = (Broker::start(), Rig::new());
    let subscribing = Subscribing::receiving(&rig, &broker, &[]);
    let record = serde_json::to_value(record(1, "a\x1b[2J\nb", 1234)).unwrap();
    let link = json!({"id": id(1), "url": "http://example.net/\u{202e}x"});
    let address = json!({"id": id(1), "source_ip": "192.0.2.1"});
    let sample = raw(b"Subject: x\r\n\r\n", "../x.eml");
    let attachment = json!({"s_id": id(1), "name": "a.zip", "oversize": true, "size": 2_000_000});
    publish(
        &broker,
        &[
            ("shiva.parsed", &record),
            ("shiva.ip.url", &link),
            ("shiva.ip.url", &address),
            ("shiva.raw", &sample),
            ("shiva.attachments", &attachment),
        ],
    );
    let lines = subscribing.lines(5);
    let id = id(1);
    assert_eq!(
        lines,
        [
            format!("{PUBLISHER}  record      {id}  1,234  a\\u{{1b}}[2J b"),
            format!("{PUBLISHER}  link        {id}  http://example.net/\\u{{202e}}x"),
            format!("{PUBLISHER}  address     {id}  192.0.2.1"),
            format!("{PUBLISHER}  sample      {id}  14 bytes  ../x.eml"),
            format!("{PUBLISHER}  attachment  {id}  2,000,000 bytes, too long to be sent  a.zip"),
        ]
    );
    let said = subscribing.stop();
    assert!(
        said.contains("subscribed to shiva.parsed, shiva.ip.url, shiva.raw"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn json_is_the_payload_as_it_came_and_only_of_the_channels_asked_for() {
    let (broker, rig) = (Broker::start(), Rig::new());
    let arguments = [
        "--json",
        "--channel",
        "shiva.ip.url",
        "--channel",
        "shiva.parsed",
    ];
    let subscribing = Subscribing::receiving(&rig, &broker, &arguments);
    let mut record = serde_json::to_value(record(1, "x", 1)).unwrap();
    record["of a later version"] = json!({"x": [1, null]});
    publish(
        &broker,
        &[("shiva.raw", &raw(b"x", "x")), ("shiva.parsed", &record)],
    );
    let lines = subscribing.lines(1);
    let expected = json!({"channel": "shiva.parsed", "ident": PUBLISHER, "payload": record});
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, [expected]);
    subscribing.stop();
}

#[test]
fn files_are_kept_under_their_hashes_whatever_they_are_called() {
    let (broker, rig) = (Broker::start(), Rig::new());
    let dir = rig.path("kept/here");
    let subscribing = Subscribing::receiving(&rig, &broker, &["--dir", dir.to_str().unwrap()]);
    let large = vec![7; 700_000];
    let long = "x".repeat(200_000);
    let names = [
        "../../../escaped",
        "/etc/cron.d/escaped",
        "a\0b",
        long.as_str(),
    ];
    let mut payloads: Vec<_> = names.map(|name| ("shiva.raw", raw(b"same", name))).to_vec();
    let hostile_id = json!({"s_id": "../../escaped", "name": "x", "spamfile": "YQ=="});
    let attachment = json!({"s_id": id(1), "name": "../a", "attachment": STANDARD.encode("same")});
    payloads.push(("shiva.raw", hostile_id));
    payloads.push(("shiva.attachments", attachment));
    payloads.push(("shiva.raw", raw(&large, "large")));
    let payloads: Vec<_> = payloads
        .iter()
        .map(|(channel, value)| (*channel, value))
        .collect();
    publish(&broker, &payloads);
    subscribing.lines(6);
    let said = subscribing.stop();
    assert!(
        said.contains("the id is not 32 hexadecimal digits"),
        "{said}"
    );
    let (same, large) = (sha256(b"same"), sha256(&large));
    let shelf = |hash: &str| hash[..2].to_owned();
    let mut expected = vec![
        dir.join("attachments").join(shelf(&same)).join(&same),
        dir.join("index.jsonl"),
        dir.join("spam")
            .join(shelf(&same))
            .join(format!("{same}.eml")),
        dir.join("spam")
            .join(shelf(&large))
            .join(format!("{large}.eml")),
    ];
    expected.sort();
    assert_eq!(files_under(&rig.path("kept")), expected);
    let index = fs::read_to_string(dir.join("index.jsonl")).unwrap();
    let index: Vec<Value> = index
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = index
        .iter()
        .map(|line| line["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        told,
        [names[0], names[1], names[2], names[3], "../a", "large"]
    );
    for line in &index {
        let file = line["file"].as_str().unwrap();
        assert_eq!(
            fs::metadata(dir.join(file)).unwrap().len(),
            line["size"].as_u64().unwrap()
        );
        assert_eq!(
            (&line["ident"], &line["s_id"]),
            (&PUBLISHER.into(), &id(1).into())
        );
    }
}

#[test]
fn what_cannot_be_kept_is_said_and_the_next_is_tried_again() {
    let (broker, rig) = (Broker::start(), Rig::new());
    let dir = rig.path("kept");
    let subscribing = Subscribing::receiving(&rig, &broker, &["--dir", dir.to_str().unwrap()]);
    fs::remove_dir(dir.join("spam")).unwrap();
    fs::write(dir.join("spam"), "in the way").unwrap();
    let samples = [raw(b"1", "1"), raw(b"2", "2"), raw(b"3", "3")];
    publish(
        &broker,
        &[("shiva.raw", &samples[0]), ("shiva.raw", &samples[1])],
    );
    subscribing.lines(2);
    subscribing.wait_until_said("cannot keep what was received");
    fs::remove_file(dir.join("spam")).unwrap();
    publish(&broker, &[("shiva.raw", &samples[2])]);
    subscribing.lines(3);
    subscribing.wait_until_said("files are kept again");
    assert_eq!(files_under(&dir.join("spam")).len(), 1);
    let said = subscribing.stop();
    assert!(said.contains("files that were not kept: 2"), "{said}");
}

#[test]
fn pickles_are_refused_once_in_words_and_counted() {
    let (broker, rig) = (Broker::start(), Rig::new());
    let subscribing = Subscribing::receiving(
        &rig,
        &broker,
        &["--dir", rig.path("kept").to_str().unwrap()],
    );
    // What makes a directory, if anybody should run it.
    let proof = rig.path("unpickled");
    let pickle = format!("cposix\nmkdir\n(S'{}'\ntR.", proof.display());
    let old = b"(dp0\nS's_id'\np1\nS'x'\np2\ns.".as_slice();
    let binary = b"\x80\x02}q\x00U\x04s_idq\x01U\x01xq\x02s.".as_slice();
    let pickles = [old, binary, pickle.as_bytes(), old];
    let channels = [
        "shiva.parsed",
        "shiva.raw",
        "shiva.attachments",
        "shiva.ip.url",
    ];
    broker.publish(channels.into_iter().zip(pickles));
    subscribing.wait_until_it_receives(&broker, 1);
    assert_eq!(subscribing.lines(0), Vec::<String>::new());
    let said = subscribing.stop();
    assert_eq!(said.matches("a Python pickle").count(), 1, "{said}");
    assert!(said.contains("payloads that were refused: 4"), "{said}");
    assert!(!proof.exists());
}

#[test]
fn it_comes_back_to_a_broker_that_was_away() {
    let (broker, rig) = (Broker::start(), Rig::new());
    let subscribing = Subscribing::receiving(&rig, &broker, &[]);
    broker.kill();
    subscribing.wait_until_said("the next try is in");
    broker.start_again();
    subscribing.wait_until_it_receives(&broker, 1);
    let said = subscribing.stop();
    assert_eq!(said.matches("connected to").count(), 2, "{said}");
}

#[test]
fn a_wrong_secret_is_said_clearly_and_tried_slowly() {
    let (broker, rig) = (Broker::start(), Rig::new());
    configure(&rig, &broker, SUBSCRIBER, "wrong");
    let subscribing = Subscribing::start(&rig, &[]);
    subscribing.wait_until_said("refuses ident or secret");
    let said = subscribing.stop();
    let seconds = said.rsplit_once("the next try is in ").unwrap().1;
    let seconds: u64 = seconds.split(' ').next().unwrap().parse().unwrap();
    assert!(seconds >= 400, "{said}");
    // A channel that is not for it.
    let rig = Rig::new();
    configure(&rig, &broker, NOBODY, &secret(NOBODY));
    let subscribing = Subscribing::start(&rig, &["--channel", "shiva.raw"]);
    subscribing.wait_until_said("the next try is in");
    let said = subscribing.stop();
    assert!(said.contains(" refuses: "), "{said}");
}

#[test]
fn without_a_broker_or_a_directory_it_does_not_begin() {
    let rig = Rig::new();
    let output = rig.run("shiva", &["subscribe"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(said.contains("[hpfeeds] host is not set"), "{said}");
    let (broker, rig) = (Broker::start(), Rig::new());
    configure(&rig, &broker, SUBSCRIBER, &secret(SUBSCRIBER));
    fs::write(rig.path("file"), "").unwrap();
    let file = rig.path("file").display().to_string();
    let output = rig.run("shiva", &["subscribe", "--dir", &file]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(73));
    assert!(
        said.contains("cannot keep samples and attachments in"),
        "{said}"
    );
    let output = rig.run("shiva", &["subscribe", "--channel", ""]);
    assert_eq!(output.status.code(), Some(64));
}
