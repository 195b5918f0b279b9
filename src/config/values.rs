//! From entries to values: each key checked against its declaration, and what an old file needs
//! said about it.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::dialect::{Document, Entry};
use super::keys::{self, KEYS, Key, Kind, SMTPAUTH, SMTPAUTH_KEYS};
use crate::sameness::Rule;

/// What a path key of the first SHIVA held until its installer ran; it means "not set".
const PATH_NOT_SET: &str = "somepath";

/// Characters of a database's name: less than a server takes, for the name of a lock is made of it.
const NAME_MAX: usize = 50;

/// Every declared key's value, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    values: HashMap<(&'static str, &'static str), String>,
}

impl Values {
    /// Checks every declared key; the first wrong value is the error.
    pub fn check(document: &Document) -> Result<Values, ConfigError> {
        let mut values = HashMap::new();
        for key in KEYS {
            let value = match entry(document, key)? {
                Some(entry) => checked(key, &entry)?,
                None => key.default.to_owned(),
            };
            values.insert((key.section, key.name), value);
        }
        Ok(Values { values })
    }

    /// Takes over the value of a declared key.
    pub fn take(&mut self, other: &Values, name: (&'static str, &'static str)) {
        self.values
            .insert(name, other.text(name.0, name.1).to_owned());
    }

    /// The value of a declared key as text.
    pub fn text(&self, section: &'static str, name: &'static str) -> &str {
        self.values.get(&(section, name)).map_or("", String::as_str)
    }

    /// The value of a declared boolean.
    pub fn bool(&self, section: &'static str, name: &'static str) -> bool {
        parse_bool(self.text(section, name)).unwrap_or(false)
    }

    /// The value of a declared number.
    pub fn integer(&self, section: &'static str, name: &'static str) -> u64 {
        self.text(section, name).parse().unwrap_or(0)
    }

    /// The value of a declared path.
    pub fn path(&self, section: &'static str, name: &'static str) -> PathBuf {
        PathBuf::from(self.text(section, name))
    }

    /// The value of a declared path that may be none.
    pub fn path_or_none(&self, section: &'static str, name: &'static str) -> Option<PathBuf> {
        let text = self.text(section, name);
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    /// The items of a declared list, in order, without the empty ones.
    pub fn list(&self, section: &'static str, name: &'static str) -> Vec<String> {
        items(self.text(section, name)).map(str::to_owned).collect()
    }

    /// The ports of a declared list, in order.
    pub fn ports(&self, section: &'static str, name: &'static str) -> Vec<u16> {
        items(self.text(section, name)).filter_map(port).collect()
    }

    /// The keys that say what makes two spams the same.
    pub fn rule(&self) -> Rule {
        let points = |name| u32::try_from(self.integer("analyzer", name)).unwrap_or(100);
        Rule {
            similarity: points("similarity"),
            similarity_no_text: points("similaritynotext"),
            similarity_main: points("similaritymain"),
            length_tolerance: points("lengthtolerance"),
            minimum_body: self.integer("analyzer", "minimumbody"),
        }
    }
}

/// A key's entry, looked for in `[smtpauth]` too where it belongs to that old section.
fn entry(document: &Document, key: &Key) -> Result<Option<Entry>, ConfigError> {
    let entry = document.get(key.section, key.name)?;
    if entry.is_none() && key.section == "receiver" && SMTPAUTH_KEYS.contains(&key.name) {
        return document.get(SMTPAUTH, key.name);
    }
    Ok(entry)
}

fn checked(key: &Key, entry: &Entry) -> Result<String, ConfigError> {
    let value = entry.value.trim();
    let right = match key.kind {
        Kind::Bool => parse_bool(value).is_some(),
        Kind::Text => !value.contains('\n'),
        Kind::List => true,
        Kind::Domains => items(value).all(is_domain),
        Kind::Host => is_host(value),
        Kind::HostOrNone => value.is_empty() || is_host(value),
        Kind::Hosts => items(value).count() > 0 && items(value).all(is_host),
        Kind::Ports => items(value).count() > 0 && items(value).all(|item| port(item).is_some()),
        Kind::PortsOrNone => items(value).all(|item| port(item).is_some()),
        Kind::Integer(low, high) => value
            .parse::<u64>()
            .is_ok_and(|number| (low..=high).contains(&number)),
        Kind::Path if value.is_empty() || value == PATH_NOT_SET => {
            return Ok(key.default.to_owned());
        }
        Kind::Path => is_absolute(value),
        Kind::PathOrNone => value.is_empty() || is_absolute(value),
        Kind::Name => is_name(value),
        Kind::Choice(words) => words.contains(&value),
    };
    if right {
        return Ok(value.to_owned());
    }
    Err(ConfigError::at(
        &entry.file,
        entry.line,
        format!(
            "[{}] {} : {value:?} is not allowed; it must be {}",
            key.section,
            key.name,
            key.kind.allowed()
        ),
    ))
}

fn is_absolute(value: &str) -> bool {
    value.starts_with('/') && !value.contains(['\n', '\0'])
}

fn is_name(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte);
    (1..=NAME_MAX).contains(&value.len()) && value.bytes().all(allowed)
}

/// A host name or address: whether it is one of this machine's, the listening will tell.
fn is_host(item: &str) -> bool {
    !item.is_empty() && !item.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',')
}

fn port(item: &str) -> Option<u16> {
    item.parse().ok().filter(|port| *port > 0)
}

/// What stands between the commas of a list, which may go over several lines.
fn items(list: &str) -> impl Iterator<Item = &str> {
    let items = list.split([',', '\n']).map(str::trim);
    items.filter(|item| !item.is_empty())
}

/// The same with the empty ones between commas, for lists whose items have their place.
pub fn items_kept(list: &str) -> impl Iterator<Item = &str> {
    let any = !list.trim().is_empty();
    let lines = list
        .split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let items = lines.flat_map(|line| line.strip_suffix(',').unwrap_or(line).split(','));
    items.map(str::trim).filter(move |_| any)
}

/// A domain as operators write one: `example.net`, also with `@`, `.` or `*.` before it or a dot
/// behind it. In ASCII, for so it stands in an address that may be relayed to.
fn is_domain(item: &str) -> bool {
    let name = item.strip_prefix("*.").unwrap_or(item);
    let name = name.strip_prefix(['@', '.']).unwrap_or(name);
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.bytes().all(allowed)
    };
    name.strip_suffix('.')
        .unwrap_or(name)
        .split('.')
        .all(is_label)
}

fn parse_bool(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Keys that only the analyzer needs and nobody else may know.
const SECRETS: &[(&str, &str)] = &[("database", "password"), ("hpfeeds", "secret")];

/// A warning for each secret that stands in `file` itself, which both services read, or in a
/// drop-in that everybody may read.
pub fn exposed_secrets(document: &Document, file: &Path) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (section, name) in SECRETS {
        let default = keys::find(section, name).map_or("", |key| key.default);
        if let Some(entry) = document.get(section, name)?
            && (entry.file == file || everybody_reads(&entry.file))
            && !["", default].contains(&entry.value.trim())
        {
            warnings.push(format!(
                "{}:{}: [{section}] {name} is a secret, and the receiver reads this file too; \
                 move it to conf.d/secrets.conf, readable by the analyzer only",
                entry.file.display(),
                entry.line
            ));
        }
    }
    Ok(warnings)
}

fn everybody_reads(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|metadata| metadata.mode() & 0o004 != 0)
}

/// A warning for each section and key that nothing declares.
pub fn unknown_keys(document: &Document) -> Vec<String> {
    let known = |section: &str, name: &str| {
        keys::find(section, name).is_some() || section == SMTPAUTH && SMTPAUTH_KEYS.contains(&name)
    };
    let mut unknown: Vec<(&Entry, String)> = document
        .entries()
        .filter(|(section, name, _)| !known(section, name))
        .map(|(section, name, entry)| {
            let at = format!("{}:{}", entry.file.display(), entry.line);
            (
                entry,
                format!("{at}: [{section}] {name} is not a key of SHIVA: ignored"),
            )
        })
        .collect();
    unknown.sort_by(|(a, _), (b, _)| (&a.file, a.line).cmp(&(&b.file, b.line)));
    let mut sections: Vec<&str> = document
        .sections()
        .filter(|name| *name != SMTPAUTH && KEYS.iter().all(|key| key.section != *name))
        .collect();
    sections.sort_unstable();
    let sections = sections
        .into_iter()
        .map(|name| format!("[{name}] is not a section of SHIVA: ignored"));
    sections
        .chain(unknown.into_iter().map(|(_, warning)| warning))
        .collect()
}
