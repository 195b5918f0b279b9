//! The files that are kept: samples, attachments, inline parts, undeliverable messages.
//!
//! A sample is the queue file itself under a second name where the file is our own user's, else a
//! copy: who owns a file can keep it open and change it later. Attachments and inline parts are
//! stored once per content, under a name made of their SHA-256; no name of a file here comes from a
//! stranger. An undeliverable message is copied byte for byte, with the reason in a file beside it.
//!
//! Nothing is durable until [`Archive::sync`] returned, and then everything is: copies are
//! written under a temporary name, synced, renamed, and the directories synced, in this order,
//! so that a name never stands for half a content. It runs before the batch that refers to these
//! files is committed. A crash in between leaves files that the repeated work finds or replaces.
//!
//! Layout: `rawspampath/ab/abcd….<window>.eml`, `attachpath/ab/<sha256>`,
//! `inlinepath/ab/<sha256>`, `undeliverable_path/<queue name>.eml` and `….reason`.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::envelope::Envelope;
use crate::hpfeeds::sent::Sent;
use crate::queue::QueueName;
use crate::queue::maildir::{FILE_MODE, KEPT, make_directory, named, open_regular, sync_directory};

/// From this many files on, one sync of the file system is cheaper than one of each file.
const SYNC_TOGETHER: usize = 4;

/// Most bytes of a queue name that an undeliverable message keeps: with its ending and the dot of a
/// temporary name it is as long as a file's name may be. What it loses is what an old name said.
const STEM_MAX: usize = 255 - ".".len() - ".reason".len();

/// The directories that files are kept in, and what is not yet durable there.
pub struct Archive {
    roots: Roots,
    sent: Sent,
    /// Files written under a temporary name, by the name they get.
    copies: HashMap<PathBuf, PathBuf>,
    /// Hard links made.
    links: Vec<PathBuf>,
    /// Directories with new names.
    directories: BTreeSet<PathBuf>,
}

/// Where files are kept, by their kind.
struct Roots {
    rawspam: Root,
    attachment: Root,
    inline: Root,
    undeliverable: Root,
}

impl Roots {
    /// Syncs these paths, as [`Root::sync`] does, root by root.
    fn sync(
        &mut self,
        paths: &[&PathBuf],
        each: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        [
            &mut self.rawspam,
            &mut self.attachment,
            &mut self.inline,
            &mut self.undeliverable,
        ]
        .into_iter()
        .try_for_each(|root| root.sync(paths, &each))
    }
}

/// A directory with all below it.
struct Root {
    path: PathBuf,
    /// Open for as long as we write there: a sync of a file system tells what could not be written
    /// since the descriptor was opened, and to one that is opened for it perhaps nothing, where
    /// somebody else's sync was told before. The receiver syncs the same file system all the time.
    directory: File,
}

impl Root {
    /// Opens a directory, made when missing.
    fn open(path: &Path) -> io::Result<Root> {
        make_directory(path, KEPT)?;
        // What a process that died has made here is durable from now on.
        sync_directory(path)?;
        let directory = File::open(path).map_err(|error| named(path, &error))?;
        let path = path.to_owned();
        Ok(Root { path, directory })
    }

    /// Syncs those of these paths that lie below: each, or where they are many all at once.
    fn sync(
        &mut self,
        paths: &[&PathBuf],
        each: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let within: Vec<_> = paths
            .iter()
            .filter(|path| path.starts_with(&self.path))
            .collect();
        if within.len() >= SYNC_TOGETHER && self.is_where_it_was()? {
            let synced = rustix::fs::syncfs(&self.directory);
            return synced.map_err(|error| named(&self.path, &error.into()));
        }
        within
            .iter()
            .try_for_each(|path| each(path).map_err(|error| named(path, &error)))
    }

    /// False, once, where there is another directory under the name now: on another disk, perhaps.
    fn is_where_it_was(&mut self) -> io::Result<bool> {
        let there = File::open(&self.path).map_err(|error| named(&self.path, &error))?;
        let (ours, theirs) = (self.directory.metadata()?, there.metadata()?);
        let same = (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
        if !same {
            self.directory = there;
        }
        Ok(same)
    }
}

impl Archive {
    /// The archive of a configuration, its missing directories made.
    pub fn open(config: &Config) -> io::Result<Archive> {
        let paths = &config.analyzer;
        Ok(Archive {
            roots: Roots {
                rawspam: Root::open(&paths.rawspampath)?,
                attachment: Root::open(&paths.attachpath)?,
                inline: Root::open(&paths.inlinepath)?,
                undeliverable: Root::open(&paths.undeliverable_path)?,
            },
            sent: Sent::new(&config.hpfeeds.spam_path, &config.hpfeeds.attach_path),
            copies: HashMap::new(),
            links: Vec::new(),
            directories: BTreeSet::new(),
        })
    }

    /// Keeps the file of a record's first spam, as it was read; returns where.
    pub fn keep_sample(
        &mut self,
        id: &str,
        window: u64,
        file: &Path,
        content: &[u8],
    ) -> io::Result<PathBuf> {
        let directory = self.shelf(&self.roots.rawspam.path.clone(), id)?;
        let target = directory.join(format!("{id}.{window}.eml"));
        if Archive::link(file, &target)? {
            self.linked(target.clone());
        } else {
            self.copy(&target, &[content])?;
        }
        Ok(target)
    }

    /// Keeps the content of an attachment or inline part; returns where. What was sent over
    /// hpfeeds lies there.
    pub fn keep_part(&mut self, inline: bool, sha256: &str, content: &[u8]) -> io::Result<PathBuf> {
        let sent = self.sent.part(sha256);
        if sent.exists() {
            return Ok(sent);
        }
        let root = if inline {
            &self.roots.inline
        } else {
            &self.roots.attachment
        };
        let target = self.shelf(&root.path.clone(), sha256)?.join(sha256);
        if target.exists() {
            // Perhaps named by a process that died before it synced the directory.
            self.directories.extend(target.parent().map(Path::to_owned));
        } else if !self.copies.contains_key(&target) {
            self.copy(&target, &[content])?;
        }
        Ok(target)
    }

    /// Sets an undeliverable message aside: its bytes, and the reason and the envelope beside it.
    pub fn set_aside(
        &mut self,
        name: &QueueName,
        message: &[u8],
        reason: &str,
        envelope: Option<&Envelope>,
    ) -> io::Result<()> {
        let target = self.undeliverable(name, "eml");
        self.copy(&target, &[message])?;
        let mut text = format!("{reason}\n").into_bytes();
        if let Some(envelope) = envelope {
            text.extend_from_slice(&envelope.header_line());
        }
        let beside = self.undeliverable(name, "reason");
        self.copy(&beside, &[&text])
    }

    fn undeliverable(&self, name: &QueueName, ending: &str) -> PathBuf {
        let stem = name.stem(STEM_MAX);
        self.roots
            .undeliverable
            .path
            .join(format!("{stem}.{ending}"))
    }

    /// Sets a file aside that is not to be read: a hard link, or a copy made piece by piece. What
    /// somebody took back meanwhile has a reason only.
    pub fn set_aside_unread(
        &mut self,
        name: &QueueName,
        file: &Path,
        reason: &str,
    ) -> io::Result<()> {
        let target = self.undeliverable(name, "eml");
        if Archive::link(file, &target)? {
            self.linked(target);
        } else if let Ok(mut file) = open_regular(file) {
            self.write(&target, |copy| io::copy(&mut file, copy).map(drop))?;
        }
        let beside = self.undeliverable(name, "reason");
        self.copy(&beside, &[reason.as_bytes(), b"\n"])
    }

    /// Makes everything kept since the last sync durable. After an error nothing is: the kernel
    /// says once that it could not write, and a second sync would succeed over lost pages. So
    /// the files are to be given up ([`Archive::forget`]) and written again.
    pub fn sync(&mut self) -> io::Result<()> {
        let written: Vec<&PathBuf> = self.copies.values().chain(&self.links).collect();
        self.roots.sync(&written, |path| {
            File::open(path).and_then(|file| file.sync_all())
        })?;
        self.links.clear();
        while let Some((target, temporary)) = self.copies.iter().next() {
            if temporary.exists() {
                fs::rename(temporary, target).map_err(|error| named(target, &error))?;
            }
            let target = target.clone();
            self.copies.remove(&target);
        }
        let directories: Vec<&PathBuf> = self.directories.iter().collect();
        self.roots.sync(&directories, sync_directory)?;
        self.directories.clear();
        Ok(())
    }

    /// Forgets what was kept and not synced: the work it belonged to will be done again.
    pub fn forget(&mut self) {
        for temporary in std::mem::take(&mut self.copies).into_values() {
            let _ = fs::remove_file(temporary);
        }
        self.links.clear();
    }

    /// The directory for names that begin like this one, made when missing.
    fn shelf(&mut self, root: &Path, name: &str) -> io::Result<PathBuf> {
        let directory = root.join(name.get(..2).unwrap_or("00"));
        if !directory.is_dir() {
            make_directory(&directory, KEPT)?;
            self.directories.insert(root.to_owned());
        }
        Ok(directory)
    }

    /// Gives a queue file a second name, in place of what a crash may have left there. False where
    /// that cannot be, or where the file is not just as ours are: somebody else may change it
    /// later, or own it.
    fn link(file: &Path, target: &Path) -> io::Result<bool> {
        let Ok(metadata) = fs::symlink_metadata(file) else {
            return Ok(false); // taken back, after it was read
        };
        let shelf = fs::metadata(target.parent().unwrap_or(Path::new("/")))?;
        let as_ours = metadata.is_file()
            && metadata.nlink() == 1
            && metadata.mode() & 0o7777 == FILE_MODE
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && (metadata.uid(), metadata.gid()) == (shelf.uid(), shelf.gid());
        if !as_ours {
            return Ok(false);
        }
        match fs::hard_link(file, target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(target)?;
                Ok(fs::hard_link(file, target).is_ok())
            }
            linked => Ok(linked.is_ok()),
        }
    }

    fn linked(&mut self, target: PathBuf) {
        // A copy that was begun before must not take the link's place.
        self.copies.remove(&target);
        self.directories.extend(target.parent().map(Path::to_owned));
        self.links.push(target);
    }

    fn copy(&mut self, target: &Path, pieces: &[&[u8]]) -> io::Result<()> {
        self.write(target, |file| {
            pieces.iter().try_for_each(|piece| file.write_all(piece))
        })
    }

    /// Writes a file that gets this name at the next sync; nothing is left of one that could not
    /// be written whole.
    fn write(
        &mut self,
        target: &Path,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let directory = target.parent().unwrap_or(Path::new("/"));
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory.join(format!(".{name}"));
        let written = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(FILE_MODE)
                .open(&temporary)?;
            write(&mut file)
        };
        if let Err(error) = written() {
            let _ = fs::remove_file(&temporary);
            return Err(named(target, &error));
        }
        self.directories.insert(directory.to_owned());
        self.copies.insert(target.to_owned(), temporary);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(scratch: &Path) -> Archive {
        let root = scratch.display();
        let text = format!(
            "[global]\nqueuepath={root}\n[analyzer]\nrawspampath={root}/raw\nattachpath={root}/attach\n\
             inlinepath={root}/inline\nundeliverable_path={root}/bad\n"
        );
        let config = Config::from_text(Path::new("x.conf"), &text).unwrap();
        Archive::open(&config).unwrap()
    }

    #[test]
    fn names_stand_for_whole_contents_only_after_the_sync() {
        let scratch = tempfile::tempdir().unwrap();
        let mut archive = archive(scratch.path());
        let path = archive.keep_part(false, "abcdef", b"content").unwrap();
        assert!(!path.exists());
        assert_eq!(
            archive.keep_part(false, "abcdef", b"content").unwrap(),
            path
        );
        archive.sync().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_as_ours_is_copied_and_not_linked() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let mut archive = archive(scratch.path());
        let file = scratch.path().join("queued");
        for (mode, linked) in [(FILE_MODE, true), (0o666, false), (0o644, false)] {
            let inode = |path: &Path| fs::metadata(path).unwrap().ino();
            fs::write(&file, "x").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let sample = archive
                .keep_sample("00ff", 1, &file, &fs::read(&file).unwrap())
                .unwrap();
            archive.sync().unwrap();
            assert_eq!(inode(&sample) == inode(&file), linked, "{mode:o}");
            assert_eq!(fs::metadata(&sample).unwrap().mode() & 0o777, FILE_MODE);
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn a_sample_replaces_what_a_crash_left() {
        let scratch = tempfile::tempdir().unwrap();
        let mut archive = archive(scratch.path());
        for bytes in [b"first", b"again"] {
            let file = scratch.path().join("queued");
            fs::write(&file, bytes).unwrap();
            let sample = archive
                .keep_sample("00ff", 1, &file, &fs::read(&file).unwrap())
                .unwrap();
            archive.sync().unwrap();
            fs::remove_file(&file).unwrap();
            assert_eq!(fs::read(sample).unwrap(), bytes);
        }
    }

    #[test]
    fn the_reason_stands_beside_an_undeliverable_message() {
        let scratch = tempfile::tempdir().unwrap();
        let mut archive = archive(scratch.path());
        let name = QueueName::new("1.x").unwrap();
        archive
            .set_aside(&name, b"\0\xff", "no header", None)
            .unwrap();
        archive.sync().unwrap();
        let bad = scratch.path().join("bad");
        assert_eq!(fs::read(bad.join("1.x.eml")).unwrap(), b"\0\xff");
        assert_eq!(fs::read(bad.join("1.x.reason")).unwrap(), b"no header\n");
    }
}
