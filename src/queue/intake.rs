//! The way out of the queue: every complete file named to the analyzer, each once.
//!
//! Files are found by inotify as they arrive, and by walking the directories at start, after an
//! overflow of inotify and every minute; a walk is streamed and interleaved with the work, so
//! nothing waits for the whole listing. Regular files only, no symlink followed, dot-files
//! ignored.
//!
//! A [`Claim`] bears a name that can never come again. A file under any other name is first
//! renamed to a fresh one, once it is complete: closed after writing, moved in, or unmodified for
//! [`SETTLED`]; the renames are synced before the claim is given out.
//!
//! A `new/` that has grown is renewed when it is empty (see [`super::renewal`]).
//!
//! One analyzer per queue, held by flock on `.analyzer.lock`. What is in work is written to
//! `.analyzer.work` (see [`super::work`]), so that after a death the suspects are tried alone.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File, ReadDir};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::maildir::{Maildir, RECEIVER_LOCK, lock, named, own_file, sync_directory};
use super::name::{Form, Namer, Origin, QueueName};
use super::renewal;
use super::watch::Watch;
use super::work::Work;
use crate::timestamp::Timestamp;

/// How long a foreign file must be unmodified to count as complete when nobody saw it closed.
pub const SETTLED: Duration = Duration::from_secs(2);

/// How often the directories are walked whatever inotify says.
const WALK_EVERY: Duration = Duration::from_secs(60);

/// How long a suspect is waited for before its end is asked for again.
const SUSPECT_PAUSE: Duration = Duration::from_millis(5);

/// Directory entries looked at before claims are given out.
const WALK_STEP: usize = 1024;

/// A file of the queue, ready to be analysed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name, which never comes again.
    pub name: QueueName,
    /// Where it lies.
    pub path: PathBuf,
    /// What an old name said about it.
    pub origin: Option<Origin>,
    /// It was alone in work at two deaths of the process: set it aside unread.
    pub killer: bool,
    /// It is tried alone: finish it before anything else is claimed.
    pub alone: bool,
}

/// The analyzer's end of the queue.
pub struct Intake {
    maildir: Maildir,
    namer: Namer,
    _lock: File,
    watch: Watch,
    /// Names given out, without flags.
    in_flight: HashSet<String>,
    found: VecDeque<Found>,
    walk: Vec<(PathBuf, ReadDir)>,
    next_walk: Instant,
    next_renewal: Instant,
    unsettled: bool,
    work: Work,
}

/// A directory entry worth a look.
struct Found {
    directory: PathBuf,
    name: QueueName,
    complete: bool,
}

impl Intake {
    /// Takes the lock and starts to watch. `WouldBlock` when another analyzer has the queue.
    pub fn open(maildir: Maildir) -> io::Result<Intake> {
        let lock = lock(&maildir.root().join(".analyzer.lock"))?;
        // The receiver's, which may not make it where the queue is ours.
        own_file(&maildir.root().join(RECEIVER_LOCK))?;
        let work = Work::open(maildir.root())?;
        let mut intake = Intake {
            maildir,
            namer: Namer::new(),
            _lock: lock,
            watch: Watch::new()?,
            in_flight: HashSet::new(),
            found: VecDeque::new(),
            walk: Vec::new(),
            next_walk: Instant::now(),
            next_renewal: Instant::now(),
            unsettled: false,
            work,
        };
        renewal::finish_left(&intake.maildir)?;
        for directory in intake.directories() {
            intake.watch.add(directory)?;
        }
        Ok(intake)
    }

    fn directories(&self) -> [PathBuf; 3] {
        let root = self.maildir.root().to_owned();
        [self.maildir.new_mail(), self.maildir.cur(), root]
    }

    /// Up to `max` files to analyse, as soon as there is one; none when `wait` passed first.
    pub fn claim(&mut self, max: usize, wait: Duration) -> io::Result<Vec<Claim>> {
        let deadline = Instant::now() + wait;
        loop {
            if self.work.has_suspects() {
                if !self.in_flight.is_empty() {
                    std::thread::sleep(SUSPECT_PAUSE.min(wait));
                    return Ok(Vec::new());
                }
                if let Some(claim) = self.claim_suspect()? {
                    return Ok(vec![claim]);
                }
                continue;
            }
            let claims = self.claim_found(max)?;
            if !claims.is_empty() {
                return Ok(claims);
            }
            if self.walk_on() {
                continue;
            }
            // Before the events: a flood of them must not put off the walk that finds what an
            // overflow dropped.
            if Instant::now() >= self.next_walk {
                self.start_walk()?;
                continue;
            }
            if self.read_events()? || self.renew_directory()? {
                // Events that are none of ours may come for ever.
                if self.found.is_empty() && Instant::now() >= deadline {
                    return Ok(Vec::new());
                }
                continue;
            }
            let until = deadline.min(self.next_walk);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            self.watch.wait(left)?;
        }
    }

    /// These are done with: committed and unlinked, or set aside.
    pub fn done<'a>(&mut self, names: impl IntoIterator<Item = &'a QueueName>) -> io::Result<()> {
        for name in names {
            self.in_flight.remove(name.unique());
        }
        self.work.done(&self.in_flight)
    }

    /// These were not done with and lie in the queue as before: they are claimed again at once.
    pub fn release(&mut self, names: &[QueueName]) -> io::Result<()> {
        for name in names {
            let directory = self.maildir.new_mail();
            self.found.push_back(Found {
                directory,
                name: name.clone(),
                complete: false,
            });
        }
        self.postpone(names)
    }

    /// As [`Intake::release`], but claimed again only after [`SETTLED`].
    pub fn postpone(&mut self, names: &[QueueName]) -> io::Result<()> {
        self.next_walk = self.next_walk.min(Instant::now() + SETTLED);
        self.done(names)
    }

    /// Nothing is in work, and a whole walk just now found nothing more and nothing unfinished.
    pub fn is_drained(&mut self) -> io::Result<bool> {
        if !self.in_flight.is_empty() || self.work.has_suspects() {
            return Ok(false);
        }
        if self.found.is_empty() && self.walk.is_empty() {
            self.unsettled = false;
            self.start_walk()?;
            while self.walk_on() {}
        }
        Ok(self.found.is_empty() && !self.unsettled)
    }

    fn claim_suspect(&mut self) -> io::Result<Option<Claim>> {
        let directories = self.directories();
        let lies_in = |name: &QueueName| {
            let mut within = directories.iter();
            within
                .find(|path| path.join(name.as_str()).symlink_metadata().is_ok())
                .cloned()
        };
        let Some((name, directory, killer)) = self.work.next_suspect(lies_in)? else {
            return Ok(None);
        };
        let claim = self.take(Found {
            directory,
            name,
            complete: true,
        })?;
        let claims = self.begin(claim.into_iter().collect(), Ok(()))?;
        Ok(claims.into_iter().next().map(|claim| Claim {
            killer,
            alone: true,
            ..claim
        }))
    }

    fn claim_found(&mut self, max: usize) -> io::Result<Vec<Claim>> {
        let mut claims = Vec::new();
        let mut renamed = HashSet::new();
        let mut trouble = None;
        while claims.len() < max {
            let Some(found) = self.found.pop_front() else {
                break;
            };
            let from = found.directory.clone();
            let name = found.name.clone();
            match self.take(found) {
                Ok(Some(claim)) => {
                    if claim.name != name {
                        renamed.insert(from);
                    }
                    claims.push(claim);
                }
                Ok(None) => {}
                // One file that cannot be renamed holds up no other; a walk meets it again.
                Err(error) => trouble = Some(named(&from.join(name.as_str()), &error)),
            }
        }
        if let Some(error) = trouble {
            self.unsettled = true;
            self.next_walk = self.next_walk.min(Instant::now() + SETTLED);
            if claims.is_empty() {
                return Err(error);
            }
        }
        if !renamed.is_empty() {
            renamed.insert(self.maildir.new_mail());
        }
        let synced = renamed.iter().try_for_each(|path| sync_directory(path));
        self.begin(claims, synced)
    }

    /// Notes that the claims are in work, or takes them back when that or what came before
    /// failed.
    fn begin(&mut self, claims: Vec<Claim>, before: io::Result<()>) -> io::Result<Vec<Claim>> {
        let begun = before.and_then(|()| self.work.begin(claims.iter().map(|claim| &claim.name)));
        match begun {
            Ok(()) => Ok(claims),
            Err(error) => {
                for claim in claims {
                    self.in_flight.remove(claim.name.unique());
                    self.found.push_back(Found {
                        directory: self.maildir.new_mail(),
                        name: claim.name,
                        complete: true,
                    });
                }
                self.next_walk = self.next_walk.min(Instant::now() + SETTLED);
                Err(error)
            }
        }
    }

    /// Turns an entry into a claim, giving it a fresh name first where it needs one.
    fn take(&mut self, found: Found) -> io::Result<Option<Claim>> {
        if self.in_flight.contains(found.name.unique()) {
            return Ok(None);
        }
        let path = found.directory.join(found.name.as_str());
        let Ok(metadata) = path.symlink_metadata() else {
            return Ok(None); // gone since it was seen: done by us, or taken back
        };
        if !metadata.is_file() {
            return Ok(None);
        }
        let origin = match found.name.form() {
            Form::Own { inode, origin } if inode == metadata.ino() => {
                return Ok(Some(self.claimed(found.name, path, origin)));
            }
            Form::Own { origin, .. } => origin,
            Form::Old(origin) => Some(origin),
            Form::Foreign => None,
        };
        if !found.complete && !is_settled(&metadata) {
            self.unsettled = true;
            self.next_walk = self.next_walk.min(Instant::now() + SETTLED);
            return Ok(None);
        }
        let (name, _) = self
            .namer
            .fresh(Timestamp::now(), metadata.ino(), origin.as_ref());
        let target = self.maildir.new_mail().join(name.as_str());
        match fs::rename(&path, &target) {
            Ok(()) => Ok(Some(self.claimed(name, target, origin))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn claimed(&mut self, name: QueueName, path: PathBuf, origin: Option<Origin>) -> Claim {
        self.in_flight.insert(name.unique().to_owned());
        Claim {
            name,
            path,
            origin,
            killer: false,
            alone: false,
        }
    }

    /// Puts a fresh directory in the place of a `new/` that has grown, when nothing is in work.
    fn renew_directory(&mut self) -> io::Result<bool> {
        if !self.in_flight.is_empty() || Instant::now() < self.next_renewal {
            return Ok(false);
        }
        self.next_renewal = Instant::now() + WALK_EVERY;
        if !renewal::renew(&self.maildir, &self.namer.temporary())? {
            return Ok(false);
        }
        self.watch.renew(self.maildir.new_mail())?;
        // What came between the exchange and the watch.
        self.next_walk = Instant::now();
        log::info!("event=queue.directory_renewed");
        Ok(true)
    }

    fn start_walk(&mut self) -> io::Result<()> {
        self.walk.clear();
        for directory in self.directories() {
            let entries = fs::read_dir(&directory)?;
            self.walk.push((directory, entries));
        }
        self.next_walk = Instant::now() + WALK_EVERY;
        Ok(())
    }

    /// Looks at the next entries of the walk; false when there is none under way.
    fn walk_on(&mut self) -> bool {
        if self.walk.is_empty() {
            return false;
        }
        for _ in 0..WALK_STEP {
            let Some((directory, entries)) = self.walk.first_mut() else {
                break;
            };
            let Some(entry) = entries.next() else {
                self.walk.remove(0);
                continue;
            };
            let directory = directory.clone();
            // An entry that cannot be read is met again at the next walk.
            if let Ok(entry) = entry
                && entry.file_type().is_ok_and(|kind| kind.is_file())
            {
                self.look_at(directory, &entry.file_name(), false);
            }
        }
        true
    }

    fn look_at(&mut self, directory: PathBuf, name: &OsStr, complete: bool) {
        let Some(name) = readable_name(&directory, name) else {
            return;
        };
        self.found.push_back(Found {
            directory,
            name,
            complete,
        });
    }

    /// Looks at what arrived; false when nothing did.
    fn read_events(&mut self) -> io::Result<bool> {
        let arrived = self.watch.read()?;
        if arrived.overflow {
            self.next_walk = Instant::now();
        }
        let any = arrived.overflow || !arrived.names.is_empty();
        for (directory, name) in arrived.names {
            self.look_at(directory, &name, true);
        }
        Ok(any)
    }
}

/// The entry's name, if it is one to look at. A name that is not UTF-8 is first renamed to one
/// that is, so that nothing has to carry raw bytes about.
fn readable_name(directory: &Path, name: &OsStr) -> Option<QueueName> {
    if let Some(name) = name.to_str() {
        return QueueName::new(name);
    }
    let readable = format!("renamed.{}", name.as_bytes().escape_ascii()).replace('\\', "_");
    let mut readable = readable.replace('/', "_");
    readable.truncate(200);
    let target = directory.join(&readable);
    if !name.as_bytes().starts_with(b".") && !target.exists() {
        let _ = fs::rename(directory.join(name), target);
    }
    None // found under its new name by the event that the rename makes, or the next walk
}

fn is_settled(metadata: &fs::Metadata) -> bool {
    metadata.modified().is_ok_and(|modified| {
        // A time in the future is no sign of a writer.
        SystemTime::now()
            .duration_since(modified)
            .map_or(true, |age| age >= SETTLED)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(scratch: &Path) -> (Maildir, Intake) {
        let maildir = Maildir::open(scratch).unwrap();
        let intake = Intake::open(maildir.clone()).unwrap();
        (maildir, intake)
    }

    fn claim_all(intake: &mut Intake, wait: Duration) -> Vec<Claim> {
        let mut all = Vec::new();
        loop {
            let claims = intake.claim(10, wait).unwrap();
            if claims.is_empty() {
                return all;
            }
            all.extend(claims);
        }
    }

    #[test]
    fn old_and_new_files_are_claimed_once() {
        let scratch = tempfile::tempdir().unwrap();
        let (maildir, mut intake) = intake(scratch.path());
        fs::write(maildir.new_mail().join(".hidden"), "x").unwrap();
        fs::create_dir(maildir.new_mail().join("directory")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", maildir.new_mail().join("link")).unwrap();
        for directory in [maildir.new_mail(), maildir.cur(), maildir.root().to_owned()] {
            fs::write(directory.join("a.eml"), "x").unwrap();
        }
        let claims = claim_all(&mut intake, Duration::from_millis(50));
        assert_eq!(claims.len(), 3);
        for claim in &claims {
            assert!(matches!(claim.name.form(), Form::Own { .. }), "{claim:?}");
            assert!(claim.path.starts_with(maildir.new_mail()));
        }
        assert!(!intake.is_drained().unwrap());
        for claim in &claims {
            fs::remove_file(&claim.path).unwrap();
        }
        intake.done(claims.iter().map(|claim| &claim.name)).unwrap();
        assert!(intake.is_drained().unwrap());
    }

    #[test]
    fn a_file_copied_back_under_an_own_name_gets_a_fresh_one() {
        let scratch = tempfile::tempdir().unwrap();
        let (maildir, mut intake) = intake(scratch.path());
        fs::write(maildir.new_mail().join("a.eml"), "x").unwrap();
        let first = claim_all(&mut intake, Duration::from_millis(50)).remove(0);
        // Copied while the first still exists, so that the inode must differ.
        let aside = scratch.path().join(".aside");
        fs::copy(&first.path, &aside).unwrap();
        fs::remove_file(&first.path).unwrap();
        intake.done([&first.name]).unwrap();
        fs::rename(&aside, &first.path).unwrap();
        let second = claim_all(&mut intake, Duration::from_millis(50)).remove(0);
        assert_ne!(first.name, second.name);
    }

    #[test]
    fn a_second_analyzer_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let (maildir, _first) = intake(scratch.path());
        let error = Intake::open(maildir).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
