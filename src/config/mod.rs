//! The configuration: `shiva.conf` and `conf.d/*.conf` beside it, read once at start.
//!
//! Three steps, each a file: [`dialect`] reads the text, [`keys`] says what there is, and this
//! module turns values into one typed [`Config`] or into the first [`ConfigError`], which names
//! file, line, section, key, value and what is allowed. Unknown sections and keys are warnings,
//! never refusals: an old file must load. Warnings come back with the result, for the caller to
//! print or to log.

mod auth;
pub mod dialect;
mod hpfeeds;
pub mod keys;
mod notification;
mod receiver;
mod relay;
pub mod reload;
mod values;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::escape;
use crate::exit::{Exit, Failure};
use crate::sameness::Rule;
use crate::store::mysql;
use dialect::Document;
pub use hpfeeds::Hpfeeds;
pub use notification::Notification;
pub use receiver::Receiver;
pub use relay::{Policy, Relay};
use values::Values;

/// Where the configuration is looked for when neither `--config` nor `$SHIVA_CONF` says so.
pub const DEFAULT_FILE: &str = "/etc/shiva/shiva.conf";

/// What is wrong, and where.
#[derive(Debug)]
pub struct ConfigError(String);

impl ConfigError {
    /// An error on a line of a file.
    pub fn at(file: &Path, line: usize, what: impl fmt::Display) -> ConfigError {
        ConfigError(format!("{}:{line}: {what}", file.display()))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::new(Exit::Config, error.to_string())
    }
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error, which systemd hands to the journal.
    Stderr,
    /// The syslog socket, facility mail.
    Syslog,
}

/// Which engine holds the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// MySQL or MariaDB, as ever.
    Mysql,
    /// Embedded databases in `[database] path`.
    Sqlite,
}

/// `[analyzer]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Analyzer {
    /// Where unreadable messages are set aside.
    pub undeliverable_path: PathBuf,
    /// Minutes a window is open.
    pub schedulertime: u64,
    /// Where samples are kept.
    pub rawspampath: PathBuf,
    /// Where attachments are kept.
    pub attachpath: PathBuf,
    /// Where inline parts are kept.
    pub inlinepath: PathBuf,
    /// What makes two spams the same.
    pub rule: Rule,
}

/// `[database]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// Whether there is a main store.
    pub localdb: bool,
    /// The engine of both stores.
    pub engine: Engine,
    /// Directory of the embedded databases.
    pub path: PathBuf,
    /// The server of the others.
    pub server: mysql::Options,
}

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The queue, a maildir.
    pub queuepath: PathBuf,
    /// Where log lines go.
    pub log: LogTarget,
    /// `[receiver]`.
    pub receiver: Receiver,
    /// `[analyzer]`.
    pub analyzer: Analyzer,
    /// The relay keys of `[analyzer]`.
    pub relay: Relay,
    /// `[database]`.
    pub database: Database,
    /// `[hpfeeds]`.
    pub hpfeeds: Hpfeeds,
    /// `[notification]`.
    pub notification: Notification,
    /// What the operator should know, one line each.
    pub warnings: Vec<String>,
    /// Files of `conf.d`, or `conf.d` itself, that this process may not read.
    pub skipped: Vec<PathBuf>,
    /// Every key as it was written.
    values: Values,
}

impl Config {
    /// Reads and checks the configuration: `file` if given, else `$SHIVA_CONF`, else
    /// [`DEFAULT_FILE`].
    pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        let file = match file {
            Some(file) => file.to_owned(),
            None => std::env::var_os("SHIVA_CONF")
                .map_or_else(|| PathBuf::from(DEFAULT_FILE), PathBuf::from),
        };
        let text = std::fs::read(&file).map_err(|error| {
            ConfigError(format!(
                "{}: cannot read the configuration: {error}; give its path with --config FILE",
                file.display()
            ))
        })?;
        let mut document = Document::default();
        document.read(&file, &String::from_utf8_lossy(&text))?;
        let (drop_ins, mut skipped) = drop_ins(&file)?;
        for drop_in in drop_ins {
            match std::fs::read(&drop_in) {
                Ok(text) => document.read(&drop_in, &String::from_utf8_lossy(&text))?,
                // Secrets in conf.d have tighter modes: what this process may not read is not
                // for it.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => skipped.push(drop_in),
                Err(error) => {
                    return Err(ConfigError(format!("{}: {error}", drop_in.display())));
                }
            }
        }
        let mut warnings = values::unknown_keys(&document);
        warnings.extend(values::exposed_secrets(&document, &file)?);
        Config::from_document(file, &document, skipped, warnings)
    }

    /// Says in the log what the operator should know.
    pub fn log_warnings(&self) {
        for warning in &self.warnings {
            log::warn!("event=config.warning text={}", escape::value(warning));
        }
        for file in &self.skipped {
            let file = file.display().to_string();
            log::info!("event=config.skipped file={}", escape::value(&file));
        }
    }

    /// Checks one text as if it were the file `file`, without drop-ins.
    pub fn from_text(file: &Path, text: &str) -> Result<Config, ConfigError> {
        let mut document = Document::default();
        document.read(file, text)?;
        let warnings = values::unknown_keys(&document);
        Config::from_document(file.to_owned(), &document, Vec::new(), warnings)
    }

    fn from_document(
        file: PathBuf,
        document: &Document,
        skipped: Vec<PathBuf>,
        mut warnings: Vec<String>,
    ) -> Result<Config, ConfigError> {
        let values = Values::check(document)?;
        let server = server(&values);
        if server.main.eq_ignore_ascii_case(&server.window) {
            return Err(ConfigError(format!(
                "{}: [database] maindb and tempdb are both {}; they must be two databases",
                file.display(),
                server.main
            )));
        }
        let wrong = |what: String| ConfigError(format!("{}: {what}", file.display()));
        let auth = auth::read(&values, &mut warnings).map_err(wrong)?;
        let integer = |section, key| values.integer(section, key);
        let hostname = match values.text("receiver", "hostname") {
            "" => system_hostname(),
            name => name.to_owned(),
        };
        let notification = Notification::read(&values, &mut warnings);
        let relay = Relay::read(&values, &hostname);
        relay.warn(notification.enabled, &mut warnings);
        let hpfeeds = Hpfeeds::read(&values, skipped.is_empty(), &mut warnings);
        Ok(Config {
            queuepath: values.path("global", "queuepath"),
            log: match values.text("global", "log") {
                "syslog" => LogTarget::Syslog,
                _ => LogTarget::Stderr,
            },
            receiver: Receiver::read(&values, hostname, auth).map_err(wrong)?,
            analyzer: Analyzer {
                undeliverable_path: values.path("analyzer", "undeliverable_path"),
                schedulertime: integer("analyzer", "schedulertime"),
                rawspampath: values.path("analyzer", "rawspampath"),
                attachpath: values.path("analyzer", "attachpath"),
                inlinepath: values.path("analyzer", "inlinepath"),
                rule: values.rule(),
            },
            database: Database {
                localdb: values.bool("database", "localdb"),
                engine: match values.text("database", "engine") {
                    "sqlite" => Engine::Sqlite,
                    _ => Engine::Mysql,
                },
                path: values.path("database", "path"),
                server,
            },
            relay,
            hpfeeds,
            notification,
            file,
            warnings,
            skipped,
            values,
        })
    }
}

/// The server of `engine : mysql`.
fn server(values: &Values) -> mysql::Options {
    let text = |name| values.text("database", name).to_owned();
    mysql::Options {
        host: text("host"),
        port: u16::try_from(values.integer("database", "port")).unwrap_or(0),
        socket: values.path_or_none("database", "socket"),
        user: text("user"),
        password: text("password"),
        tls: match values.text("database", "tls") {
            "on" => mysql::Tls::On,
            "verify" => mysql::Tls::Verify,
            _ => mysql::Tls::Off,
        },
        main: text("maindb"),
        window: text("tempdb"),
        analyzer: analyzer_name(values),
        keep_bodies: values.bool("database", "localdb"),
    }
}

/// The files of `conf.d` beside the configuration, in name order, and what of it this process may
/// not even look at: the directory, or files in it. None when there is no such directory.
fn drop_ins(file: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ConfigError> {
    let directory = file.parent().unwrap_or(Path::new("")).join("conf.d");
    let failed = |path: &Path, error| ConfigError(format!("{}: {error}", path.display()));
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Ok((Vec::new(), Vec::new())),
                ErrorKind::PermissionDenied => Ok((Vec::new(), vec![directory])),
                _ => Err(failed(&directory, error)),
            };
        }
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(&directory, error))?;
    // As a shell's *.conf: no dot-files, and files only.
    names.retain(|path| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.ends_with(b".conf") && !name.starts_with(b".")
    });
    names.sort();
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    for path in names {
        match path.metadata() {
            Ok(metadata) if metadata.is_file() => files.push(path),
            // A link to what is gone is left alone, as ever.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => skipped.push(path),
            Err(error) => return Err(failed(&path, error)),
        }
    }
    Ok((files, skipped))
}

/// The analyzer's name: its own, else that of the machine.
fn analyzer_name(values: &Values) -> String {
    match values.text("analyzer", "name") {
        "" => system_hostname(),
        name => name.to_owned(),
    }
}

/// Where Debian's mail servers have the domain of this machine's mailboxes.
const MAILNAME: &str = "/etc/mailname";

/// Names under which a mail server of this machine may take mail for mailboxes of its own.
fn own_names(hostname: &str) -> Vec<String> {
    let mailname = std::fs::read_to_string(MAILNAME).unwrap_or_default();
    let names = [hostname, &system_hostname(), mailname.trim()].map(str::to_owned);
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

fn system_hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests;
