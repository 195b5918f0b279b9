//! A relay host that does what a test says and keeps the mail it took, byte for byte.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::rig::PATIENCE;

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
    /// Connections by number, to be closed from without.
    open: Mutex<BTreeMap<usize, TcpStream>>,
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
        for stream in self.shared.open.lock().unwrap().values() {
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
        let clone = stream.try_clone().unwrap();
        shared.open.lock().unwrap().insert(number, clone);
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
            client.shared.open.lock().unwrap().remove(&number);
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
                "EHLO" => {
                    self.answer(At::Command(&line), &self.offers())?;
                }
                "DATA" => self.data(&line)?,
                "QUIT" => {
                    self.answer(At::Command(&line), "221 bye\r\n")?;
                    self.flush()?;
                    return None;
                }
                verb => {
                    let usual = match verb == "RCPT" && self.from.is_empty() {
                        true => "503 no sender\r\n",
                        false => "250 OK\r\n",
                    };
                    let accepted = self.answer(At::Command(&line), usual)?;
                    match verb {
                        "MAIL" if accepted => self.from = line,
                        "RCPT" if accepted => self.to.push(line),
                        "RSET" => self.forget(),
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
        self.forget();
        Some(())
    }

    fn forget(&mut self) {
        self.from.clear();
        self.to.clear();
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

    /// Answers as the manner wants; whether that lets the client go on. `None`: it is to close.
    fn answer(&mut self, at: At, usual: &str) -> Option<bool> {
        let said = match (self.shared.manner)(self.number, at) {
            Act::Serve => usual,
            Act::Say(lines) => lines,
            Act::SayAndClose(lines) => {
                self.output.extend_from_slice(lines.as_bytes());
                self.flush();
                return None;
            }
            Act::Close => {
                self.flush();
                return None;
            }
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
        let goes_on = if let At::Command("DATA") = at {
            '3'
        } else {
            '2'
        };
        Some(said.starts_with(goes_on))
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
