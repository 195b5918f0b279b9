//! Promise 1 on a full disk: 452, and nothing lost that was answered 250.
//!
//! The queue lies on a small tmpfs in a mount namespace of the receiver's own, which needs no
//! rights beyond a user namespace.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::rig::{Rig, binary, files_under};

#[test]
fn a_full_queue_answers_452_and_loses_nothing() {
    let rig = Rig::new();
    fs::create_dir(rig.path("queue")).unwrap();
    let mut command = Command::new("unshare");
    command.args(if rustix::process::geteuid().is_root() {
        ["--mount", "--"].as_slice()
    } else {
        ["--user", "--map-root-user", "--mount", "--"].as_slice()
    });
    let script = format!(
        "mount -t tmpfs -o size=1m tmpfs {} && exec {} --config {}",
        rig.path("queue").display(),
        binary("shiva-receiver").display(),
        rig.path("shiva.conf").display()
    );
    command.args(["sh", "-c", &script]);
    let receiver = rig.receiver_with(command);
    let inside = PathBuf::from(format!("/proc/{}/root", receiver.0.id()))
        .join(rig.path("queue").strip_prefix("/").unwrap());
    let message = |n: usize| format!("Subject: {n}\r\n\r\n{}\r\n", "x".repeat(100_000));
    let mut client = rig.client();
    let mut kept = 0;
    let refusal = (0..100)
        .map(|n| client.mail("a@b", "c@d", message(n).as_bytes()).unwrap())
        .find(|reply| {
            kept += usize::from(reply.starts_with("250"));
            !reply.starts_with("250")
        })
        .expect("the disk to be full");
    assert!(refusal.starts_with("452 4.3.1 "), "{refusal}");
    assert!(kept >= 5, "{kept}");
    let queue = || files_under(&inside.join("new"));
    assert_eq!(queue().len(), kept);
    assert_eq!(
        files_under(&inside.join("tmp")).len(),
        0,
        "half a message was left"
    );
    for file in queue() {
        assert!(fs::metadata(file).unwrap().len() > 100_000);
    }
    // A large message that is streamed to disk meets the end in the middle of DATA.
    let huge = format!("Subject: huge\r\n\r\n{}", "0123456789\r\n".repeat(300_000));
    let refusal = client.mail("a@b", "c@d", huge.as_bytes()).unwrap();
    assert!(refusal.starts_with("452 4.3.1 "), "{refusal}");
    assert_eq!(files_under(&inside.join("tmp")).len(), 0);
    // Room again: the same session goes on.
    fs::remove_file(&queue()[0]).unwrap();
    let reply = client.mail("a@b", "c@d", message(0).as_bytes()).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(queue().len(), kept);
}
