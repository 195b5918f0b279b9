//! The broker of the Python package `hpfeeds` on a loopback port, and the package's own client.
//!
//! `tests/tools/install test` puts both below `target/tools/hpfeeds`. What is started here ends with
//! the test, in whatever way that ends: its standard input does.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use shiva::hpfeeds::connection::Encryption;
use shiva::hpfeeds::{self, Message};

use crate::authority::Authority;
use crate::rig::{Service, free_port, wait_until};

/// The channels of SHIVA.
pub const CHANNELS: [&str; 4] = [
    "shiva.parsed",
    "shiva.ip.url",
    "shiva.raw",
    "shiva.attachments",
];

/// May publish on the channels.
pub const PUBLISHER: &str = "sensor";
/// May subscribe to them.
pub const SUBSCRIBER: &str = "reader";
/// May do both.
pub const SITE: &str = "site";
/// May do nothing.
pub const NOBODY: &str = "nobody";

/// The extension of a broker's certificate.
const FOR_LOCALHOST: &str = "subjectAltName=DNS:localhost";

/// The secret of a user.
pub fn secret(ident: &str) -> String {
    format!("the secret of {ident}")
}

/// A broker with these users. Dropped, it is killed.
pub struct Broker {
    directory: tempfile::TempDir,
    port: u16,
    /// The certificate of the authority that signed the broker's; `None` without TLS.
    authority: Option<PathBuf>,
    running: Mutex<Option<Service>>,
}

impl Broker {
    /// A broker without TLS.
    pub fn start() -> Broker {
        Broker::started(|_| None)
    }

    /// A broker with TLS: its certificate is for `localhost`, by an authority of its own.
    pub fn encrypted() -> Broker {
        Broker::started(|directory| {
            let authority = Authority::new(directory, "authority");
            authority.sign("broker", FOR_LOCALHOST);
            Some(authority.certificate())
        })
    }

    /// A broker with TLS whose certificate, for `localhost`, signed itself; an authority's or not.
    pub fn self_signed(is_authority: bool) -> Broker {
        Broker::started(|directory| {
            let constraint = match is_authority {
                true => "basicConstraints=CA:TRUE",
                false => "basicConstraints=CA:FALSE",
            };
            let extensions = [FOR_LOCALHOST, constraint];
            Some(Authority::signing_itself(directory, "broker", &extensions).certificate())
        })
    }

    /// `certify` makes the broker's key and certificate, and returns the file of its authority.
    fn started(certify: impl FnOnce(&Path) -> Option<PathBuf>) -> Broker {
        let directory = tempfile::Builder::new().prefix("hpfeeds-").tempdir();
        let directory = directory.unwrap();
        let broker = Broker {
            authority: certify(directory.path()),
            directory,
            port: free_port(),
            running: Mutex::default(),
        };
        fs::write(broker.file("users.json"), users().to_string()).unwrap();
        broker.start_again();
        broker
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The broker, to one of its users.
    pub fn account(&self, ident: &str) -> hpfeeds::Broker {
        hpfeeds::Broker {
            host: match self.authority {
                Some(_) => "localhost".into(),
                None => "127.0.0.1".into(),
            },
            port: self.port,
            ident: ident.into(),
            secret: secret(ident),
            tls: self.authority.clone().map(|authority| Encryption {
                authorities: Some(authority),
            }),
        }
    }

    /// Ends it as a power failure would, and waits.
    pub fn kill(&self) {
        let running = self.running.lock().unwrap().take();
        running.expect("it is stopped").kill();
    }

    /// Makes it stand still.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Makes it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.lock().unwrap();
        let Service(child) = running.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Starts the killed broker again, on the same port and with the same users, and waits until it
    /// answers.
    pub fn start_again(&self) {
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "it runs");
        let endpoint = match self.authority {
            None => format!("tcp:interface=127.0.0.1:port={}", self.port),
            Some(_) => format!(
                "tls:interface=127.0.0.1:port={}:cert={}:key={}",
                self.port,
                self.file("broker.pem").display(),
                self.file("broker.key").display(),
            ),
        };
        let mut command = python("broker.py");
        command.arg("--endpoint").arg(endpoint);
        command.arg("--auth").arg(self.file("users.json"));
        // Not asked for it would count for all the world on port 8080.
        command.args(["--exporter", "127.0.0.1:0"]);
        command.stdin(Stdio::piped());
        let mut service = Service::logging(command, &self.file("log"));
        wait_until("the broker answers", || {
            let ended = service.0.try_wait().unwrap();
            let log = self.log();
            assert!(ended.is_none() && !log.contains("ERROR"), "{log}");
            self.answers()
        });
        *running = Some(service);
    }

    /// Whether it greets, or with TLS takes a connection.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        self.authority.is_some() || stream.read_exact(&mut [0; 5]).is_ok()
    }

    /// What it said, for a test that fails.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// A Python client that has subscribed to these channels.
    pub fn subscriber(&self, channels: &[&str]) -> Subscriber {
        let mut command = self.client("subscribe", SUBSCRIBER);
        let said = tempfile::NamedTempFile::new_in(self.directory.path()).unwrap();
        let (said, path) = said.keep().unwrap();
        let child = command
            .args(channels)
            .stdout(said)
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        let subscriber = Subscriber {
            _client: Service(child.spawn().unwrap()),
            said: path,
        };
        subscriber.wait_until_ready(1);
        subscriber
    }

    /// Publishes by the Python client, as the publisher.
    pub fn publish<'m>(&self, messages: impl Iterator<Item = (&'m str, &'m [u8])>) {
        self.publish_as(PUBLISHER, messages);
    }

    /// Publishes by the Python client.
    pub fn publish_as<'m>(&self, ident: &str, messages: impl Iterator<Item = (&'m str, &'m [u8])>) {
        let mut command = self.client("publish", ident);
        let mut client = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = client.stdin.take().unwrap();
        for (channel, payload) in messages {
            let line = json!({"channel": channel, "payload": STANDARD.encode(payload)});
            writeln!(stdin, "{line}").unwrap();
        }
        drop(stdin);
        must_succeed(client);
    }

    fn client(&self, what: &str, ident: &str) -> Command {
        assert!(self.authority.is_none(), "the client's script knows no TLS");
        let mut command = python("client.py");
        command.arg(what).arg(self.port.to_string());
        command.arg(ident).arg(secret(ident));
        command
    }
}

/// A Python client that has subscribed; it connects again when the broker was away.
pub struct Subscriber {
    _client: Service,
    said: PathBuf,
}

impl Subscriber {
    /// Waits until its subscriptions were taken so many times.
    pub fn wait_until_ready(&self, times: usize) {
        wait_until("the subscriptions are taken", || {
            let ready = self
                .said()
                .iter()
                .filter(|line| line["ready"] == true)
                .count();
            ready >= times
        });
    }

    /// Waits until it has so many messages, and returns all it has.
    pub fn wait_for(&self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        wait_until("the messages are there", || {
            messages = self.messages();
            messages.len() >= count
        });
        messages
    }

    /// What it has received so far.
    pub fn messages(&self) -> Vec<Message> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let said = self.said().into_iter();
        said.filter(|line| line["ready"] != true)
            .map(|line| Message {
                ident: text(&line["ident"]),
                channel: text(&line["channel"]),
                payload: STANDARD.decode(text(&line["payload"])).unwrap(),
            })
            .collect()
    }

    fn said(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.said).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A script of the tests, in the environment that has the package.
fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    let python = target.join("tools/hpfeeds/bin/python");
    assert!(
        python.exists(),
        "the hpfeeds broker is missing: run tests/tools/install test"
    );
    let mut command = Command::new(python);
    command.arg(root.join("tests/shiva/hpfeeds").join(script));
    command
}

fn must_succeed(client: Child) {
    let mut service = Service(client);
    wait_until("the client ends", || {
        service.0.try_wait().unwrap().is_some()
    });
    assert!(service.0.wait().unwrap().success());
}

fn users() -> Value {
    let user = |ident: &str, publish: &[&str], subscribe: &[&str]| {
        json!({
            "owner": "tests",
            "secret": secret(ident),
            "pubchans": publish,
            "subchans": subscribe,
        })
    };
    let subscribe = [&CHANNELS[..], &["tests.ready"]].concat();
    json!({
        PUBLISHER: user(PUBLISHER, &CHANNELS, &[]),
        SUBSCRIBER: user(SUBSCRIBER, &["tests.ready"], &subscribe),
        SITE: user(SITE, &CHANNELS, &subscribe),
        NOBODY: user(NOBODY, &[], &[]),
    })
}
