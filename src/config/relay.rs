//! The relay keys of `[analyzer]`, typed, and what is said about them at every start.

use std::net::{IpAddr, Ipv6Addr};

use super::values::Values;
use crate::escape;
use crate::relay::probe;

/// Which spam is worth relaying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The first copies of each distinct spam.
    Counter,
    /// What looks like a spammer's own test of the relay.
    Probe,
}

/// What is handed on, how much of it, and to whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Relay {
    /// Whether anything is relayed.
    pub on: bool,
    /// Which spam is worth it.
    pub policy: Policy,
    /// Copies of one record relayed in one window.
    pub individual: u64,
    /// Spams relayed in all in one window.
    pub global: u64,
    /// Host of the mail server that relays; notices to the operator go through it, too.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Most recipients that a spam may have to be relayed.
    pub max_recipients: usize,
    /// Domains that nothing is relayed to, as the operator wrote them.
    pub deny: Vec<String>,
    /// Words by which a test of the relay is known, beside `hostname`.
    pub tokens: Vec<String>,
    /// The names of this machine, as far as they are known: nothing is relayed to them.
    pub own_names: Vec<String>,
    /// The receiver's name: what we call ourselves, and what a test of the relay may name.
    pub hostname: String,
}

impl Relay {
    pub(super) fn read(values: &Values, hostname: &str) -> Relay {
        let integer = |name| values.integer("analyzer", name);
        Relay {
            on: values.bool("analyzer", "relay"),
            policy: match values.text("analyzer", "relaypolicy") {
                "probe" => Policy::Probe,
                _ => Policy::Counter,
            },
            individual: integer("individualcounter"),
            global: integer("globalcounter"),
            host: without_brackets(values.text("analyzer", "relayhost")).to_owned(),
            port: u16::try_from(integer("relayport")).unwrap_or(0),
            max_recipients: usize::try_from(integer("relaymaxrcpt")).unwrap_or(1),
            deny: values.list("analyzer", "relaydeny"),
            tokens: values.list("analyzer", "probetokens"),
            own_names: super::own_names(hostname),
            hostname: hostname.to_owned(),
        }
    }

    /// The mail server, as `host:port`.
    pub fn server(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Relaying is never begun in silence, nor is another machine written to; `notices` go to the
    /// same server.
    pub(super) fn warn(&self, notices: bool, warnings: &mut Vec<String>) {
        if self.on {
            let which = match self.policy {
                Policy::Counter => "",
                Policy::Probe => ", of those that look like a test of the relay,",
            };
            warnings.push(format!(
                "relay : True: up to {} copies of a spam and {} spams a window{which} are sent on \
                 to {}",
                self.individual,
                self.global,
                self.server()
            ));
        }
        let ignored = |token: &&String| !probe::is_looked_for(token);
        for token in self.tokens.iter().filter(ignored) {
            warnings.push(format!(
                "probetokens : {} is too short, or an address that every machine has: it is not \
                 looked for",
                escape::line(token)
            ));
        }
        if (self.on || notices) && !is_loopback(&self.host) {
            warnings.push(format!(
                "relayhost : {} is not on loopback: mail goes to another machine, unencrypted; \
                 under systemd the analyzer's unit must allow its address (IPAddressAllow)",
                self.host
            ));
        }
    }
}

/// An address of IPv6 as it stands alone: `[::1]` is how it stands before a port.
fn without_brackets(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = inner.filter(|inner| inner.parse::<Ipv6Addr>().is_ok());
    address.unwrap_or(host)
}

/// Whether a host is surely this machine. Another name may be anybody's tomorrow.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}
