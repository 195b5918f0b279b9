//! `shiva import`: puts stored spam into the queue.
//!
//! Takes files, directories (and what is in them), maildirs and mboxes, each perhaps gzipped. A
//! message keeps its bytes; its time is that of its `From ` line, else its file's; a file under
//! a name of the first SHIVA keeps what the name says. Every message is durable in the queue
//! before it is counted as imported.

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
use crate::exit::{Exit, Failure};
use crate::queue::spool::Handle;
use crate::queue::{Form, Incoming, Maildir, Origin, QueueName, Spool, SpoolError};
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
    let messages = grouped(imported);
    match result {
        Ok(()) if skipped > 0 => {
            let what = format!(
                "{messages} messages imported; {skipped} files could not be read (see above)"
            );
            Err(Failure::new(Exit::NoInput, what))
        }
        Ok(()) => super::print(format!("{messages} messages imported\n").as_bytes()),
        Err(failure) => Err(Failure::new(
            failure.exit,
            format!(
                "{}; {messages} messages were imported before",
                failure.message
            ),
        )),
    }
}

/// The regular files among the paths and under them, with their sizes. What a maildir's `tmp/`
/// holds is unfinished and left out, as are dot-files and symlinks met on the way.
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
    let is_maildir = directory.join("new").is_dir() && directory.join("cur").is_dir();
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let unfinished = is_maildir && name == "tmp";
        if unfinished || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            walk(&entry.path(), files)?;
        } else if metadata.is_file() {
            files.push((entry.path(), metadata.len()));
        }
    }
    Ok(())
}

type Answer = Result<String, SpoolError>;

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
        let metadata = file.metadata()?;
        let modified = metadata.modified()?;
        let origin = path
            .file_name()
            .and_then(|name| QueueName::new(name.to_str()?))
            .and_then(|name| match name.form() {
                Form::Old(origin)
                | Form::Own {
                    origin: Some(origin),
                    ..
                } => Some(origin),
                _ => None,
            });
        let counted = self.bar.wrap_read(file);
        let mut input = BufReader::with_capacity(BUFFER, counted);
        if input.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
            let unpacked = MultiGzDecoder::new(input);
            self.messages(BufReader::with_capacity(BUFFER, unpacked), modified, origin)
        } else {
            self.messages(input, modified, origin)
        }
    }

    fn messages(
        &mut self,
        mut input: impl BufRead,
        modified: SystemTime,
        origin: Option<Origin>,
    ) -> Result<(), Trouble> {
        if !mbox::is_mbox(input.fill_buf()?) {
            let mut message = self.begin(modified, origin);
            let mut size = 0;
            loop {
                let bytes = input.fill_buf()?;
                if bytes.is_empty() {
                    return self.commit(message);
                }
                let read = bytes.len();
                push(&mut message, bytes, &mut size)?;
                input.consume(read);
            }
        }
        let mut current: Option<Incoming> = None;
        let mut size = 0;
        mbox::read(input, |event| -> Result<(), Trouble> {
            match (event, &mut current) {
                (Event::Begin(at), _) => {
                    let at = at.map_or(modified, system_time);
                    let next = self.begin(at, None);
                    size = 0;
                    current
                        .replace(next)
                        .map_or(Ok(()), |done| self.commit(done))
                }
                (Event::Bytes(bytes), Some(message)) => push(message, bytes, &mut size),
                (Event::Bytes(_), None) => Ok(()),
            }
        })?;
        current.map_or(Ok(()), |done| self.commit(done))
    }

    fn begin(&self, modified: SystemTime, origin: Option<Origin>) -> Incoming {
        let mut message = self.spool.incoming(Timestamp::now());
        message.set_modified(modified);
        message.set_origin(origin);
        message
    }

    fn commit(&mut self, message: Incoming) -> Result<(), Trouble> {
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

/// Adds bytes to a message that must not grow beyond what the analyzer reads.
fn push(message: &mut Incoming, bytes: &[u8], size: &mut u64) -> Result<(), Trouble> {
    *size += bytes.len() as u64;
    if *size > FILE_MAX {
        let what = format!("a message larger than {FILE_MAX} bytes");
        return Err(Trouble::Input(io::Error::other(what)));
    }
    if message.push(bytes) {
        message.flush();
    }
    Ok(())
}

fn system_time(at: Timestamp) -> SystemTime {
    let seconds = u64::try_from(at.seconds()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(seconds)
}
