//! `shiva import`: puts stored spam into the queue.
//!
//! Takes files, directories (and what is in them), maildirs and mboxes, each perhaps gzipped. A
//! file is one message when its name ends in `.eml` or `.txt`, is a queue file's, or lies in a
//! maildir; else its beginning tells whether it is an mbox. A message keeps its bytes, but for a
//! `From ` line before it and the mark that its envelope line, where it has one, was imported; its
//! time is that of its `From ` line, else its file's; a file under a name of the first SHIVA keeps
//! what the name says. Every message is durable in the queue before it is counted as imported.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::mbox::{self, Event};
use super::report::grouped;
use crate::analyzer::worker::FILE_MAX;
use crate::config::Config;
use crate::envelope;
use crate::exit::{Exit, Failure};
use crate::queue::spool::Handle;
use crate::queue::{Form, Incoming, Maildir, Origin, QueueName, Spool, SpoolError, Ticket};
use crate::timestamp::Timestamp;

/// Messages on their way into the queue at once.
const UNDER_WAY: usize = 256;

/// Bytes of input held at once.
const BUFFER: usize = 128 * 1024;

/// Imports the paths and says what it did.
pub fn run(config: &Config, paths: &[PathBuf]) -> Result<(), Failure> {
    let files = files(paths)?;
    let maildir = Maildir::open(&config.queuepath).map_err(|error| {
        let queue = config.queuepath.display();
        Failure::new(
            Exit::CantCreate,
            format!("the queue {queue}: {error}; run this as root, or as a user who may write it"),
        )
    })?;
    let spool = Spool::start_import(maildir)
        .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    let mut import = Import::new(spool.handle(), files.iter().map(|(_, size)| size).sum());
    let result = files.iter().try_for_each(|(path, _)| import.file(path));
    let result = result.and_then(|()| import.wait_for(0));
    import.bar.finish_and_clear();
    let (imported, skipped) = (import.imported, import.skipped);
    drop(import);
    spool.finish();
    let messages = match imported {
        1 => "1 message".to_owned(),
        more => format!("{} messages", grouped(more)),
    };
    match result {
        Ok(()) if skipped > 0 => {
            let what =
                format!("{messages} imported; {skipped} files could not be read (see above)");
            Err(Failure::new(Exit::NoInput, what))
        }
        Ok(()) => super::print(format!("{messages} imported\n").as_bytes()),
        Err(failure) => Err(Failure::new(
            failure.exit,
            format!("{}; {messages} imported before", failure.message),
        )),
    }
}

/// The regular files among the paths and under them, with their sizes. What a maildir's `tmp/`
/// holds is unfinished and left out, as are dot-files, symlinks met on the way, and the reasons
/// beside undeliverable messages.
fn files(paths: &[PathBuf]) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let failed =
            |error: io::Error| Failure::new(Exit::NoInput, format!("{}: {error}", path.display()));
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() {
            walk(path, &mut files).map_err(failed)?;
        } else {
            files.push((path.clone(), metadata.len()));
        }
    }
    Ok(files)
}

fn walk(directory: &Path, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    let in_maildir = is_maildir(directory);
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            // A maildir's folders are dot-directories; its tmp/ holds what is unfinished.
            let unfinished = in_maildir && name == "tmp";
            if !unfinished && (!hidden || is_maildir(&path)) {
                walk(&path, files)?;
            }
        } else if metadata.is_file() && !hidden && !is_reason(&path) {
            files.push((path, metadata.len()));
        }
    }
    Ok(())
}

/// What lies beside an undeliverable message that was set aside.
fn is_reason(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "reason") && path.with_extension("eml").exists()
}

type Answer = Result<Ticket, SpoolError>;

struct Import {
    spool: Handle,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    under_way: usize,
    imported: u64,
    skipped: u64,
    bar: ProgressBar,
}

impl Import {
    fn new(spool: Handle, bytes: u64) -> Import {
        let style = ProgressStyle::with_template(
            "{bar:40} {bytes} of {total_bytes}, {msg} messages, {eta} left",
        );
        let bar = ProgressBar::new(bytes);
        Import {
            spool,
            answers: mpsc::channel(),
            under_way: 0,
            imported: 0,
            skipped: 0,
            bar: match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            },
        }
    }

    /// Imports one file. One that cannot be read is said and skipped.
    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        match self.read(path) {
            Ok(()) => Ok(()),
            Err(Trouble::Queue(failure)) => Err(failure),
            Err(Trouble::Input(error)) => {
                self.skipped += 1;
                let line = format!("{}: {error}", path.display());
                self.bar
                    .suspend(|| eprintln!("shiva: {}", crate::escape::line(&line)));
                Ok(())
            }
        }
    }

    fn read(&mut self, path: &Path) -> Result<(), Trouble> {
        let file = File::open(path)?;
        let modified = file.metadata()?.modified()?;
        let kind = Kind::of(path);
        let counted = self.bar.wrap_read(file);
        let mut input = BufReader::with_capacity(BUFFER, counted);
        if input.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
            let unpacked = MultiGzDecoder::new(input);
            self.messages(BufReader::with_capacity(BUFFER, unpacked), modified, kind)
        } else {
            self.messages(input, modified, kind)
        }
    }

    fn messages(
        &mut self,
        mut input: impl BufRead,
        modified: SystemTime,
        kind: Kind,
    ) -> Result<(), Trouble> {
        let postmark = mbox::is_mbox(input.fill_buf()?);
        match kind {
            Kind::One(origin) => {
                if postmark {
                    // Some stores lead even a single message with a `From ` line.
                    input.skip_until(b'\n')?;
                }
                self.message(input, modified, origin)
            }
            Kind::Any if !postmark => self.message(input, modified, None),
            Kind::Any => self.mbox(input, modified),
        }
    }

    fn message(
        &mut self,
        mut input: impl BufRead,
        modified: SystemTime,
        origin: Option<Origin>,
    ) -> Result<(), Trouble> {
        let mut message = self.begin(modified, origin);
        loop {
            let bytes = input.fill_buf()?;
            if bytes.is_empty() {
                return self.commit(message);
            }
            let read = bytes.len();
            message.push(bytes)?;
            input.consume(read);
        }
    }

    fn mbox(&mut self, input: impl BufRead, modified: SystemTime) -> Result<(), Trouble> {
        let mut current: Option<Imported> = None;
        mbox::read(input, |event| -> Result<(), Trouble> {
            match (event, &mut current) {
                (Event::Begin(at), _) => {
                    let at = at.map_or(modified, system_time);
                    let next = self.begin(at, None);
                    current
                        .replace(next)
                        .map_or(Ok(()), |done| self.commit(done))
                }
                (Event::Bytes(bytes), Some(message)) => message.push(bytes),
                (Event::Bytes(_), None) => Ok(()),
            }
        })?;
        current.map_or(Ok(()), |done| self.commit(done))
    }

    fn begin(&self, modified: SystemTime, origin: Option<Origin>) -> Imported {
        let mut message = self.spool.incoming(Timestamp::now());
        message.set_modified(modified);
        message.set_origin(origin);
        Imported {
            message,
            start: Some(Vec::new()),
            size: 0,
        }
    }

    fn commit(&mut self, mut imported: Imported) -> Result<(), Trouble> {
        imported.end_start();
        let message = imported.message;
        let answer = self.answers.0.clone();
        let commit = Box::new(move |result| drop(answer.send(result)));
        self.spool.commit(message, commit);
        self.under_way += 1;
        self.wait_for(UNDER_WAY).map_err(Trouble::Queue)
    }

    /// Waits until no more than `most` messages are on their way.
    fn wait_for(&mut self, most: usize) -> Result<(), Failure> {
        while self.under_way > most {
            let Ok(answer) = self.answers.1.recv() else {
                break;
            };
            self.under_way -= 1;
            match answer {
                Ok(_) => self.imported += 1,
                Err(SpoolError::Full) => {
                    let what = "the queue's file system is full";
                    return Err(Failure::new(Exit::CantCreate, what));
                }
                Err(SpoolError::Failed(kind)) => {
                    return Err(Failure::new(
                        Exit::Io,
                        format!("writing to the queue: {kind}"),
                    ));
                }
            }
        }
        self.bar.set_message(grouped(self.imported));
        Ok(())
    }
}

/// What a file's name says it holds.
enum Kind {
    /// One message, whatever stands in it; what a name of the first SHIVA says about it.
    One(Option<Origin>),
    /// A message or an mbox: its beginning tells.
    Any,
}

impl Kind {
    fn of(path: &Path) -> Kind {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let stem = [".eml", ".txt"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let form = QueueName::new(stem.unwrap_or(name)).map(|name| name.form());
        match form {
            Some(Form::Old(origin)) => Kind::One(Some(origin)),
            Some(Form::Own { origin, .. }) => Kind::One(origin),
            _ if stem.is_some() || lies_in_maildir(path) => Kind::One(None),
            _ => Kind::Any,
        }
    }
}

fn lies_in_maildir(path: &Path) -> bool {
    let directory = path.parent().unwrap_or(Path::new(""));
    let within = |name| directory.file_name().is_some_and(|last| last == name);
    (within("new") || within("cur")) && is_maildir(directory.parent().unwrap_or(Path::new("")))
}

fn is_maildir(path: &Path) -> bool {
    path.join("new").is_dir() && path.join("cur").is_dir()
}

/// Why a file was not imported whole.
enum Trouble {
    /// It could not be read.
    Input(io::Error),
    /// The queue could not take it.
    Queue(Failure),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Input(error)
    }
}

/// A message on its way into the queue. An envelope line that it begins with, as samples do, is
/// marked: what it says of a session is not for the relay.
struct Imported {
    message: Incoming,
    /// The beginning, while it may be such a line.
    start: Option<Vec<u8>>,
    size: u64,
}

impl Imported {
    /// Adds bytes to a message that must not grow beyond what the analyzer reads.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.size += bytes.len() as u64;
        if self.size > FILE_MAX {
            let what = format!("a message larger than {FILE_MAX} bytes");
            return Err(Trouble::Input(io::Error::other(what)));
        }
        let Some(start) = &mut self.start else {
            self.write(bytes);
            return Ok(());
        };
        start.extend_from_slice(bytes);
        let is_whole = bytes.contains(&b'\n') || start.len() > envelope::LINE_MAX;
        if is_whole || !envelope::may_begin(start) {
            self.end_start();
        }
        Ok(())
    }

    /// The beginning is known: it goes into the queue.
    fn end_start(&mut self) {
        let start = self.start.take().unwrap_or_default();
        let end = start.iter().position(|byte| *byte == b'\n');
        let (line, rest) = start.split_at(end.map_or(start.len(), |end| end + 1));
        self.write(&envelope::imported(line));
        self.write(rest);
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.message.push(bytes) {
            self.message.flush();
        }
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    let seconds = u64::try_from(at.seconds()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(seconds)
}
