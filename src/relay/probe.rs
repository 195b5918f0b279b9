//! What looks like a spammer's own test of a relay.
//!
//! Who looks for relays mails himself through each and must know afterwards through which one a
//! mail came. So the mail names the relay, by its address or its name, in the subject or in the
//! body, often at its end, and sometimes encoded. [`Tokens`] finds that.
//!
//! A decision without I/O, in time that grows linearly with the message.
//!
//! # What is looked for
//! - The words of `probetokens`, of at least [`TOKEN_MIN`] characters.
//! - The receiver's `hostname`, if it has a dot: one word alone is anybody's, and `localhost`
//!   nobody's.
//! - The address that the client connected to, if the world can reach it. A private address, as
//!   behind a router, is one that the spammer does not know, and others write about.
//!
//! A loopback address and `0.0.0.0` are never looked for, a private one only if `probetokens`
//! names it. In which forms: see [`form`].
//!
//! # Where
//! In subject, text and HTML. Of a body of more than [`BODY_MAX`] bytes only that much is searched,
//! half at its beginning and half at its end: tests are small.

pub mod form;

use std::net::{IpAddr, Ipv4Addr};

use crate::message::Message;
use form::{Form, Text};

/// Characters that a configured word must have to be looked for.
pub const TOKEN_MIN: usize = 4;

/// Bytes of a body that are searched.
pub const BODY_MAX: usize = 256 * 1024;

/// Whether an item of `probetokens` is looked for at all.
pub fn is_looked_for(configured: &str) -> bool {
    match configured.parse::<IpAddr>() {
        Ok(address) => is_somewhere(address.to_canonical()),
        Err(_) => configured.len() >= TOKEN_MIN,
    }
}

/// What a test of this relay would name.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Token>);

#[derive(Debug)]
struct Token {
    name: String,
    forms: Vec<Form>,
}

impl Tokens {
    /// The words of `probetokens` and the receiver's `hostname`, without what is too common.
    pub fn new(configured: &[String], hostname: &str) -> Tokens {
        let configured = configured.iter().map(String::as_str);
        let hostname = Some(hostname).filter(|name| is_own_name(name));
        let tokens = configured.filter(|token| is_looked_for(token));
        Tokens(tokens.chain(hostname).map(Token::new).collect())
    }

    /// The first token that stands in the message, as it was configured; for the address that the
    /// client connected to, that address.
    pub fn found(&self, message: &Message, dst_ip: Option<IpAddr>) -> Option<String> {
        let address = dst_ip.map(|address| address.to_canonical());
        let address = address.filter(|address| is_public(*address));
        let here = address.map(|address| Token {
            name: address.to_string(),
            forms: Form::of_address(address),
        });
        let places = [&message.subject, &message.text, &message.html];
        places
            .into_iter()
            .flat_map(|place| ends(place.as_bytes()))
            .filter(|piece| !piece.is_empty())
            .find_map(|piece| {
                let text = Text::new(piece);
                let mut tokens = self.0.iter().chain(&here);
                let found = tokens.find(|token| token.forms.iter().any(|form| form.is_in(&text)));
                found.map(|token| token.name.clone())
            })
    }
}

impl Token {
    fn new(configured: &str) -> Token {
        Token {
            name: configured.to_owned(),
            forms: match configured.parse::<IpAddr>() {
                Ok(address) => Form::of_address(address.to_canonical()),
                Err(_) => Form::of_word(configured),
            },
        }
    }
}

/// What is searched of a text: all of it, or its beginning and its end.
fn ends(text: &[u8]) -> [&[u8]; 2] {
    if text.len() <= BODY_MAX {
        return [text, &[]];
    }
    let (first, rest) = text.split_at(BODY_MAX / 2);
    let last = rest.len() - BODY_MAX / 2;
    [first, rest.get(last..).unwrap_or(rest)]
}

fn is_own_name(hostname: &str) -> bool {
    let first = hostname.split('.').next().unwrap_or_default();
    is_looked_for(hostname) && hostname.contains('.') && !first.eq_ignore_ascii_case("localhost")
}

/// Whether an address belongs to some machine, be it in a private network.
fn is_somewhere(address: IpAddr) -> bool {
    !address.is_loopback() && !address.is_unspecified()
}

/// Whether an address is one that a stranger can reach a machine by.
fn is_public(address: IpAddr) -> bool {
    let reachable = match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let behind_provider = first == 100 && (64..128).contains(&second);
            !v4.is_private() && !v4.is_link_local() && !behind_provider && first != 0
        }
        IpAddr::V6(v6) => !v6.is_unique_local() && !v6.is_unicast_link_local(),
    };
    let broadcast = IpAddr::V4(Ipv4Addr::BROADCAST);
    reachable && is_somewhere(address) && !address.is_multicast() && address != broadcast
}

#[cfg(test)]
mod tests;
