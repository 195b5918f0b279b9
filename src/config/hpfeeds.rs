//! `[hpfeeds]`, typed: the broker, and what is shared of what.

use std::path::PathBuf;

use super::values::Values;
use crate::hpfeeds::Broker;
use crate::hpfeeds::connection::Encryption;

/// What is shared, and with whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Hpfeeds {
    /// Whether anything is shared: it is switched on, and there is a broker.
    pub enabled: bool,
    /// The broker's host.
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
    pub(super) fn read(values: &Values) -> Hpfeeds {
        let text = |name| values.text("hpfeeds", name).to_owned();
        Hpfeeds {
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
