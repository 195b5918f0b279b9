//! An installation on a MariaDB server, and ways for the server to fail it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::mariadb::MariaDb;
use crate::mariadb_databases::{Account, Databases, Rights};
use crate::rig::{Rig, Service, files_under, wait_until};

/// An installation on databases of its own, with the service's log.
pub struct Site<'s> {
    pub rig: Rig,
    pub databases: Databases<'s>,
    pub account: Account,
}

impl<'s> Site<'s> {
    pub fn on(server: &'s MariaDb) -> Site<'s> {
        Site::with(Databases::fresh(server), |_| server.port())
    }

    /// Reaches the server by the port that `way` makes.
    pub fn with(databases: Databases<'s>, way: impl Fn(&MariaDb) -> u16) -> Site<'s> {
        databases.make();
        let account = databases.account(Rights::Analyzer);
        let port = way(databases.server());
        let rig = Rig::with(&databases.config_at(&account, port));
        Site {
            rig,
            databases,
            account,
        }
    }

    pub fn log(&self) -> PathBuf {
        self.rig.path("log")
    }

    pub fn service(&self) -> Service {
        let service = Service::logging(self.rig.command("shiva-analyzer"), &self.log());
        wait_until("the analyzer is at work", || {
            self.said("analyzer.started") > 0
        });
        service
    }

    /// How often the service's log has an event.
    pub fn said(&self, event: &str) -> usize {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.matches(&format!("event={event}")).count()
    }

    /// Drops messages `from..to`: copies of three spams, each with a link of its own.
    pub fn drop_spam(&self, from: u32, to: u32) {
        for n in from..to {
            let message = format!(
                "From: a@example.net\r\nSubject: kind {}\r\nX-Number: {n}\r\n\r\nshort\r\n",
                n % 3
            );
            self.rig.drop_file(&format!("{n}.eml"), message.as_bytes());
        }
    }

    pub fn wait_until_counted(&self) {
        wait_until("the queue is empty", || {
            let queue = self.rig.path("queue");
            ["new", "cur"]
                .iter()
                .all(|part| files_under(&queue.join(part)).is_empty())
        });
    }

    pub fn check(&self, spams: u64) {
        let report = self.rig.report();
        assert_eq!(report["totals"]["spams"], spams);
        assert_eq!(report["totals"]["distinct"], 3);
        assert_eq!(report["totals"]["undeliverable"], 0);
        let top = report["top"].as_array().unwrap();
        let counts = top.iter().map(|spam| spam["count"].as_u64().unwrap());
        assert_eq!(counts.sum::<u64>(), spams);
    }
}

/// Passes bytes on to a server, and drops the answer to some commits with their connection.
pub struct Proxy {
    pub port: u16,
    /// Commits whose answers are still to be dropped.
    pub drops: Arc<AtomicU32>,
}

impl Proxy {
    /// To this server, dropping the answers to the first so many commits.
    pub fn to(server: &MariaDb, drops: u32) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let drops = Arc::new(AtomicU32::new(drops));
        let (upstream, left) = (server.port(), Arc::clone(&drops));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else {
                    continue;
                };
                let (to_server, to_client) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                let left = Arc::clone(&left);
                let dead = Arc::new(AtomicU32::new(0));
                let is_dead = Arc::clone(&dead);
                std::thread::spawn(move || requests(client, to_server, &left, &dead));
                std::thread::spawn(move || answers(server, to_client, &is_dead));
            }
        });
        Proxy { port, drops }
    }
}

/// From the client to the server; marks the connection as dead when a commit goes by whose answer
/// is to be dropped.
fn requests(mut client: TcpStream, mut server: TcpStream, left: &AtomicU32, dead: &AtomicU32) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        let is_commit = buffer[..read].windows(7).any(|part| part == b"\x03COMMIT");
        let less = |left: u32| left.checked_sub(1);
        if is_commit
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_ok()
        {
            dead.store(1, Ordering::SeqCst);
        }
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn answers(mut server: TcpStream, mut client: TcpStream, dead: &AtomicU32) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        if dead.load(Ordering::SeqCst) == 1 || client.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
