//! What is done with what is received: it is read, printed, kept and gathered.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::gather::Gatherer;
use super::keep::{Keeper, Kind, NotKept};
use super::line;
use super::queue::{Next, Queue};
use super::rarely::Rarely;
use super::stop::Stop;
use super::{LOOK_EVERY, say};
use crate::exit::{Exit, Failure};
use crate::hpfeeds::Message;
use crate::hpfeeds::received::{self, File, Received, Refused};

/// What went wrong with what was received.
#[derive(Default)]
struct Mishaps {
    pickles: Rarely,
    unfit: Rarely,
    not_kept: Rarely,
    /// All that were not kept, in all outages of the disk.
    never_kept: u64,
}

impl Mishaps {
    fn refused(&mut self, message: &Message, refused: &Refused) {
        let rarely = match refused {
            Refused::Pickle => &mut self.pickles,
            Refused::Unfit(_) => &mut self.unfit,
        };
        if rarely.happened(Instant::now()) {
            let (channel, ident, times) = (&message.channel, &message.ident, rarely.times);
            say(&format!(
                "refused what {ident} published on {channel}: {refused} ({times} so far)"
            ));
        }
    }

    /// Files were kept or not. A disk that is full may have room for the next.
    fn kept(&mut self, dir: &Path, kept: Result<(), NotKept>) {
        let dir = dir.display();
        match kept {
            Ok(()) => {
                if self.not_kept.over().is_some() {
                    say(&format!("{dir}: files are kept again"));
                }
            }
            Err(NotKept { files, error }) => {
                self.never_kept += files;
                if self.not_kept.happened(Instant::now()) {
                    let files = self.never_kept;
                    say(&format!(
                        "{dir}: cannot keep what was received: {error}; files that were not kept so \
                         far: {files}; the next is tried again"
                    ));
                }
            }
        }
    }

    fn sum_up(&self) {
        let refused = self.pickles.times + self.unfit.times;
        if refused > 0 {
            say(&format!("payloads that were refused: {refused}"));
        }
        if self.never_kept > 0 {
            say(&format!("files that were not kept: {}", self.never_kept));
        }
    }
}

/// Works on what is received.
pub(super) struct Receiving {
    out: BufWriter<Stdout>,
    json: bool,
    keeper: Option<Keeper>,
    gatherer: Option<Gatherer>,
    mishaps: Mishaps,
}

impl Receiving {
    /// Prints text or JSON, and keeps files and gathers records where somebody does.
    pub(super) fn new(json: bool, keeper: Option<Keeper>, gatherer: Option<Gatherer>) -> Receiving {
        Receiving {
            out: BufWriter::new(io::stdout()),
            json,
            keeper,
            gatherer,
            mishaps: Mishaps::default(),
        }
    }

    /// Works until it is to stop, or nobody reads what is printed.
    pub(super) fn work(mut self, queue: &Queue<Message>, stop: &Stop) -> Result<(), Failure> {
        let mut printed = Ok(());
        while printed.is_ok() {
            printed = match queue.next(Duration::ZERO) {
                Next::Item(message) => self.receive(&message),
                Next::Closed => break,
                Next::Nothing if stop.is_set() => break,
                Next::Nothing => self.settle().and_then(|()| match queue.next(LOOK_EVERY) {
                    Next::Item(message) => self.receive(&message),
                    Next::Nothing | Next::Closed => Ok(()),
                }),
            };
        }
        let printed = printed.and(self.settle());
        self.mishaps.sum_up();
        let gathered = self.gatherer.map_or(Ok(()), Gatherer::finish);
        match printed {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                let what = format!("cannot write to standard output: {error}");
                Err(Failure::new(Exit::Io, what))
            }
            _ => gathered,
        }
    }

    /// Prints a message and does with it what is wanted. Fails when it cannot be printed.
    fn receive(&mut self, message: &Message) -> io::Result<()> {
        let received = match received::read(&message.channel, &message.payload) {
            Ok(received) => received,
            Err(refused) => {
                self.mishaps.refused(message, &refused);
                return Ok(());
            }
        };
        let line = match self.json {
            true => line::json(message).unwrap_or_default(),
            false => line::text(message, &received),
        };
        self.out.write_all(line.as_bytes())?;
        match &received {
            Received::Record(record) => {
                if let Some(gatherer) = &mut self.gatherer {
                    gatherer.add(message, record);
                }
            }
            Received::Sample(file) => self.keep(message, Kind::Sample, file),
            Received::Attachment(file) => self.keep(message, Kind::Attachment, file),
            _ => {}
        }
        Ok(())
    }

    /// Keeps a file, where files are kept.
    fn keep(&mut self, message: &Message, kind: Kind, file: &File) {
        if let Some(keeper) = &mut self.keeper {
            let kept = keeper.keep(message, kind, file);
            self.mishaps.kept(keeper.path(), kept);
        }
    }

    /// Has all that was printed and kept so far read by whoever looks.
    fn settle(&mut self) -> io::Result<()> {
        if let Some(keeper) = &mut self.keeper {
            let kept = keeper.settle();
            self.mishaps.kept(keeper.path(), kept);
        }
        self.out.flush()
    }
}
