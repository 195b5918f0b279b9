//! A fresh directory in the place of one that has grown.
//!
//! On ext4 a directory never shrinks: one that once held a million names is slow to walk for ever
//! after. When `new/` is empty and has grown beyond [`GROWN`], a fresh directory takes its name
//! (one exchange, so that there is always one), what came into the old one meanwhile is moved
//! over, and the old one removed.
//!
//! The receiver may hold the old directory while this happens. It renames into and syncs the
//! directory it opened, so its mail is durable there and moved from there; once the old one is
//! removed its rename fails, and it opens the fresh one. The old directory bears the name
//! `.new.…`; one that a death left is finished at the next start.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags};

use super::maildir::{Maildir, make_directory, sync_directory};

/// Bytes of a directory from which it is renewed: some tens of thousands of names.
const GROWN: u64 = 4 << 20;

/// How the name of an old directory begins.
const OLD: &str = ".new.";

/// How often the old directory is emptied before it is left to the next start.
const TRIES: u32 = 100;

/// Renews `new/` if it has grown and can be renewed; true when it was. The caller knows that
/// nothing in it is in work, and watches the fresh directory from now on.
pub fn renew(maildir: &Maildir, token: &str) -> io::Result<bool> {
    renew_beyond(GROWN, maildir, token)
}

fn renew_beyond(bound: u64, maildir: &Maildir, token: &str) -> io::Result<bool> {
    let new = maildir.new_mail();
    let grown = fs::metadata(&new)?;
    if grown.len() <= bound {
        return Ok(false);
    }
    let other = maildir.root().join(format!("{OLD}{token}"));
    make_directory(&other, grown.mode() & 0o777)?;
    if !as_open(&grown, &other)? {
        fs::remove_dir(&other)?;
        return Ok(false);
    }
    rustix::fs::renameat_with(CWD, &new, CWD, &other, RenameFlags::EXCHANGE)?;
    sync_directory(maildir.root())?;
    finish(maildir, &other)?;
    Ok(true)
}

/// Gives a fresh directory the rights of the old one; false where that cannot be. The receiver
/// may be another user: what it could write it must be able to write again.
fn as_open(old: &fs::Metadata, fresh: &Path) -> io::Result<bool> {
    let rights = |of: &fs::Metadata| (of.gid(), of.mode());
    let mut now = fs::metadata(fresh)?;
    if rights(&now) != rights(old) {
        // Refused or not, what counts is how it is afterwards.
        let _ = std::os::unix::fs::chown(fresh, None, Some(old.gid()));
        let _ = fs::set_permissions(fresh, Permissions::from_mode(old.mode() & 0o7777));
        now = fs::metadata(fresh)?;
    }
    Ok(rights(&now) == rights(old) && now.uid() == old.uid())
}

/// Finishes renewals that a death left half way.
pub fn finish_left(maildir: &Maildir) -> io::Result<()> {
    for entry in fs::read_dir(maildir.root())? {
        let entry = entry?;
        let left = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(OLD.as_bytes());
        if left && entry.file_type()?.is_dir() {
            finish(maildir, &entry.path())?;
        }
    }
    Ok(())
}

/// Moves what lies in an old directory into `new/` and removes it.
fn finish(maildir: &Maildir, old: &Path) -> io::Result<()> {
    let new = maildir.new_mail();
    for _ in 0..TRIES {
        let mut moved = false;
        for entry in fs::read_dir(old)? {
            let entry = entry?;
            fs::rename(entry.path(), new.join(entry.file_name()))?;
            moved = true;
        }
        if moved {
            sync_directory(&new)?;
        }
        match fs::remove_dir(old) {
            Ok(()) => return sync_directory(maildir.root()),
            // The receiver was in the middle of a group.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Spool;
    use crate::timestamp::Timestamp;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    #[test]
    fn a_grown_directory_is_another_with_the_same_rights() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(scratch.path()).unwrap();
        fs::set_permissions(maildir.new_mail(), Permissions::from_mode(0o2770)).unwrap();
        fs::write(maildir.new_mail().join("late"), "x").unwrap();
        let metadata = || fs::metadata(maildir.new_mail()).unwrap();
        let before = metadata();
        assert!(!renew_beyond(before.len(), &maildir, "1").unwrap());
        assert_eq!(metadata().ino(), before.ino());
        assert!(renew_beyond(before.len() - 1, &maildir, "1").unwrap());
        assert_ne!(metadata().ino(), before.ino());
        assert_eq!(metadata().mode() & 0o7777, 0o2770);
        assert_eq!(fs::read(maildir.new_mail().join("late")).unwrap(), b"x");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_a_death_left_is_moved_over() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(scratch.path()).unwrap();
        fs::create_dir(scratch.path().join(".new.1")).unwrap();
        fs::write(scratch.path().join(".new.1/mail"), "x").unwrap();
        finish_left(&maildir).unwrap();
        assert!(maildir.new_mail().join("mail").exists());
        assert!(!scratch.path().join(".new.1").exists());
    }

    #[test]
    fn no_mail_is_lost_while_the_receiver_goes_on() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(scratch.path()).unwrap();
        let spool = Spool::start(maildir.clone()).unwrap();
        let stop = AtomicBool::new(false);
        let sent = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut sent = 0;
                let (answer, answers) = mpsc::channel();
                let handle = spool.handle();
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..8 {
                        let message = handle.incoming(Timestamp::now());
                        let answer = answer.clone();
                        let tell = Box::new(move |kept| answer.send(kept).unwrap());
                        handle.commit(message, tell);
                    }
                    assert!(answers.iter().take(8).all(|kept| kept.is_ok()));
                    sent += 8;
                }
                sent
            });
            for n in 0..30 {
                assert!(renew_beyond(0, &maildir, &n.to_string()).unwrap());
            }
            stop.store(true, Ordering::Relaxed);
            sending.join().unwrap()
        });
        spool.finish();
        assert!(sent > 0);
        assert_eq!(fs::read_dir(maildir.new_mail()).unwrap().count(), sent);
    }
}
