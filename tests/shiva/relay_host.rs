//! Relay hosts to deliver to: a plain sink that does what a test says, and a real exim4.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::rig::{PATIENCE, Service, files_under, free_port, wait_until};

/// How long passes between the two halves of an answer that is cut.
const CUT_PAUSE: Duration = Duration::from_millis(3);

/// Where in a dialogue a sink asks its [`Manner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At<'a> {
    /// A client has connected.
    Greeting,
    /// A command line, without its end.
    Command(&'a str),
    /// Some of the content came, so many bytes in all.
    Content(usize),
    /// The end of data came.
    End,
}

/// What a sink does there.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// What a server does that takes all mail.
    Serve,
    /// Answers by these lines, each with its CRLF.
    Say(&'static str),
    /// Answers by these lines and closes.
    SayAndClose(&'static str),
    /// Closes without an answer.
    Close,
    /// Never answers and keeps the connection.
    Silence,
    /// Answers byte by byte, at this pace, and never comes to an end.
    Drip(Duration),
}

/// What a sink does, by the number of the connection (from 0) and the place in the dialogue. A
/// sleep in it makes the sink slow.
pub type Manner = Box<dyn Fn(usize, At) -> Act + Send + Sync>;

/// A mail that a sink took, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The MAIL command.
    pub from: String,
    /// The RCPT commands that were answered by 2xx.
    pub to: Vec<String>,
    /// The message, unstuffed.
    pub message: Vec<u8>,
}

struct Shared {
    offers: &'static [&'static str],
    manner: Manner,
    cut: Option<usize>,
    connections: AtomicUsize,
    stopped: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    commands: Mutex<Vec<String>>,
    taken: Mutex<Vec<Taken>>,
}

/// A plain SMTP server on a loopback port, in this process.
pub struct Sink {
    pub port: u16,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Sink {
    /// One that takes all mail and offers these extensions.
    pub fn new(offers: &'static [&'static str]) -> Sink {
        Sink::with(offers, None, |_, _| Act::Serve)
    }

    /// One of this manner. `cut`: what it writes at once is cut in two behind so many bytes.
    pub fn with(
        offers: &'static [&'static str],
        cut: Option<usize>,
        manner: impl Fn(usize, At) -> Act + Send + Sync + 'static,
    ) -> Sink {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            offers,
            manner: Box::new(manner),
            cut,
            connections: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            open: Mutex::default(),
            commands: Mutex::default(),
            taken: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let listening = Some(std::thread::spawn(move || listen(&listener, &serving)));
        Sink {
            port,
            shared,
            listening,
        }
    }

    /// The mails that were taken.
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// All command lines of all connections.
    pub fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes all connections, as a server does that restarts.
    pub fn hang_up(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        self.hang_up();
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        shared
            .open
            .lock()
            .unwrap()
            .push(stream.try_clone().unwrap());
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let mut client = Client {
                stream,
                number,
                input: Vec::new(),
                output: Vec::new(),
                from: String::new(),
                to: Vec::new(),
                shared,
            };
            client.serve();
            let _ = client.stream.shutdown(Shutdown::Both);
        });
    }
}

/// One connection of a sink.
struct Client {
    stream: TcpStream,
    number: usize,
    input: Vec<u8>,
    output: Vec<u8>,
    from: String,
    to: Vec<String>,
    shared: Arc<Shared>,
}

impl Client {
    /// Until the client leaves or the manner is to close.
    fn serve(&mut self) -> Option<()> {
        self.answer(At::Greeting, "220 sink ESMTP\r\n")?;
        loop {
            let line = self.line()?;
            self.shared.commands.lock().unwrap().push(line.clone());
            match line.get(..4).unwrap_or(&line) {
                "EHLO" => drop(self.answer(At::Command(&line), &self.offers())?),
                "DATA" => self.data(&line)?,
                "QUIT" => {
                    self.answer(At::Command(&line), "221 bye\r\n")?;
                    self.flush()?;
                    return None;
                }
                verb => {
                    let accepted = self.answer(At::Command(&line), "250 OK\r\n")?;
                    match verb {
                        "MAIL" => self.from = line,
                        "RCPT" if accepted => self.to.push(line),
                        "RSET" => self.to.clear(),
                        _ => {}
                    }
                }
            }
        }
    }

    fn offers(&self) -> String {
        let mut lines: Vec<String> = vec!["sink".to_owned()];
        lines.extend(self.shared.offers.iter().map(|&offer| offer.to_owned()));
        let last = lines.pop().unwrap();
        let before: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
        format!("{before}250 {last}\r\n")
    }

    fn data(&mut self, line: &str) -> Option<()> {
        // As a server does that has no recipient; the manner may say 354 all the same.
        let usual = match self.to.is_empty() {
            true => "503 no recipients\r\n",
            false => "354 go on\r\n",
        };
        if !self.answer(At::Command(line), usual)? {
            return Some(());
        }
        self.flush()?;
        let message = unstuffed(&self.content()?);
        if self.answer(At::End, "250 OK id=sink\r\n")? {
            let (from, to) = (self.from.clone(), self.to.clone());
            let taken = Taken { from, to, message };
            self.shared.taken.lock().unwrap().push(taken);
        }
        self.to.clear();
        Some(())
    }

    /// The content up to the end of data, the dot taken away.
    fn content(&mut self) -> Option<Vec<u8>> {
        let mut all = std::mem::take(&mut self.input);
        let mut looked_at = 0;
        loop {
            let from: usize = looked_at;
            let end = match all.starts_with(b".\r\n") {
                true => Some(0),
                false => memchr::memmem::find(&all[from..], b"\r\n.\r\n").map(|at| from + at + 2),
            };
            if let Some(end) = end {
                self.input = all.split_off(end + 3);
                all.truncate(end);
                return Some(all);
            }
            looked_at = all.len().saturating_sub(4);
            self.answer(At::Content(all.len()), "")?;
            self.read(&mut all)?;
        }
    }

    /// Answers as the manner wants; whether that was 2xx or 354. `None`: it is to close.
    fn answer(&mut self, at: At, usual: &str) -> Option<bool> {
        let said = match (self.shared.manner)(self.number, at) {
            Act::Serve => usual,
            Act::Say(lines) => lines,
            Act::SayAndClose(lines) => {
                self.output.extend_from_slice(lines.as_bytes());
                self.flush();
                return None;
            }
            Act::Close => return None,
            Act::Silence => {
                self.flush()?;
                while self.read(&mut Vec::new()).is_some() {}
                return None;
            }
            Act::Drip(pause) => {
                self.flush()?;
                while self.stream.write_all(b"250-\r\n").is_ok() {
                    std::thread::sleep(pause);
                }
                return None;
            }
        };
        self.output.extend_from_slice(said.as_bytes());
        Some(said.starts_with(['2', '3']))
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec()).ok();
            }
            self.flush()?;
            let mut input = std::mem::take(&mut self.input);
            self.read(&mut input)?;
            self.input = input;
        }
    }

    fn read(&mut self, into: &mut Vec<u8>) -> Option<()> {
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(read) if read > 0 => into.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
        Some(())
    }

    /// Answers to what came in one go are written in one go.
    fn flush(&mut self) -> Option<()> {
        let output = std::mem::take(&mut self.output);
        let cut = self.shared.cut.filter(|cut| *cut < output.len());
        let (first, second) = output.split_at(cut.unwrap_or(output.len()));
        self.stream.write_all(first).ok()?;
        if !second.is_empty() {
            std::thread::sleep(CUT_PAUSE);
            self.stream.write_all(second).ok()?;
        }
        Some(())
    }
}

/// Takes one dot away from each line that begins with one, lines being what ends in CRLF.
fn unstuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n").map_or(rest.len(), |at| at + 2);
        let (line, after) = rest.split_at(end);
        out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        rest = after;
    }
    out
}

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
