//! A scratch installation: directories, a configuration, the four programs, and a client.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::Value;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A scratch installation that goes away with its directory.
pub struct Rig {
    directory: tempfile::TempDir,
    pub port: u16,
}

impl Rig {
    /// An installation with the defaults of the tests.
    pub fn new() -> Rig {
        Rig::with("")
    }

    /// An installation whose configuration ends with these lines.
    pub fn with(extra: &str) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let rig = Rig { directory, port };
        let root = rig.path("").display().to_string();
        let text = format!(
            "[global]\nqueuepath : {root}queue\n[receiver]\nlistenhost : 127.0.0.1\n\
             listenport : {port}\nhostname : mx.example.net\nsensorname : rig\n[analyzer]\n\
             undeliverable_path : {root}undeliverable\nrawspampath : {root}rawspam\n\
             attachpath : {root}attachment\ninlinepath : {root}inline\n[database]\n\
             engine : sqlite\npath : {root}db\n{extra}"
        );
        fs::write(rig.path("shiva.conf"), text).unwrap();
        rig
    }

    /// Adds lines to the end of the configuration.
    pub fn configure(&self, lines: &str) {
        let file = fs::File::options()
            .append(true)
            .open(self.path("shiva.conf"));
        file.unwrap().write_all(lines.as_bytes()).unwrap();
    }

    /// A path within the installation.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program of SHIVA on this configuration, not yet started.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(binary(program));
        command.arg("--config").arg(self.path("shiva.conf"));
        command.env_remove("FAILPOINTS").stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        finish(self.command(program).args(arguments))
    }

    /// Runs a program that must succeed; returns what it printed.
    pub fn ok(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Analyses what the queue holds.
    pub fn once(&self) {
        self.ok("shiva-analyzer", &["--once"]);
    }

    /// Analyses with a crash point armed; true when the process died of it.
    pub fn once_crashing(&self, failpoints: &str) -> bool {
        let mut command = self.command("shiva-analyzer");
        let output = finish(command.arg("--once").env("FAILPOINTS", failpoints));
        let killed = output.status.signal() == Some(9);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(killed || output.status.success(), "{failpoints}: {errors}");
        killed
    }

    /// The report.
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.ok("shiva", &["report", "--json"])).unwrap()
    }

    /// One of the report's totals.
    pub fn total(&self, name: &str) -> u64 {
        self.report()["totals"][name].as_u64().unwrap()
    }

    /// One record, as JSON.
    pub fn show(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok("shiva", &["show", id, "--json"])).unwrap()
    }

    /// Starts the receiver and waits until it listens.
    pub fn receiver(&self) -> Service {
        self.receiver_with(self.command("shiva-receiver"))
    }

    /// Starts the receiver by this command and waits until it listens.
    pub fn receiver_with(&self, command: Command) -> Service {
        let service = Service::start(command);
        wait_until("the receiver listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        service
    }

    /// Starts the analyzer as a service.
    pub fn analyzer(&self) -> Service {
        let command = self.command("shiva-analyzer");
        Service::start(command)
    }

    /// A client that has said EHLO.
    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// Files that wait in the queue.
    pub fn queue(&self) -> Vec<PathBuf> {
        files_under(&self.path("queue/new"))
    }

    /// Drops a file into the queue as a stranger would, complete.
    pub fn drop_file(&self, name: &str, content: &[u8]) {
        let new = self.path("queue/new");
        fs::create_dir_all(&new).unwrap();
        let partial = new.join(format!(".{name}"));
        fs::write(&partial, content).unwrap();
        let old = std::time::SystemTime::now() - Duration::from_secs(10);
        fs::File::options()
            .write(true)
            .open(&partial)
            .and_then(|file| file.set_modified(old))
            .unwrap();
        fs::rename(partial, new.join(name)).unwrap();
    }

    /// The window store or the main store, to look into.
    pub fn database(&self, name: &str) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path("db").join(name)).unwrap()
    }
}

/// The program of this build.
pub fn binary(program: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_shiva")).with_file_name(program)
}

/// Runs a command to its end; kills it when that does not come.
pub fn finish(command: &mut Command) -> Output {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (
        read_all(child.stdout.take().unwrap()),
        read_all(child.stderr.take().unwrap()),
    );
    let deadline = Instant::now() + 2 * PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{command:?} did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.read_to_end(&mut all);
        all
    })
}

/// Every regular file under a directory, in name order.
pub fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return files;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running service; killed when dropped.
pub struct Service(pub Child);

impl Service {
    /// Starts a service. It inherits no pipe of ours: nothing may wait for it to end.
    pub fn start(mut command: Command) -> Service {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        Service(command.spawn().unwrap())
    }

    /// Starts a service whose standard error goes to a file.
    pub fn logging(mut command: Command, log: &Path) -> Service {
        let log = fs::File::options().create(true).append(true).open(log);
        let command = command.stdout(Stdio::null()).stderr(log.unwrap());
        Service(command.spawn().unwrap())
    }

    /// As `kill -9`.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// SIGTERM; waits for the end, which must be a success.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        wait_until("the service ends", || self.0.try_wait().unwrap().is_some());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connection to loopback from another address of loopback.
pub fn connected_from(host: [u8; 4], port: u16) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(host.into(), 0)).unwrap();
    connect(&socket, &SocketAddrV4::new([127, 0, 0, 1].into(), port)).unwrap();
    TcpStream::from(socket)
}

/// An SMTP client that does just what a test says.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects and says EHLO.
    pub fn connect(port: u16) -> Client {
        Client::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// Says EHLO over a connection.
    pub fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client {
            reader: BufReader::new(stream),
        };
        assert!(client.reply().unwrap().starts_with("220 "));
        assert!(client.say("EHLO client.example.net").starts_with("250"));
        client
    }

    /// The connection itself, for another thread.
    pub fn stream(&self) -> TcpStream {
        self.reader.get_ref().try_clone().unwrap()
    }

    /// Closes the connection for whoever has it.
    pub fn close(&self) {
        let _ = self.reader.get_ref().shutdown(std::net::Shutdown::Both);
    }

    /// Sends bytes; false when the other side is gone.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// Reads a reply, all lines of it; `None` when the other side is gone.
    pub fn reply(&mut self) -> Option<String> {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            match self.reader.read_line(&mut line) {
                Ok(read) if read > 0 => reply.push_str(&line),
                _ => return None,
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return Some(reply);
            }
        }
    }

    /// Sends a command, returns its reply.
    pub fn say(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.reply().unwrap_or_default()
    }

    /// Sends a message, dot-stuffed; returns the reply to it, if one came.
    pub fn mail(&mut self, from: &str, to: &str, message: &[u8]) -> Option<String> {
        self.send(format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n").as_bytes());
        for code in ["250", "250", "354"] {
            let reply = self.reply()?;
            if !reply.starts_with(code) {
                return Some(reply);
            }
        }
        self.send(&stuffed(message));
        self.reply()
    }
}

/// A message as it goes over the wire, end included.
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 16);
    let mut at_line_start = true;
    for (i, byte) in message.iter().enumerate() {
        if at_line_start && *byte == b'.' {
            wire.push(b'.');
        }
        wire.push(*byte);
        at_line_start = *byte == b'\n' && i > 0 && message[i - 1] == b'\r';
    }
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}
