//! Every key of `shiva.conf`: its section, its kind and range, and its default.
//!
//! This table is the one place a key is declared. The shipped `etc/shiva.conf` and the man page
//! shiva.conf(5) name the same keys with the same defaults, and a test holds the three together.

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 1/yes/true/on or 0/no/false/off.
    Bool,
    /// Any one line of text; empty means not set.
    Text,
    /// A comma-separated list; empty means none.
    List,
    /// A comma-separated list of domains, in ASCII; empty means none.
    Domains,
    /// A host name or address.
    Host,
    /// A host name or address; empty means not set.
    HostOrNone,
    /// A comma-separated list of host names and addresses, one at least.
    Hosts,
    /// A comma-separated list of TCP ports, one at least.
    Ports,
    /// A comma-separated list of TCP ports; empty means none.
    PortsOrNone,
    /// A whole number within these bounds, both allowed.
    Integer(u64, u64),
    /// An absolute path; `somepath` means not set.
    Path,
    /// An absolute path; empty means none.
    PathOrNone,
    /// The name of a database: letters, digits, `_`, `-` and `$`, at most 50 of them.
    Name,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// What is allowed, as an error message says it.
    pub fn allowed(&self) -> String {
        match self {
            Kind::Bool => "True or False (also 1/0, yes/no, on/off)".into(),
            Kind::Text => "one line of text".into(),
            Kind::List => "a comma-separated list".into(),
            Kind::Domains => {
                "a comma-separated list of domains in ASCII, as example.net or xn--...".into()
            }
            Kind::Host => "one host name or address, without white space".into(),
            Kind::HostOrNone => "one host name or address, without white space, or nothing".into(),
            Kind::Hosts => "one or more host names or addresses, separated by commas".into(),
            Kind::Ports => "one or more whole numbers from 1 to 65535, separated by commas".into(),
            Kind::PortsOrNone => {
                "whole numbers from 1 to 65535, separated by commas, or nothing".into()
            }
            Kind::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Kind::Path => "an absolute path".into(),
            Kind::PathOrNone => "an absolute path, or nothing".into(),
            Kind::Name => "at most 50 letters, digits, _, - or $".into(),
            Kind::Choice(words) => words.join(" or "),
        }
    }
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The section it stands in.
    pub section: &'static str,
    /// Its name, lower case.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What holds where no file sets it.
    pub default: &'static str,
}

const fn key(section: &'static str, name: &'static str, kind: Kind, default: &'static str) -> Key {
    Key {
        section,
        name,
        kind,
        default,
    }
}

use Kind::{
    Bool, Choice, Domains, Host, HostOrNone, Hosts, Integer, List, Name, Path, PathOrNone, Ports,
    PortsOrNone, Text,
};

const PORT: Kind = Integer(1, 65_535);
const COUNT: Kind = Integer(1, 1_000_000);
/// At most a day.
const SECONDS: Kind = Integer(1, 86_400);
const PERCENT: Kind = Integer(1, 100);

/// The table. Sizes in bytes, times in minutes or, at the receiver, in seconds, similarities in
/// points of an ssdeep score.
pub const KEYS: &[Key] = &[
    key("global", "queuepath", Path, "/var/lib/shiva/queue"),
    key("global", "log", Choice(&["stderr", "syslog"]), "stderr"),
    key("receiver", "listenhost", Hosts, "localhost"),
    key("receiver", "listenport", Ports, "25"),
    key("receiver", "tlslistenport", PortsOrNone, ""),
    key("receiver", "tlscert", PathOrNone, ""),
    key("receiver", "tlskey", PathOrNone, ""),
    key("receiver", "sensorname", Text, "shiva"),
    key("receiver", "hostname", HostOrNone, ""),
    key(
        "receiver",
        "personality",
        Choice(&["postfix", "exim", "sendmail"]),
        "postfix",
    ),
    key(
        "receiver",
        "maxmessagesize",
        Integer(65_536, 100 << 20),
        "26214400",
    ),
    key("receiver", "maxsessions", COUNT, "1000"),
    key("receiver", "maxsessionsperaddress", COUNT, "250"),
    key("receiver", "maxmessages", COUNT, "10000"),
    key("receiver", "maxrecipients", Integer(1, 10_000), "1000"),
    key("receiver", "maxcommands", COUNT, "1000"),
    key("receiver", "maxerrors", COUNT, "100"),
    key("receiver", "maxline", Integer(512, 65_536), "2048"),
    key("receiver", "greettimeout", SECONDS, "300"),
    key("receiver", "idletimeout", SECONDS, "300"),
    key("receiver", "commandtimeout", SECONDS, "600"),
    key("receiver", "datatimeout", SECONDS, "3600"),
    key("receiver", "minrate", Integer(0, 1_000_000), "10"),
    key("receiver", "minrategrace", SECONDS, "60"),
    key(
        "receiver",
        "maxmemory",
        Integer(1 << 20, 1 << 40),
        "268435456",
    ),
    key("receiver", "mindiskfree", Integer(0, 1 << 50), "104857600"),
    key("receiver", "authenabled", Bool, "False"),
    key("receiver", "smtpuser", List, ""),
    key("receiver", "smtppasswd", List, ""),
    key(
        "receiver",
        "authaccept",
        Choice(&["listed", "any", "none"]),
        "listed",
    ),
    key("receiver", "sessionlog", PathOrNone, ""),
    key("analyzer", "name", Text, ""),
    key("analyzer", "relay", Bool, "False"),
    key("analyzer", "globalcounter", Integer(0, 1_000_000), "30"),
    key("analyzer", "individualcounter", Integer(0, 1_000_000), "3"),
    key("analyzer", "relayhost", Host, "127.0.0.1"),
    key("analyzer", "relayport", PORT, "2500"),
    key("analyzer", "relaymaxrcpt", Integer(1, 1000), "3"),
    key(
        "analyzer",
        "relaypolicy",
        Choice(&["counter", "probe"]),
        "counter",
    ),
    key("analyzer", "probetokens", List, ""),
    key("analyzer", "relaydeny", Domains, ""),
    key(
        "analyzer",
        "undeliverable_path",
        Path,
        "/var/lib/shiva/undeliverable",
    ),
    key("analyzer", "schedulertime", Integer(1, 10_080), "60"),
    key("analyzer", "rawspampath", Path, "/var/lib/shiva/rawspam"),
    key("analyzer", "attachpath", Path, "/var/lib/shiva/attachment"),
    key("analyzer", "inlinepath", Path, "/var/lib/shiva/inline"),
    key("analyzer", "similarity", PERCENT, "75"),
    key("analyzer", "similaritynotext", PERCENT, "85"),
    key("analyzer", "similaritymain", PERCENT, "80"),
    key("analyzer", "lengthtolerance", Integer(0, 99), "10"),
    key("analyzer", "minimumbody", Integer(0, 1_000_000), "150"),
    key("database", "localdb", Bool, "True"),
    key("database", "engine", Choice(&["mysql", "sqlite"]), "mysql"),
    key("database", "path", Path, "/var/lib/shiva/db"),
    key("database", "host", Text, "localhost"),
    key("database", "port", PORT, "3306"),
    key("database", "socket", PathOrNone, ""),
    key("database", "user", Text, "root"),
    key("database", "password", Text, "password"),
    key("database", "maindb", Name, "Shiva"),
    key("database", "tempdb", Name, "ShivaTemp"),
    key("database", "tls", Choice(&["off", "on", "verify"]), "off"),
    key("hpfeeds", "enabled", Bool, "False"),
    key("hpfeeds", "host", Text, ""),
    key("hpfeeds", "port", PORT, "10000"),
    key("hpfeeds", "ident", Text, ""),
    key("hpfeeds", "secret", Text, ""),
    key("hpfeeds", "hpfeedspam", Path, "/var/lib/shiva/hpfeeds/spam"),
    key(
        "hpfeeds",
        "hpfeedattach",
        Path,
        "/var/lib/shiva/hpfeeds/attachment",
    ),
    key("hpfeeds", "tls", Bool, "False"),
    key("hpfeeds", "cafile", PathOrNone, ""),
    key(
        "hpfeeds",
        "outboxpath",
        Path,
        "/var/lib/shiva/hpfeeds/outbox",
    ),
    key("hpfeeds", "outboxmax", Integer(1, 1_000_000), "1024"),
    key(
        "hpfeeds",
        "pseudonyms",
        Choice(&["none", "recipients"]),
        "recipients",
    ),
    key(
        "hpfeeds",
        "pseudonymkey",
        Path,
        "/var/lib/shiva/hpfeeds/pseudonym.key",
    ),
    key("notification", "enabled", Bool, "False"),
    key("notification", "sender", Text, ""),
    key("notification", "recipient", Text, ""),
];

/// The declaration of a key, if there is one.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter()
        .find(|key| key.section == section && key.name == name)
}

/// The section that old files may keep the SMTP AUTH keys in; they count as `[receiver]`.
pub const SMTPAUTH: &str = "smtpauth";

/// The keys that may stand in `[smtpauth]`.
pub const SMTPAUTH_KEYS: &[&str] = &["authenabled", "smtpuser", "smtppasswd"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_declared_twice() {
        for (i, a) in KEYS.iter().enumerate() {
            for b in &KEYS[..i] {
                assert!((a.section, a.name) != (b.section, b.name), "{a:?}");
            }
        }
    }
}
