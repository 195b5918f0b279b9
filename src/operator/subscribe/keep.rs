//! Samples and attachments that were received, in a directory.
//!
//! ```text
//! DIR/spam/ab/<sha256>.eml        samples
//! DIR/attachments/ab/<sha256>     attachments and inline parts
//! DIR/index.jsonl                 a line for each that came, a JSON object
//! ```
//!
//! Names are made of the content's SHA-256 and of nothing that a stranger sent. Nothing is written
//! outside of DIR: below it no symbolic link is followed, directories are opened one from the other. A
//! file is written under a temporary name, synced and renamed, so that a name never stands for half a
//! content; one that is there is kept as it is. Mode 0440: nobody runs it, and nobody changes it by
//! mistake. What came last may be lost when the machine dies: a broker keeps nothing either.

use std::fs::{DirBuilder, File as OsFile};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::fingerprint::hex;
use crate::hpfeeds::Message;
use crate::hpfeeds::received::{Content, File};
use crate::queue::name::token;
use crate::timestamp::Timestamp;

/// Mode of directories.
const DIRECTORY: u32 = 0o750;
/// Mode of samples and attachments.
const KEPT: u32 = 0o440;
/// Mode of the index.
const INDEX: u32 = 0o640;

/// The index's name.
const INDEX_NAME: &str = "index.jsonl";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sample,
    Attachment,
}

impl Kind {
    fn directory(self) -> &'static str {
        match self {
            Kind::Sample => "spam",
            Kind::Attachment => "attachments",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Kind::Sample => ".eml",
            Kind::Attachment => "",
        }
    }
}

/// A line of the index.
#[derive(Serialize)]
struct Line<'a> {
    received_at: String,
    channel: &'a str,
    ident: &'a str,
    s_id: String,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    ip: &'a str,
    /// Below DIR; `null` for what was too long to be sent.
    file: Option<String>,
    size: u64,
    changed: bool,
}

/// The directory.
pub(super) struct Keeper {
    path: PathBuf,
    root: OwnedFd,
    /// The last line of the index may lack its end.
    torn: bool,
}

impl Keeper {
    /// The directory of this name, made when missing.
    pub(super) fn open(path: &Path) -> io::Result<Keeper> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY)
            .create(path)?;
        let directory = OFlags::DIRECTORY.bits().cast_signed();
        let root = OsFile::options()
            .read(true)
            .custom_flags(directory)
            .open(path)?;
        let keeper = Keeper {
            path: path.to_owned(),
            root: root.into(),
            torn: false,
        };
        // What cannot be written is to be known now.
        for kind in [Kind::Sample, Kind::Attachment] {
            descend(&keeper.root, kind.directory())?;
        }
        keeper.index()?;
        Ok(keeper)
    }

    /// Keeps what came, and says in the index what it was called.
    pub(super) fn keep(&mut self, message: &Message, kind: Kind, file: &File) -> io::Result<()> {
        let kept = match &file.content {
            Content::Whole(bytes) => Some(self.write(kind, bytes)?),
            Content::Oversize(_) => None,
        };
        self.note(&Line {
            received_at: Timestamp::now().to_string(),
            channel: &message.channel,
            ident: &message.ident,
            s_id: file.id.to_string(),
            name: &file.name,
            ip: &file.ip,
            file: kept,
            size: file.content.size(),
            changed: file.changed,
        })
    }

    /// The name, for a person.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a content, unless it is there; returns where, below DIR.
    fn write(&self, kind: Kind, content: &[u8]) -> io::Result<String> {
        let hash = hex(&Sha256::digest(content));
        let shelf = hash.get(..2).unwrap_or("00");
        let name = format!("{hash}{}", kind.extension());
        let directory = descend(&descend(&self.root, kind.directory())?, shelf)?;
        if !is_there(&directory, &name)? {
            put(&directory, &name, content)?;
        }
        Ok(format!("{}/{shelf}/{name}", kind.directory()))
    }

    fn note(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut text = if self.torn { vec![b'\n'] } else { Vec::new() };
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
        let mut index = self.index()?;
        self.torn = true;
        index.write_all(&text)?;
        self.torn = false;
        Ok(())
    }

    /// The index, opened each time: somebody may have put it away.
    fn index(&self) -> io::Result<OsFile> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
        let index = open(&self.root, INDEX_NAME, flags, INDEX)?;
        let stat = rustix::fs::fstat(&index)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(index.into()),
            _ => Err(io::Error::other(format!("{INDEX_NAME} is no regular file"))),
        }
    }
}

/// Opens a file of a directory, never through a symbolic link.
fn open(directory: impl AsFd, name: &str, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat(
        directory,
        name,
        flags,
        Mode::from_raw_mode(mode),
    )?)
}

/// A directory in another, made when missing.
fn descend(directory: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(DIRECTORY)) {
        Err(error) if error != rustix::io::Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    open(directory, name, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

fn is_there(directory: &OwnedFd, name: &str) -> io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(true),
            _ => Err(io::Error::other(format!("{name} is no regular file"))),
        },
    }
}

/// Writes a file that is not there.
fn put(directory: &OwnedFd, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = format!(".{}", token()?);
    let written = || -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = OsFile::from(open(directory, &temporary, flags, KEPT)?);
        file.write_all(content)?;
        file.sync_data()?;
        Ok(rustix::fs::renameat(
            directory, &temporary, directory, name,
        )?)
    };
    written().inspect_err(|_| {
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn message() -> Message {
        Message {
            ident: "sensor\n".into(),
            channel: "shiva.raw".into(),
            payload: Vec::new(),
        }
    }

    fn file(name: &str, content: Content) -> File {
        File {
            id: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            name: name.into(),
            ip: String::new(),
            changed: false,
            content,
        }
    }

    fn whole(name: &str) -> File {
        file(name, Content::Whole(b"content".to_vec()))
    }

    /// SHA-256 of `content`.
    const HASH: &str = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";

    #[test]
    fn names_are_hashes_whatever_a_stranger_calls_it() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("made/dir");
        let mut keeper = Keeper::open(&root).unwrap();
        for name in [
            "../../x",
            "/etc/passwd",
            "a\0b\n",
            "",
            "x".repeat(100_000).as_str(),
        ] {
            keeper.keep(&message(), Kind::Sample, &whole(name)).unwrap();
            keeper
                .keep(&message(), Kind::Attachment, &whole(name))
                .unwrap();
        }
        let large = file("large", Content::Oversize(5_000_000));
        keeper.keep(&message(), Kind::Sample, &large).unwrap();
        let sample = root.join(format!("spam/ed/{HASH}.eml"));
        let attachment = root.join(format!("attachments/ed/{HASH}"));
        for path in [&sample, &attachment] {
            assert_eq!(fs::read(path).unwrap(), b"content");
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o7777,
                KEPT
            );
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        }
        assert_eq!(fs::read_dir(&root).unwrap().count(), 3);
        let index = fs::read_to_string(root.join(INDEX_NAME)).unwrap();
        let lines: Vec<serde_json::Value> = index
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[0]["name"], "../../x");
        assert_eq!(lines[0]["ident"], "sensor\n");
        assert_eq!(lines[0]["file"], format!("spam/ed/{HASH}.eml"));
        assert_eq!(lines[10]["file"], serde_json::Value::Null);
        assert_eq!(lines[10]["size"], 5_000_000);
    }

    #[test]
    fn what_is_there_is_kept_as_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::open(scratch.path()).unwrap();
        let path = scratch.path().join(format!("spam/ed/{HASH}.eml"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        keeper.keep(&message(), Kind::Sample, &whole("x")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn no_link_leads_outside() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, outside) = (scratch.path().join("dir"), scratch.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let mut keeper = Keeper::open(&root).unwrap();
        let shelf = root.join("spam/ed");
        let refused = |keeper: &mut Keeper| {
            let kept = keeper.keep(&message(), Kind::Sample, &whole("x"));
            assert!(kept.is_err());
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        };
        symlink(&outside, &shelf).unwrap();
        refused(&mut keeper);
        fs::remove_file(&shelf).unwrap();
        fs::create_dir(&shelf).unwrap();
        symlink(outside.join("x"), shelf.join(format!("{HASH}.eml"))).unwrap();
        refused(&mut keeper);
        fs::remove_dir_all(root.join("spam")).unwrap();
        symlink(&outside, root.join("spam")).unwrap();
        refused(&mut keeper);
        assert!(Keeper::open(&root).is_err());
        fs::remove_file(root.join("spam")).unwrap();
        fs::remove_file(root.join(INDEX_NAME)).unwrap();
        symlink(outside.join("x"), root.join(INDEX_NAME)).unwrap();
        refused(&mut keeper);
        fs::remove_file(root.join(INDEX_NAME)).unwrap();
        keeper.keep(&message(), Kind::Sample, &whole("x")).unwrap();
    }

    #[test]
    fn a_torn_line_of_the_index_is_ended_before_the_next() {
        let scratch = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::open(scratch.path()).unwrap();
        fs::write(scratch.path().join(INDEX_NAME), "{\"torn").unwrap();
        keeper.torn = true;
        keeper.keep(&message(), Kind::Sample, &whole("x")).unwrap();
        let index = fs::read_to_string(scratch.path().join(INDEX_NAME)).unwrap();
        let lines: Vec<_> = index.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "{\"torn"));
        assert!(lines[1].starts_with("{\"received_at\""));
    }
}
