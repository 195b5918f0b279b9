//! The command lines of the four programs: what may be given, and where it leads.
//!
//! Every program takes `--config FILE` (before or after a subcommand) and `--check-config`, and
//! exits with the codes of sysexits(3). The options are declared here and nowhere else; a test
//! holds the man pages and the completions to them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Config, Engine};
use crate::exit::{self, Exit, Failure};
use crate::hpfeeds::codec::STRING_MAX;
use crate::operator::relay::SwitchTo;
use crate::operator::{dbcreate, import, parse, probes, pseudonym, relay, report, show, subscribe};
use crate::privileges::{Keep, become_owner};
use crate::{analyzer, crash, logging, receiver, watchdog};

/// What every program takes.
#[derive(Args, Debug)]
pub struct Common {
    /// Read this configuration [default: $SHIVA_CONF, else /etc/shiva/shiva.conf]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Check the configuration, say what is wrong with it, and exit
    #[arg(long, global = true)]
    check_config: bool,
}

/// Plays an open mail relay and puts every message into the queue.
#[derive(Parser, Debug)]
#[command(name = "shiva-receiver", version)]
pub struct ReceiverCli {
    #[command(flatten)]
    common: Common,
}

/// Finds the distinct spams among what lies in the queue.
#[derive(Parser, Debug)]
#[command(name = "shiva-analyzer", version)]
pub struct AnalyzerCli {
    #[command(flatten)]
    common: Common,
    /// Analyse everything in the queue, close the window, and exit
    #[arg(long)]
    once: bool,
}

/// Makes the stores that SHIVA keeps its findings in.
#[derive(Parser, Debug)]
#[command(name = "shiva-dbcreate", version)]
pub struct DbcreateCli {
    #[command(flatten)]
    common: Common,
    /// Print the SQL that would be executed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What the spam honeypot found.
#[derive(Parser, Debug)]
#[command(name = "shiva", version)]
pub struct ShivaCli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The commands of `shiva`.
#[derive(Subcommand, Debug)]
enum Command {
    /// Totals and the most frequent spams
    Report {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One distinct spam with all that is known of it
    Show {
        /// Its id, or the beginning of it
        id: String,
        /// Print JSON
        #[arg(long, conflicts_with = "raw")]
        json: bool,
        /// Write the sample's bytes exactly as received
        #[arg(long)]
        raw: bool,
    },
    /// Put stored spam into the queue
    Import {
        /// Files, directories, maildirs or mboxes, gzipped or not
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// What was relayed, and what was not; off and on are the kill switch
    Relay {
        /// Switch relaying off or on, at once and for good
        #[arg(value_enum, conflicts_with = "json")]
        switch: Option<SwitchTo>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Recipients that spammers tested the relay with, and what came after
    Probes {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The pseudonyms by which recipients are shared over hpfeeds, and the way back
    Pseudonym {
        /// Find the recipients in the stores that have these pseudonyms
        #[arg(long)]
        reverse: bool,
        /// Addresses, or with --reverse pseudonyms
        #[arg(required = true)]
        addresses: Vec<String>,
    },
    /// What others share over hpfeeds, as it comes
    Subscribe {
        /// Subscribe to this channel; can be repeated [default: the four of SHIVA]
        #[arg(long = "channel", value_name = "CHANNEL", value_parser = channel)]
        channels: Vec<String>,
        /// Keep samples and attachments in this directory
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Add received records to the main store, as if they were found here
        #[arg(long)]
        store: bool,
    },
    /// What the analyzer sees in a message, as JSON; nothing is stored
    Parse {
        /// Messages [default: standard input]
        files: Vec<PathBuf>,
    },
}

/// The programs' command lines, for the test that compares them with the documents.
pub fn commands() -> Vec<clap::Command> {
    vec![
        ReceiverCli::command(),
        AnalyzerCli::command(),
        DbcreateCli::command(),
        ShivaCli::command(),
    ]
}

/// Modes are chosen where a file is made; a caller's umask must not take the group's rights away
/// that receiver and analyzer share files by.
const UMASK: u32 = 0o002;

fn program<T: Parser>(name: &str, run: impl FnOnce(T) -> Result<(), Failure>) -> ExitCode {
    crash::arm();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(UMASK));
    exit::code(name, read().and_then(run))
}

/// `shiva-receiver`.
pub fn receiver() -> ExitCode {
    program("shiva-receiver", |cli: ReceiverCli| {
        if cli.common.check_config {
            return check(&cli.common, receiver::check);
        }
        let Some(config) = service(&cli.common)? else {
            return Ok(());
        };
        become_owner(&[&config.queuepath], Keep::Ports)?;
        receiver::run(&config)
    })
}

/// `shiva-analyzer`.
pub fn analyzer() -> ExitCode {
    program("shiva-analyzer", |cli: AnalyzerCli| {
        let Some(config) = service(&cli.common)? else {
            return Ok(());
        };
        become_owner(&[&config.database.path, &config.queuepath], Keep::Nothing)?;
        let stop = Arc::new(AtomicBool::new(false));
        analyzer::heed_signals(&config, &stop).map_err(no_thread)?;
        analyzer::run(&config, cli.once, &stop)
    })
}

/// `shiva-dbcreate`.
pub fn dbcreate() -> ExitCode {
    program("shiva-dbcreate", |cli: DbcreateCli| {
        match load(&cli.common)? {
            Some(config) => {
                // A server's databases are no files, and it may know its root by being root.
                if config.database.engine == Engine::Sqlite {
                    become_owner(&[&config.database.path], Keep::Nothing)?;
                }
                dbcreate::run(&config, cli.dry_run)
            }
            None => Ok(()),
        }
    })
}

/// `shiva`.
pub fn shiva() -> ExitCode {
    program("shiva", |cli: ShivaCli| operate(&cli))
}

fn operate(cli: &ShivaCli) -> Result<(), Failure> {
    match &cli.command {
        Some(Command::Parse { files }) if !cli.common.check_config => return parse::run(files),
        None if !cli.common.check_config => {
            let what = "give a command; `shiva --help` lists them";
            return Err(Failure::new(Exit::Usage, what));
        }
        _ => {}
    }
    let Some(config) = load(&cli.common)? else {
        return Ok(());
    };
    match &cli.command {
        // Root names the files, wherever they lie.
        Some(Command::Import { .. }) => become_owner(&[&config.queuepath], Keep::Reading)?,
        Some(Command::Relay {
            switch: Some(_), ..
        }) => become_owner(&[&config.queuepath], Keep::Nothing)?,
        _ => become_owner(&[&config.database.path, &config.queuepath], Keep::Nothing)?,
    }
    match &cli.command {
        Some(Command::Report { json }) => report::run(&config, *json),
        Some(Command::Show { id, json: true, .. }) => show::run(&config, id, show::Form::Json),
        Some(Command::Show { id, raw: true, .. }) => show::run(&config, id, show::Form::Raw),
        Some(Command::Show { id, .. }) => show::run(&config, id, show::Form::Text),
        Some(Command::Relay {
            switch: Some(to), ..
        }) => relay::switch(&config, *to),
        Some(Command::Relay { json, .. }) => relay::run(&config, *json),
        Some(Command::Probes { json }) => probes::run(&config, *json),
        Some(Command::Pseudonym { reverse, addresses }) => {
            pseudonym::run(&config, addresses, *reverse)
        }
        Some(Command::Subscribe {
            channels,
            dir,
            json,
            store,
        }) => {
            let wanted = subscribe::Wanted {
                channels: channels.clone(),
                dir: dir.clone(),
                json: *json,
                store: *store,
            };
            subscribe::run(&config, &wanted)
        }
        Some(Command::Import { paths }) => import::run(&config, paths),
        Some(Command::Parse { .. }) | None => Ok(()),
    }
}

/// The name of a channel, as the protocol has it.
fn channel(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("a channel has a name".into()),
        1..=STRING_MAX => Ok(text.to_owned()),
        _ => Err(format!("a channel's name has at most {STRING_MAX} bytes")),
    }
}

/// Reads the command line. Help and version go to standard output and end the process; what is
/// wrong is usage.
fn read<T: Parser>() -> Result<T, Failure> {
    T::try_parse().map_err(|error| {
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        ) {
            error.exit();
        }
        let text = error.render().to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        Failure::new(Exit::Usage, text)
    })
}

/// Loads a command's configuration; `None` when it was only to be checked.
fn load(common: &Common) -> Result<Option<Config>, Failure> {
    if common.check_config {
        check(common, |_| Ok(None))?;
        return Ok(None);
    }
    Ok(Some(Config::load(common.config.as_deref())?))
}

/// Checks the configuration and what it names, of which a file may be one that the caller may not
/// read, and prints the warnings.
fn check(
    common: &Common,
    named: impl FnOnce(&Config) -> Result<Option<PathBuf>, Failure>,
) -> Result<(), Failure> {
    let config = Config::load(common.config.as_deref())?;
    let unread = named(&config)?;
    for warning in &config.warnings {
        println!("warning: {}", crate::escape::line(warning));
    }
    for file in config.skipped.iter().chain(&unread) {
        println!("not read, for you may not: {}", file.display());
    }
    println!("{}: no error", config.file.display());
    Ok(())
}

fn no_thread(error: std::io::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("cannot start a thread: {error}"))
}

/// Loads a service's configuration, starts its log and puts the warnings there, and begins to
/// tell systemd that it is alive.
fn service(common: &Common) -> Result<Option<Config>, Failure> {
    let Some(config) = load(common)? else {
        return Ok(None);
    };
    logging::start(config.log)?;
    config.log_warnings();
    watchdog::start().map_err(no_thread)?;
    Ok(Some(config))
}
