//! One SMTP connection to the relay host: sockets and deadlines around the decisions.
//!
//! # Contract
//!
//! - Every wait has an end: each answer by [`Timeouts::reply`] however it drips in, everything up to
//!   the final dot by the deadline that the caller gives, the answer to the dot by
//!   [`Timeouts::end`].
//! - The final dot is written by itself, when all of the content is written. So whatever breaks
//!   before it left the server without an end of data, and only what breaks after it is
//!   [`Outcome::Unknown`].
//! - What is unexpected makes the connection unusable. It is never used further in the hope that the
//!   next answer belongs to the next command.
//! - Memory is one reply and one block of content, whatever the server and the message are.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::delivery::{Mail, Outcome, Timeouts};
use super::reply::{Offers, Replies, Reply};
use super::stuffing::Stuffed;
use super::transaction::{Answers, Command, Next, commands, refused};

/// Addresses of the host that are tried.
const ADDRESSES_MAX: usize = 4;

/// Bytes of content that are written at once.
const BLOCK: usize = 64 * 1024;

/// Bytes that are read at once.
const READ: usize = 4096;

/// How long a server that closed is listened to for why it did.
const PARTING: Duration = Duration::from_secs(1);

/// An open connection, between mails.
pub struct Connection {
    stream: TcpStream,
    replies: Replies,
    offers: Offers,
    timeouts: Timeouts,
    /// The transaction before was not finished: RSET comes first.
    unfinished: bool,
    /// The mail in hand was answered, by more than that the server closes.
    heard: bool,
    /// The server has closed, or said by 421 that it does.
    closed: bool,
    broken: bool,
}

/// The dialogue cannot go on; what happened.
struct Broken(String);

impl Connection {
    /// Connects and says EHLO, or HELO to who does not know that. An error says what failed.
    pub fn open(
        (host, port): (&str, u16),
        helo: &str,
        timeouts: Timeouts,
        deadline: Instant,
    ) -> Result<Connection, String> {
        let stream = connect(host, port, earlier(timeouts.connect, deadline))
            .map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
        let mut connection = Connection {
            stream,
            replies: Replies::default(),
            offers: Offers::default(),
            timeouts,
            unfinished: false,
            heard: false,
            closed: false,
            broken: false,
        };
        let greeted = connection.greet(helo, deadline);
        greeted.map_err(|Broken(text)| format!("{host}:{port}: {text}"))?;
        Ok(connection)
    }

    fn greet(&mut self, helo: &str, deadline: Instant) -> Result<(), Broken> {
        let greeting = self.reply("its greeting", self.by(deadline))?;
        must_be_done("it greets with", &greeting)?;
        let ehlo = self.say("EHLO", format!("EHLO {helo}\r\n").as_bytes(), deadline)?;
        if ehlo.code / 100 == 5 {
            let helo = self.say("HELO", format!("HELO {helo}\r\n").as_bytes(), deadline)?;
            return must_be_done("HELO was answered by", &helo);
        }
        must_be_done("EHLO was answered by", &ehlo)?;
        self.offers = ehlo.offers();
        Ok(())
    }

    /// Relays a mail whose envelope was checked.
    pub fn relay(&mut self, mail: &Mail, deadline: Instant) -> Outcome {
        self.heard = false;
        let mut answers = Answers::new(mail);
        if let Err(Broken(text)) = self.envelope(mail, &mut answers, deadline) {
            self.broken = true;
            // Who refuses and then closes has refused.
            return answers.refusal().unwrap_or(Outcome::Unreached(text));
        }
        match answers.next() {
            Next::Content => self.message(mail.message, &answers, deadline),
            Next::LoneDot(outcome) => {
                let left = self.say("a lone dot", b".\r\n", deadline);
                self.broken |= left.is_err();
                outcome
            }
            Next::Close(outcome) => {
                self.broken = true;
                outcome
            }
            Next::Over(outcome) => outcome,
        }
    }

    /// Whether another mail may follow.
    pub fn is_usable(&self) -> bool {
        !self.broken && !self.closed && self.replies.is_empty()
    }

    /// Whether the server had closed before it knew anything of the mail.
    pub fn was_dead(&self) -> bool {
        self.closed && !self.heard
    }

    /// QUIT, as far as the server cares to hear it within this time.
    pub fn quit(mut self, patience: Duration) {
        if self.is_usable() {
            let _ = self.say("QUIT", b"QUIT\r\n", Instant::now() + patience);
        }
    }

    /// The commands up to DATA, in one go where the server offers it, and their answers.
    fn envelope(
        &mut self,
        mail: &Mail,
        answers: &mut Answers,
        deadline: Instant,
    ) -> Result<(), Broken> {
        let commands = commands(mail, self.offers, self.unfinished);
        self.unfinished = true;
        if self.offers.pipelining {
            let all: String = commands.iter().map(|(_, line)| line.as_str()).collect();
            self.write(all.as_bytes(), deadline)?;
        }
        for (command, line) in commands {
            if !self.offers.pipelining {
                if answers.refusal().is_some() {
                    return Ok(());
                }
                self.write(line.as_bytes(), deadline)?;
            }
            let reply = self.reply(command.name(), self.by(deadline))?;
            self.heard |= command != Command::Reset && !self.closed;
            answers.take(command, reply).map_err(Broken)?;
        }
        Ok(())
    }

    /// The message, its end, and the answer to that.
    fn message(&mut self, message: &[u8], answers: &Answers, deadline: Instant) -> Outcome {
        if let Err(Broken(text)) = self.content(message, deadline) {
            self.broken = true;
            return match self.parting() {
                Some(reply) if reply.is_refusal() => refused(&reply),
                _ => Outcome::Unreached(text),
            };
        }
        // From here on the server may have taken the mail.
        let deadline = Instant::now() + self.timeouts.end;
        let written = self.write(b".\r\n", deadline);
        let reply = self.reply("the end of the message", deadline);
        let unknown = match (written, reply) {
            (_, Ok(reply)) if reply.is_refusal() => return refused(&reply),
            (Ok(()), Ok(reply)) if reply.is_done() => {
                self.unfinished = false;
                return answers.accepted(&reply);
            }
            (_, Ok(reply)) => format!("the end was answered by {} {}", reply.code, reply.text()),
            (Err(Broken(text)), _) | (_, Err(Broken(text))) => text,
        };
        self.broken = true;
        Outcome::Unknown(unknown)
    }

    fn content(&mut self, message: &[u8], deadline: Instant) -> Result<(), Broken> {
        let mut block = Vec::with_capacity(BLOCK.min(message.len() + 64));
        for mut piece in Stuffed::new(message) {
            while !piece.is_empty() {
                let (now, later) = piece.split_at(piece.len().min(BLOCK - block.len()));
                block.extend_from_slice(now);
                piece = later;
                if block.len() == BLOCK {
                    self.write(&block, deadline)?;
                    block.clear();
                }
            }
        }
        self.write(&block, deadline)?;
        if self.replies.is_empty() {
            return Ok(());
        }
        Err(Broken("it answered before the message was sent".to_owned()))
    }

    /// What a server said before it closed on us.
    fn parting(&mut self) -> Option<Reply> {
        if !self.closed {
            return None;
        }
        self.reply("the message", Instant::now() + PARTING).ok()
    }

    /// Says one thing and waits for the answer.
    fn say(&mut self, what: &str, line: &[u8], deadline: Instant) -> Result<Reply, Broken> {
        self.write(line, deadline)?;
        self.reply(what, self.by(deadline))
    }

    /// When an answer must be there.
    fn by(&self, deadline: Instant) -> Instant {
        earlier(self.timeouts.reply, deadline)
    }

    fn reply(&mut self, what: &str, deadline: Instant) -> Result<Reply, Broken> {
        loop {
            match self.replies.next() {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    self.closed |= reply.code == 421;
                    return Ok(reply);
                }
                Err(wrong) => return Err(Broken(format!("the answer to {what} {}", wrong.0))),
            }
            let mut buffer = [0; READ];
            match self.read(&mut buffer, deadline) {
                Ok(bytes) => self.replies.push(bytes),
                Err(error) => return Err(self.failed(&format!("no answer to {what}"), &error)),
            }
        }
    }

    fn read<'b>(&mut self, buffer: &'b mut [u8], deadline: Instant) -> std::io::Result<&'b [u8]> {
        loop {
            self.stream.set_read_timeout(Some(left(deadline)?))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => return Ok(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Broken> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write_some(rest, deadline) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("cannot write", &error)),
            }
        }
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8], deadline: Instant) -> std::io::Result<usize> {
        self.stream.set_write_timeout(Some(left(deadline)?))?;
        match self.stream.write(bytes) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            other => other,
        }
    }

    fn failed(&mut self, what: &str, error: &std::io::Error) -> Broken {
        let why = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "in time".to_owned(),
            ErrorKind::UnexpectedEof => {
                self.closed = true;
                "before the connection was closed".to_owned()
            }
            _ => {
                self.closed = true;
                format!("({error})")
            }
        };
        Broken(format!("{what} {why}"))
    }
}

fn must_be_done(what: &str, reply: &Reply) -> Result<(), Broken> {
    if reply.is_done() {
        return Ok(());
    }
    Err(Broken(format!("{what} {} {}", reply.code, reply.text())))
}

fn connect(host: &str, port: u16, deadline: Instant) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::other("the name has no address");
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect_timeout(address, left(deadline)?) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The end of a wait that begins now, but not after the deadline.
fn earlier(patience: Duration, deadline: Instant) -> Instant {
    deadline.min(Instant::now() + patience)
}

/// The time that is left, never zero: to a socket that would mean for ever.
fn left(deadline: Instant) -> std::io::Result<Duration> {
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left),
        _ => Err(ErrorKind::TimedOut.into()),
    }
}
