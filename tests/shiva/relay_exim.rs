//! A real exim4: Debian's, unpacked by `tests/tools/install test`, with a configuration, a spool and a
//! loopback port of its own.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::{Service, files_under, free_port, wait_until};

/// A real exim4 that delivers to files, each recipient's copy to one of its own. Mail to the local part
/// `undeliverable` is accepted, and then fails.
pub struct Exim {
    directory: tempfile::TempDir,
    pub port: u16,
    service: Option<Service>,
}

/// A file that exim4 wrote.
#[derive(Debug)]
pub struct Delivered {
    /// The envelope's sender, in brackets.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// The message behind the headers that exim added.
    pub message: Vec<u8>,
}

/// The user that exim4 is when root runs it (see `tests/tools/exim`).
const NOBODY: u32 = 65534;

impl Exim {
    /// One with the settings that the Debian package gives it.
    pub fn new() -> Exim {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("debian");
        let filter = root.join("exim4-bounces.filter");
        let settings = fs::read_to_string(root.join("exim4-bounces")).unwrap();
        // Where the user that exim4 is can read it.
        let filter = fs::read_to_string(filter).unwrap();
        Exim::start(&settings, &filter)
    }

    /// One as it comes, which sends bounces.
    pub fn with_bounces() -> Exim {
        Exim::start("", "")
    }

    fn start(settings: &str, filter: &str) -> Exim {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
        let unpacked = tools.join("exim4-daemon-light.unpacked").exists();
        assert!(unpacked, "exim4 is missing: run tests/tools/install test");
        let directory = tempfile::tempdir().unwrap();
        let mut exim = Exim {
            directory,
            port: free_port(),
            service: None,
        };
        let top = exim.path("");
        fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["mail", "spool", "log"] {
            let path = exim.path(name);
            fs::create_dir(&path).unwrap();
            if path.metadata().unwrap().uid() == 0 {
                chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        fs::write(exim.path("filter"), filter).unwrap();
        let config = exim.path("exim.conf");
        fs::write(&config, configuration(&top, exim.port, settings)).unwrap();
        let mut command = Command::new(tools.join("../../tests/tools/exim"));
        command.arg(&config).arg("-bdf");
        exim.service = Some(Service::logging(command, &exim.path("said")));
        wait_until("exim4 listens", || {
            TcpStream::connect(("127.0.0.1", exim.port)).is_ok() || exim.ended()
        });
        exim
    }

    /// Fails the test when exim has ended, with what it said.
    fn ended(&mut self) -> bool {
        let status = self.service.as_mut().unwrap().0.try_wait().unwrap();
        let said = fs::read_to_string(self.path("said")).unwrap_or_default();
        assert!(status.is_none(), "exim4 ended: {said}");
        false
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its main log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log/main")).unwrap_or_default()
    }

    /// Waits until it has received so many mails, bounces not counted, and is done with all it has.
    pub fn settle(&self, mails: usize) {
        wait_until("exim4 is done with its mail", || {
            let log = self.log();
            let received = |line: &&str| line.contains(" <= ");
            let bounces = log
                .lines()
                .filter(|line| line.contains(" <= <> R="))
                .count();
            let received = log.lines().filter(received).count();
            let completed = log.lines().filter(|line| line.ends_with(" Completed"));
            received - bounces == mails && completed.count() == received
        });
    }

    /// What it delivered, in the order of the recipients.
    pub fn delivered(&self) -> Vec<Delivered> {
        let files = files_under(&self.path("mail"));
        let mut mails: Vec<_> = files.iter().map(|path| delivered(path)).collect();
        mails.sort_by(|a, b| a.to.cmp(&b.to));
        mails
    }
}

fn configuration(top: &Path, port: u16, settings: &str) -> String {
    let top = top.display();
    format!(
        "SHIVA_BOUNCES = {top}/filter\n{settings}\n\
primary_hostname = relay.example
spool_directory = {top}/spool
log_file_path = {top}/log/%s
pid_file_path = {top}/log/pid
exim_path = {top}/exim.conf.programs/exim4
keep_environment = LD_PRELOAD : LD_LIBRARY_PATH : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
deliver_drop_privilege
never_users =
tls_advertise_hosts =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = everybody
acl_smtp_data = everybody
no_return_path_remove
no_envelope_to_remove
no_delivery_date_remove
begin acl
everybody:
  accept
begin routers
undeliverable:
  driver = redirect
  local_parts = undeliverable
  allow_fail
  data = :fail: nobody reads this
files:
  driver = accept
  transport = files
begin transports
files:
  driver = appendfile
  directory = {top}/mail
  maildir_format
  return_path_add
  envelope_to_add
  delivery_date_add
"
    )
}

/// Takes a delivered file apart: exim's headers stand before the message's own.
fn delivered(path: &Path) -> Delivered {
    let all = fs::read(path).unwrap();
    let mut rest = &all[..];
    let mut header = |name: &str| {
        let end = memchr::memchr_iter(b'\n', rest)
            .find(|at| !matches!(rest.get(at + 1), Some(b' ' | b'\t')))
            .unwrap();
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        let line = String::from_utf8_lossy(line);
        let value = line
            .strip_prefix(name)
            .unwrap_or_else(|| panic!("{name} in {line:?}"));
        value.trim().to_owned()
    };
    let from = header("Return-path: ");
    let to = header("Envelope-to: ");
    header("Delivery-date: ");
    header("Received: ");
    let message = rest.to_vec();
    Delivered { from, to, message }
}
