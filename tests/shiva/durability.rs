//! The order of writes, syncs and renames, from a trace of system calls.
//!
//! Killing a process cannot show a missing sync: the kernel keeps what was written. So the order
//! itself is asserted, as strace saw it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::rig::{Rig, finish, wait_until};

const CALLS: &str = "trace=write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync,syncfs,rename,\
                     renameat,renameat2,link,linkat,unlink,unlinkat";

/// One system call: its name and its arguments, with file descriptors as paths.
#[derive(Debug)]
struct Call {
    name: String,
    arguments: String,
}

impl Call {
    fn is(&self, names: &[&str], argument: &str) -> bool {
        names.contains(&self.name.as_str()) && self.arguments.contains(argument)
    }
}

const SYNC: &[&str] = &["fsync", "fdatasync", "syncfs"];
const WRITE: &[&str] = &["write", "writev", "pwrite64"];
const RENAME: &[&str] = &["rename", "renameat", "renameat2"];
const UNLINK: &[&str] = &["unlink", "unlinkat"];

/// `strace` before a program of the rig.
fn traced(rig: &Rig, program: &str) -> Command {
    let plain = rig.command(program);
    let mut command = Command::new("strace");
    // As a grandchild, so that the program traced is the child that the rig stops.
    command.args(["-D", "-f", "-y", "-s", "48", "-e", CALLS, "-o"]);
    command.arg(rig.path("trace")).arg(plain.get_program());
    command.args(plain.get_args()).env_remove("FAILPOINTS");
    command
}

/// The calls in order. One that another thread interrupted counts when it began if it sends, and
/// when it ended if it makes something durable: the order that is harder to keep.
fn calls(trace: &Path) -> Vec<Call> {
    let text = fs::read_to_string(trace).unwrap();
    let mut begun: Vec<(&str, String)> = Vec::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let rest = rest.trim_start();
        let whole = if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            if start.starts_with("send") {
                start.to_owned()
            } else {
                begun.push((thread, start.to_owned()));
                continue;
            }
        } else if rest.starts_with("<... ") {
            let Some(at) = begun.iter().position(|(begun, _)| *begun == thread) else {
                continue;
            };
            begun.remove(at).1
        } else {
            rest.to_owned()
        };
        if let Some((name, arguments)) = whole.split_once('(') {
            let (name, arguments) = (name.to_owned(), arguments.to_owned());
            calls.push(Call { name, arguments });
        }
    }
    assert!(!calls.is_empty(), "strace saw nothing");
    calls
}

fn first(calls: &[Call], names: &[&str], argument: &str) -> usize {
    let found = calls.iter().position(|call| call.is(names, argument));
    found.unwrap_or_else(|| panic!("no {names:?} with {argument} in the trace"))
}

/// The path within quotes or angle brackets that contains `part`.
fn path_with<'a>(arguments: &'a str, part: &str) -> Option<&'a str> {
    arguments
        .split(['"', '<', '>'])
        .find(|piece| piece.contains(part))
}

#[test]
fn the_receiver_answers_after_file_and_directory_are_synced() {
    let rig = Rig::new();
    let receiver = rig.receiver_with(traced(&rig, "shiva-receiver"));
    let large = format!("Subject: large\r\n\r\n{}", "0123456789\r\n".repeat(20_000));
    rig.client().mail("a@b", "c@d", large.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        for n in 0..12 {
            let rig = &rig;
            scope.spawn(move || {
                let mut client = rig.client();
                for m in 0..10 {
                    let message = format!("Subject: {n} {m}\r\n\r\nx\r\n");
                    let reply = client.mail("a@b", "c@d", message.as_bytes());
                    assert!(reply.unwrap().starts_with("250"));
                }
            });
        }
    });
    assert_eq!(rig.queue().len(), 121);
    receiver.stop();
    wait_until("the trace is whole", || {
        fs::read_to_string(rig.path("trace")).is_ok_and(|text| text.contains("+++ exited"))
    });
    let calls = calls(&rig.path("trace"));
    let renames: Vec<usize> = (0..calls.len())
        .filter(|n| calls[*n].is(RENAME, "/queue/tmp/"))
        .collect();
    assert_eq!(renames.len(), 121);
    let directory = "/queue/new>";
    for &rename in &renames {
        let file = path_with(&calls[rename].arguments, "/queue/tmp/").unwrap();
        let before = &calls[..rename];
        let written = before
            .iter()
            .rposition(|call| call.is(WRITE, file))
            .unwrap();
        let synced = before[written..]
            .iter()
            .any(|call| call.is(&["fsync", "fdatasync"], file) || call.name == "syncfs");
        assert!(synced, "{file} was renamed before it was synced");
        let after = calls[rename..]
            .iter()
            .any(|call| call.is(&["fsync"], directory));
        assert!(
            after,
            "the directory was not synced after {file} was renamed"
        );
    }
    // The n-th 250 comes after n renames and a sync of the directory after these.
    let mut answered = 0;
    for (at, call) in calls.iter().enumerate() {
        if call.is(
            &["sendto", "sendmsg", "write", "writev"],
            "250 2.0.0 Ok: queued",
        ) {
            answered += 1;
            let synced = calls[..at]
                .iter()
                .rposition(|call| call.is(&["fsync"], directory));
            let durable = renames
                .iter()
                .filter(|n| synced.is_some_and(|synced| **n < synced));
            assert!(
                durable.count() >= answered,
                "250 number {answered} came too early"
            );
        }
    }
    assert_eq!(answered, 121);
    assert!(
        calls.iter().any(|call| call.name == "syncfs"),
        "no group shared a sync"
    );
}

#[test]
fn what_is_given_up_is_removed_by_no_thread_that_serves_sessions() {
    let rig = Rig::with("[receiver]\nmaxmessagesize : 200000\n");
    let receiver = rig.receiver_with(traced(&rig, "shiva-receiver"));
    let serving = receiver.0.id().to_string();
    let mut too_big = rig.client();
    let reply = too_big.mail("a@b", "c@d", &[b'x'; 300_000]).unwrap();
    assert!(reply.starts_with("552 "), "{reply}");
    let mut broken_off = rig.client();
    for command in ["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"] {
        broken_off.say(command);
    }
    broken_off.send(&[b'x'; 100_000]);
    let files = || fs::read_dir(rig.path("queue/tmp")).unwrap().count();
    wait_until("it goes to the disk", || files() == 1);
    drop(broken_off);
    wait_until("nothing is left", || files() == 0);
    receiver.stop();
    let trace = || fs::read_to_string(rig.path("trace")).unwrap();
    wait_until("the trace is whole", || trace().contains("+++ exited"));
    let trace = trace();
    let removed: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains("unlink") && line.contains("/queue/tmp/"))
        .collect();
    assert_eq!(removed.len(), 2, "{removed:?}");
    for line in removed {
        let thread = line.split_whitespace().next();
        assert_ne!(thread, Some(serving.as_str()), "{line}");
    }
}

#[test]
fn the_analyzer_unlinks_after_the_commit_and_commits_after_the_archive() {
    let rig = Rig::new();
    let message = "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n\
        --b\r\nContent-Type: application/zip\r\nContent-Disposition: attachment\r\n\r\nzip\r\n--b--\r\n";
    for (name, bytes) in [("a.eml", message), ("empty.eml", "")] {
        fs::write(rig.path(name), bytes).unwrap();
        rig.ok("shiva", &["import", rig.path(name).to_str().unwrap()]);
    }
    let names: Vec<String> = rig
        .queue()
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 2);
    let mut command = traced(&rig, "shiva-analyzer");
    assert!(finish(command.arg("--once")).status.success());
    let calls = calls(&rig.path("trace"));
    let message = names
        .iter()
        .find(|name| calls.iter().any(|call| call.is(&["link", "linkat"], name)))
        .expect("the sample is a hard link");
    let sample = first(&calls, &["link", "linkat"], "/rawspam/");
    let sample_synced = sample + first(&calls[sample..], SYNC, ".eml>");
    let sample_named = sample + directory_sync(&calls[sample..], "/rawspam/");
    let part = first(&calls, RENAME, "/attachment/");
    let part_named = part + directory_sync(&calls[part..], "/attachment/");
    assert!(
        first(&calls, SYNC, "/attachment/") < part,
        "an attachment is named before it is synced"
    );
    let unlinked = first(&calls, UNLINK, message);
    let committed = calls[..unlinked]
        .iter()
        .rposition(|call| call.is(&["fsync", "fdatasync"], "ShivaTemp.sqlite-wal"))
        .expect("a commit before the unlink");
    for (step, at) in [
        ("sample", sample_synced),
        ("sample's name", sample_named),
        ("attachment's name", part_named),
    ] {
        assert!(
            at < committed,
            "the {step} was not durable before the commit"
        );
    }
    let settled = calls[unlinked..]
        .iter()
        .any(|call| call.is(&["fsync"], "/queue/new>"));
    assert!(settled, "the directory was not synced after the unlink");
    // The undeliverable one: written, synced, named, its directory synced, then committed.
    let other = names.iter().find(|name| *name != message).unwrap();
    let target = format!("/undeliverable/{other}.eml");
    let synced = first(&calls, SYNC, "/undeliverable/");
    let named = first(&calls, RENAME, &target);
    let kept = named + directory_sync(&calls[named..], "/undeliverable");
    let gone = first(&calls, UNLINK, &format!("/queue/new/{other}"));
    assert!(
        synced < named && kept < gone,
        "{synced} {named} {kept} {gone}"
    );
    let committed = calls[..gone]
        .iter()
        .rposition(|call| call.is(&["fsync", "fdatasync"], "ShivaTemp.sqlite-wal"));
    assert!(committed.is_some_and(|committed| kept < committed));
}

/// The first sync of a directory that is, or lies right in, what this part of a path names.
fn directory_sync(calls: &[Call], part: &str) -> usize {
    let is_directory = |call: &Call| {
        let path = path_with(&call.arguments, part).unwrap_or_default();
        let within = path.rsplit(part).next().unwrap_or_default();
        call.name == "fsync" && path.contains(part) && within.len() <= 2
    };
    let found = calls.iter().position(is_directory);
    found.unwrap_or_else(|| panic!("no sync of a directory {part} in the trace"))
}
