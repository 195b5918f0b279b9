//! `[receiver]`, typed: where the receiver listens, and as what.

use std::path::PathBuf;

use super::values::Values;
use crate::smtp::Auth;

/// `[receiver]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Host names and addresses to listen on, one at least.
    pub listenhost: Vec<String>,
    /// TCP ports to listen on, each at every host.
    pub listenport: Vec<u16>,
    /// The name this sensor goes by in records.
    pub sensorname: String,
    /// The name the SMTP greeting gives.
    pub hostname: String,
    /// Largest message taken, in bytes.
    pub maxmessagesize: u64,
    /// Where sessions are recorded, if they are.
    pub sessionlog: Option<PathBuf>,
    /// Who may log in, and who must.
    pub auth: Auth,
}

impl Receiver {
    pub(super) fn read(values: &Values, hostname: String, auth: Auth) -> Receiver {
        Receiver {
            listenhost: values.list("receiver", "listenhost"),
            listenport: values.ports("receiver", "listenport"),
            sensorname: values.text("receiver", "sensorname").to_owned(),
            hostname,
            maxmessagesize: values.integer("receiver", "maxmessagesize"),
            sessionlog: values.path_or_none("receiver", "sessionlog"),
            auth,
        }
    }
}
