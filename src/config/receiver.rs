//! `[receiver]`, typed: where the receiver listens, and as what.

use std::path::PathBuf;
use std::time::Duration;

use super::values::Values;
use crate::receiver::{Limits, Pair};
use crate::smtp::{self, Auth, Personality};

/// `[receiver]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Host names and addresses to listen on, one at least.
    pub listenhost: Vec<String>,
    /// TCP ports to listen on, each at every host.
    pub listenport: Vec<u16>,
    /// TCP ports where TLS comes before SMTP.
    pub tlslistenport: Vec<u16>,
    /// The certificate and its key; without them a pair is made at start.
    pub tls: Option<Pair>,
    /// The name this sensor goes by in records.
    pub sensorname: String,
    /// The name the SMTP greeting gives.
    pub hostname: String,
    /// The mail server that is played.
    pub personality: Personality,
    /// Largest message taken, in bytes.
    pub maxmessagesize: u64,
    /// Where sessions are recorded, if they are.
    pub sessionlog: Option<PathBuf>,
    /// Most recipients of a message.
    pub maxrecipients: usize,
    /// What one session may do.
    pub session: smtp::Limits,
    /// What is borne from all clients and from one.
    pub limits: Limits,
    /// Who may log in, and who must.
    pub auth: Auth,
}

impl Receiver {
    pub(super) fn read(values: &Values, hostname: String, auth: Auth) -> Result<Receiver, String> {
        let listenport = values.ports("receiver", "listenport");
        let tlslistenport = values.ports("receiver", "tlslistenport");
        if let Some(both) = listenport.iter().find(|port| tlslistenport.contains(port)) {
            return Err(format!(
                "[receiver] listenport and tlslistenport have {both} both; take it from one"
            ));
        }
        Ok(Receiver {
            listenhost: values.list("receiver", "listenhost"),
            listenport,
            tlslistenport,
            tls: pair(values)?,
            sensorname: values.text("receiver", "sensorname").to_owned(),
            hostname,
            personality: Personality::named(values.text("receiver", "personality"))
                .unwrap_or_default(),
            maxmessagesize: values.integer("receiver", "maxmessagesize"),
            maxrecipients: size(values, "maxrecipients"),
            session: session(values),
            limits: limits(values),
            sessionlog: values.path_or_none("receiver", "sessionlog"),
            auth,
        })
    }
}

fn pair(values: &Values) -> Result<Option<Pair>, String> {
    let path = |name| values.path_or_none("receiver", name);
    let (lone, missing) = match (path("tlscert"), path("tlskey")) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => return Ok(Some(Pair { certificate, key })),
        (Some(_), None) => ("tlscert", "tlskey"),
        (None, Some(_)) => ("tlskey", "tlscert"),
    };
    Err(format!(
        "[receiver] {lone} is set and {missing} is not; set both, or neither"
    ))
}

fn session(values: &Values) -> smtp::Limits {
    let count = |name| u32::try_from(values.integer("receiver", name)).unwrap_or(u32::MAX);
    smtp::Limits {
        line: size(values, "maxline"),
        commands: count("maxcommands"),
        errors: count("maxerrors"),
        messages: count("maxmessages"),
    }
}

fn limits(values: &Values) -> Limits {
    let seconds = |name| Duration::from_secs(values.integer("receiver", name));
    Limits {
        sessions: size(values, "maxsessions"),
        sessions_per_address: size(values, "maxsessionsperaddress"),
        greet: seconds("greettimeout"),
        idle: seconds("idletimeout"),
        command: seconds("commandtimeout"),
        data: seconds("datatimeout"),
        rate: values.integer("receiver", "minrate"),
        rate_grace: seconds("minrategrace"),
        memory: size(values, "maxmemory"),
        disk_free: values.integer("receiver", "mindiskfree"),
    }
}

fn size(values: &Values, name: &'static str) -> usize {
    usize::try_from(values.integer("receiver", name)).unwrap_or(usize::MAX)
}
