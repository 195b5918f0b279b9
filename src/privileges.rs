//! Root's commands do not stay root.
//!
//! What the services collect lies in directories that belong to their users, and in the queue a
//! process writes that talks with strangers: a link in the place of a file would lead root
//! anywhere. So a command that root starts becomes the owner of the directories it works in, once
//! it has read its configuration and before it starts a thread. What it makes belongs to them by
//! itself. Where the directories are root's own it stays root.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::exit::{Exit, Failure};

/// What is kept of root's privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// To read any file: those that root names to be imported.
    Reading,
    /// To listen on a port below 1024.
    Ports,
}

/// Becomes the owner of the first of these directories that is not root's, with the groups of all
/// of them. Nobody but root need, and nobody else can.
pub fn become_owner(directories: &[&Path], keep: Keep) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let found: Vec<fs::Metadata> = directories.iter().filter_map(|path| found(path)).collect();
    let Some(owner) = found.iter().find(|directory| directory.uid() != 0) else {
        return Ok(());
    };
    let groups: Vec<Gid> = found
        .iter()
        .filter(|directory| directory.gid() != 0)
        .map(|directory| Gid::from_raw(directory.gid()))
        .collect();
    drop_to(owner.uid(), owner.gid(), &groups, keep).map_err(|error| {
        let what = format!(
            "cannot become user {}, who owns what this works on: {error}",
            owner.uid()
        );
        Failure::new(Exit::Unavailable, what)
    })
}

/// The directory, or where it would be made.
fn found(path: &Path) -> Option<fs::Metadata> {
    path.ancestors().find_map(|path| fs::metadata(path).ok())
}

fn drop_to(uid: u32, gid: u32, groups: &[Gid], keep: Keep) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let kept = match keep {
        Keep::Nothing => CapabilitySet::empty(),
        Keep::Reading => CapabilitySet::DAC_READ_SEARCH,
        Keep::Ports => CapabilitySet::NET_BIND_SERVICE,
    };
    set_keep_capabilities(true)?;
    set_thread_groups(groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    set_keep_capabilities(false)?;
    Ok(())
}
