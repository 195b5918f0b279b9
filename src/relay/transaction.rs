//! What is said of one mail up to its content, and what the answers mean. Decisions only.
//!
//! # Contract
//!
//! - The commands are MAIL, one RCPT for each recipient, and DATA, after RSET where the transaction
//!   before was not finished. They are the same whether sent one by one or in one go (RFC 2920).
//! - Parameters are used where the server offers them: SIZE, BODY=8BITMIME for a message with 8-bit
//!   bytes, SMTPUTF8 for an address outside ASCII, and NOTIFY=NEVER for every recipient: the sender
//!   of a spam is forged, and a bounce would hit whoever it names.
//! - An address is a stranger's. What could end the path or the line it is put in is not said
//!   ([`check`]).
//! - Content is sent when DATA was answered by 354 and at least one recipient was accepted. When none
//!   was and 354 comes all the same, as may happen to commands sent in one go, a lone dot ends it.

use super::delivery::{Mail, Outcome};
use super::reply::{Offers, Reply, cut};
use crate::escape;

/// Bytes of an address. RFC 5321 has 256 for a path; a server may take a little more.
const ADDRESS_MAX: usize = 512;

/// One command, whose answer it awaits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Reset,
    From,
    /// For the recipient at this place.
    To(usize),
    Data,
}

impl Command {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Command::Reset => "RSET",
            Command::From => "MAIL",
            Command::To(_) => "RCPT",
            Command::Data => "DATA",
        }
    }
}

/// What comes after the last answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The message.
    Content,
    /// A dot alone, to leave DATA; then it is over.
    LoneDot(Outcome),
    /// Nothing: leaving DATA would send an empty message to somebody. The connection must go.
    Close(Outcome),
    /// Nothing: it was refused.
    Over(Outcome),
}

/// The answers so far to the commands of a mail.
pub struct Answers<'m> {
    mail: &'m Mail<'m>,
    sender: Option<Reply>,
    accepted: usize,
    refused: Vec<(usize, Reply)>,
    data: Option<Reply>,
}

/// Why the envelope cannot be put into commands, if it cannot.
pub fn check(mail: &Mail) -> Result<(), &'static str> {
    if mail.to.is_empty() {
        return Err("it has no recipient");
    }
    if !mail.from.is_empty() && !is_sayable(mail.from) {
        return Err("its sender cannot stand in a command");
    }
    if !mail.to.iter().all(|address| is_sayable(address)) {
        return Err("a recipient cannot stand in a command");
    }
    Ok(())
}

/// Whether an address ends where its bracket will: no line end and no control character in it, no
/// bracket and no space outside quotes, no quote left open.
fn is_sayable(address: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in address.bytes() {
        match byte {
            _ if byte.is_ascii_control() => return false,
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'<' | b'>' if !quoted => return false,
            _ => {}
        }
    }
    !quoted && !address.is_empty() && address.len() <= ADDRESS_MAX
}

/// The commands up to DATA, each with its line.
pub fn commands(mail: &Mail, offers: Offers, reset: bool) -> Vec<(Command, String)> {
    let mut commands = Vec::with_capacity(mail.to.len() + 3);
    if reset {
        commands.push((Command::Reset, "RSET\r\n".to_owned()));
    }
    commands.push((Command::From, sender(mail, offers)));
    let notify = if offers.dsn { " NOTIFY=NEVER" } else { "" };
    for (place, address) in mail.to.iter().enumerate() {
        commands.push((
            Command::To(place),
            format!("RCPT TO:<{address}>{notify}\r\n"),
        ));
    }
    commands.push((Command::Data, "DATA\r\n".to_owned()));
    commands
}

fn sender(mail: &Mail, offers: Offers) -> String {
    let ascii = mail.from.is_ascii() && mail.to.iter().all(|address| address.is_ascii());
    let size = if offers.size {
        format!(" SIZE={}", mail.message.len())
    } else {
        String::new()
    };
    let body = if offers.eight_bit && !mail.message.is_ascii() {
        " BODY=8BITMIME"
    } else {
        ""
    };
    let utf8 = if offers.utf8 && !ascii {
        " SMTPUTF8"
    } else {
        ""
    };
    format!("MAIL FROM:<{}>{size}{body}{utf8}\r\n", mail.from)
}

impl<'m> Answers<'m> {
    /// None so far.
    pub fn new(mail: &'m Mail<'m>) -> Answers<'m> {
        Answers {
            mail,
            sender: None,
            accepted: 0,
            refused: Vec::new(),
            data: None,
        }
    }

    /// Takes the answer to a command. An error says that it is none.
    pub fn take(&mut self, command: Command, reply: Reply) -> Result<(), String> {
        let fits = match command {
            Command::Reset => reply.is_done(),
            Command::From | Command::To(_) => reply.is_done() || reply.is_refusal(),
            Command::Data => reply.code == 354 || reply.is_refusal(),
        };
        if !fits {
            let (name, code) = (command.name(), reply.code);
            return Err(format!("{name} was answered by {code} {}", reply.text()));
        }
        match command {
            Command::Reset => {}
            Command::From => self.sender = Some(reply),
            Command::To(_) if reply.is_done() => self.accepted += 1,
            Command::To(place) => self.refused.push((place, reply)),
            Command::Data => self.data = Some(reply),
        }
        Ok(())
    }

    /// Whether nothing can come of it any more: MAIL, every RCPT, or DATA was refused.
    pub fn refusal(&self) -> Option<Outcome> {
        let sender = self.sender.as_ref().filter(|reply| reply.is_refusal());
        if let Some(reply) = sender {
            return Some(refused(reply));
        }
        match self.refused.as_slice() {
            [(_, only)] if self.mail.to.len() == 1 => return Some(refused(only)),
            [(_, first), ..] if self.refused.len() == self.mail.to.len() => {
                let (code, text) = (first.code, self.refusals());
                return Some(Outcome::Refused { code, text });
            }
            _ => {}
        }
        let data = self.data.as_ref().filter(|reply| reply.is_refusal());
        data.map(refused)
    }

    /// What to do when all is answered.
    pub fn next(&self) -> Next {
        let open = self.data.as_ref().is_some_and(|reply| reply.code == 354);
        match self.refusal() {
            None => Next::Content,
            Some(outcome) if !open => Next::Over(outcome),
            Some(outcome) if self.accepted == 0 => Next::LoneDot(outcome),
            Some(outcome) => Next::Close(outcome),
        }
    }

    /// The message was accepted; for whom it was not is said behind the server's text.
    pub fn accepted(&self, end: &Reply) -> Outcome {
        let text = end.text();
        if self.refused.is_empty() {
            return Outcome::Accepted(text);
        }
        Outcome::Accepted(cut(&format!("{text} (refused: {})", self.refusals())))
    }

    /// Which recipients were refused, and how.
    fn refusals(&self) -> String {
        let said = self.refused.iter().map(|(place, reply)| {
            let address = self.mail.to.get(*place).map_or("", String::as_str);
            format!("{} {} {}", escape::line(address), reply.code, reply.text())
        });
        cut(&said.collect::<Vec<_>>().join("; "))
    }
}

/// A refusal as it was said.
pub fn refused(reply: &Reply) -> Outcome {
    Outcome::Refused {
        code: reply.code,
        text: reply.text(),
    }
}

#[cfg(test)]
mod tests;
