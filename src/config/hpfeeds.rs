//! `[hpfeeds]`, typed: the broker, what is shared with it, and what is said about that at every
//! start.

use std::path::PathBuf;

use super::relay::is_loopback;
use super::values::Values;
use crate::hpfeeds::Broker;
use crate::hpfeeds::connection::Encryption;

/// The broker that the first SHIVA's file shipped with.
const SHIPPED_BROKER: &str = "hpfriends.honeycloud.net";

/// What is shared, and with whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Hpfeeds {
    /// Whether anything is shared: it is switched on, and there is all that a broker needs.
    pub enabled: bool,
    /// The broker's host; empty when not set.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Our name there.
    pub ident: String,
    /// The secret we share with it.
    pub secret: String,
    /// Where sent samples go.
    pub spam_path: PathBuf,
    /// Where sent attachments and inline parts go.
    pub attach_path: PathBuf,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The authorities that are trusted; the system's where it is not set.
    pub cafile: Option<PathBuf>,
    /// Where what is to be published waits.
    pub outbox: PathBuf,
    /// Bytes that may wait.
    pub outbox_max: u64,
    /// Whether pseudonyms stand for recipients.
    pub pseudonyms: bool,
    /// Their key's file.
    pub pseudonym_key: PathBuf,
}

impl Hpfeeds {
    /// `complete` is whether this process may read every file: to one that may not, a secret that is
    /// missing is no news.
    pub(super) fn read(values: &Values, complete: bool, warnings: &mut Vec<String>) -> Hpfeeds {
        let text = |name| values.text("hpfeeds", name).to_owned();
        let mut hpfeeds = Hpfeeds {
            enabled: values.bool("hpfeeds", "enabled"),
            host: text("host"),
            port: u16::try_from(values.integer("hpfeeds", "port")).unwrap_or(0),
            ident: text("ident"),
            secret: text("secret"),
            spam_path: values.path("hpfeeds", "hpfeedspam"),
            attach_path: values.path("hpfeeds", "hpfeedattach"),
            tls: values.bool("hpfeeds", "tls"),
            cafile: match values.text("hpfeeds", "cafile") {
                "" => None,
                file => Some(PathBuf::from(file)),
            },
            outbox: values.path("hpfeeds", "outboxpath"),
            outbox_max: values.integer("hpfeeds", "outboxmax") << 20,
            pseudonyms: values.text("hpfeeds", "pseudonyms") != "none",
            pseudonym_key: values.path("hpfeeds", "pseudonymkey"),
        };
        hpfeeds.without_the_shipped_broker(warnings);
        hpfeeds.only_with_a_broker(complete, warnings);
        hpfeeds.warn(warnings);
        hpfeeds
    }

    fn without_the_shipped_broker(&mut self, warnings: &mut Vec<String>) {
        if self.host.eq_ignore_ascii_case(SHIPPED_BROKER) {
            warnings.push(format!(
                "[hpfeeds] host {SHIPPED_BROKER} and its shared credentials came with the first \
                 SHIVA and are no more: they count as not set"
            ));
            for part in [&mut self.host, &mut self.ident, &mut self.secret] {
                part.clear();
            }
        }
    }

    fn only_with_a_broker(&mut self, complete: bool, warnings: &mut Vec<String>) {
        if !self.enabled {
            return;
        }
        let needed = [
            ("host", &self.host),
            ("ident", &self.ident),
            ("secret", &self.secret),
        ];
        let missing = needed.iter().filter(|(_, value)| value.is_empty());
        let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
        self.enabled = missing.is_empty();
        if !self.enabled && (complete || missing != ["secret"]) {
            warnings.push(format!(
                "[hpfeeds] enabled : True without {}: nothing is shared",
                missing.join(" and ")
            ));
        }
    }

    /// Sharing with another machine is never begun in silence.
    fn warn(&self, warnings: &mut Vec<String>) {
        if self.cafile.is_some() && !self.tls {
            warnings.push("[hpfeeds] cafile without tls : True: it is not used".into());
        }
        if self.enabled && !is_loopback(&self.host) {
            let (host, how) = (&self.host, if self.tls { "" } else { ", unencrypted" });
            warnings.push(format!(
                "[hpfeeds] host : {host} is not on loopback: what is found goes to another \
                 machine{how}; under systemd the analyzer's unit must allow its address \
                 (IPAddressAllow)"
            ));
        }
        if self.enabled && !self.pseudonyms {
            warnings.push(
                "[hpfeeds] pseudonyms : none: what is shared gives the honeypot's addresses away"
                    .into(),
            );
        }
    }

    /// The broker.
    pub fn broker(&self) -> Broker {
        Broker {
            host: self.host.clone(),
            port: self.port,
            ident: self.ident.clone(),
            secret: self.secret.clone(),
            tls: self.tls.then(|| Encryption {
                authorities: self.cafile.clone(),
            }),
        }
    }
}
