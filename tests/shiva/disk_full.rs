//! Promise 1 on a full disk: 452, and nothing lost that was answered 250.
//!
//! And the analyzer's: it waits for room, and cuts and loses nothing. What is to be full is a small
//! tmpfs in a mount namespace of the service's own, which needs no rights beyond a user namespace.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::rig::{Rig, Service, binary, files_under, finish, wait_until};

/// What is run by this command may mount what it likes; nobody else sees it.
pub fn own_mounts() -> Command {
    let mut command = Command::new("unshare");
    command.args(if rustix::process::geteuid().is_root() {
        ["--mount", "--"].as_slice()
    } else {
        ["--user", "--map-root-user", "--mount", "--"].as_slice()
    });
    command
}

#[test]
fn a_full_queue_answers_452_and_loses_nothing() {
    // The disk itself is to say that it is full.
    let rig = Rig::with("[receiver]\nmindiskfree : 0\n");
    fs::create_dir(rig.path("queue")).unwrap();
    let mut command = own_mounts();
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

#[test]
fn why_a_message_cannot_be_written_is_said() {
    let rig = Rig::new();
    let _receiver = Service::logging(rig.command("shiva-receiver"), &rig.path("log"));
    let log = || fs::read_to_string(rig.path("log")).unwrap();
    wait_until("it listens", || log().contains("receiver.listening"));
    let mut client = rig.client();
    fs::rename(rig.path("queue/tmp"), rig.path("queue/gone")).unwrap();
    let reply = client.mail("a@b", "c@d", b"Subject: x\r\n").unwrap();
    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
    let said = "event=spool.failed messages=1 error=\"No such file or directory";
    assert!(log().contains(said), "{}", log());
    fs::rename(rig.path("queue/gone"), rig.path("queue/tmp")).unwrap();
    let reply = client.mail("a@b", "c@d", b"Subject: x\r\n").unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
}

#[test]
fn what_is_recorded_of_sessions_leaves_room_for_mail() {
    let rig = Rig::new();
    let disk = rig.path("disk");
    fs::create_dir(&disk).unwrap();
    rig.configure(&format!(
        "[global]\nqueuepath : {0}/queue\n[receiver]\nsessionlog : {0}/sessions.json\n\
         mindiskfree : 1000000\n",
        disk.display()
    ));
    let mut command = own_mounts();
    let script = format!(
        "mount -t tmpfs -o size=6m tmpfs {} && exec {} --config {}",
        disk.display(),
        binary("shiva-receiver").display(),
        rig.path("shiva.conf").display()
    );
    command.args(["sh", "-c", &script]);
    let receiver = rig.receiver_with(command);
    let inside = PathBuf::from(format!("/proc/{}/root", receiver.0.id()))
        .join(disk.strip_prefix("/").unwrap());
    let mut client = rig.client();
    // A byte of each of these is six in the log.
    let long = "\u{1}".repeat(2000);
    for _ in 0..600 {
        assert!(client.say(&format!("NOOP {long}")).starts_with("250 "));
    }
    let recorded = || fs::metadata(inside.join("sessions.json")).unwrap().len();
    assert!(recorded() > 1_000_000);
    let reply = client.mail("a@b", "c@d", b"Subject: x\r\n").unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
    assert!(recorded() < 5_000_000);
}

#[test]
fn an_attachment_that_finds_no_room_is_waited_for_and_never_cut() {
    let rig = Rig::new();
    let content = "0123456789abcdef".repeat(20_000);
    let message = format!(
        "Subject: large\r\nContent-Type: application/zip\r\nContent-Disposition: attachment\r\n\
         \r\n{content}"
    );
    rig.drop_file("large.eml", message.as_bytes());
    fs::create_dir(rig.path("attachment")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {} && exec {} --once --config {}",
        rig.path("attachment").display(),
        binary("shiva-analyzer").display(),
        rig.path("shiva.conf").display()
    );
    let output = finish(own_mounts().args(["sh", "-c", &script]));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert!(errors.contains("/attachment/"), "no path in {errors}");
    assert_eq!(rig.queue().len(), 1, "it waits in the queue");
    // With room it counts, whole.
    rig.once();
    assert_eq!(rig.total("spams"), 1);
    let kept = files_under(&rig.path("attachment"));
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(&kept[0]).unwrap(), content.as_bytes());
}

#[test]
fn a_queue_without_room_for_a_list_holds_nothing_up_for_ever() {
    let rig = Rig::new();
    fs::create_dir(rig.path("queue")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=256k tmpfs {queue} && mkdir -p {queue}/new && \
         for n in 1 2 3; do printf 'Subject: %s\\n\\nx\\n' $n > {queue}/new/$n.eml; \
         touch -d '1 minute ago' {queue}/new/$n.eml; done; \
         dd if=/dev/zero of={queue}/.ballast bs=4k 2>/dev/null; \
         (sleep 3; rm {queue}/.ballast) & \
         {analyzer} --once --config {conf}; status=$?; wait; exit $status",
        queue = rig.path("queue").display(),
        analyzer = binary("shiva-analyzer").display(),
        conf = rig.path("shiva.conf").display()
    );
    let output = finish(own_mounts().args(["sh", "-c", &script]));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(rig.total("spams"), 3);
}
