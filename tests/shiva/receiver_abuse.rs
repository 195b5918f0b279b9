//! What a receiver on the internet must bear: floods of connections, messages without end, sockets
//! that are half closed; and the clients that people use.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::rig::{Rig, connected_from, finish, wait_until};

/// A number of a process that `/proc` knows.
fn of_process(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

/// Kilobytes that a process has had in memory at most.
fn peak(pid: u32) -> u64 {
    of_process(pid, "VmHWM:")
}

#[test]
fn fifty_thousand_connections_opened_and_dropped_leave_nothing() {
    let rig = Rig::new();
    let receiver = rig.receiver();
    let pid = receiver.0.id();
    let files = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    rig.client();
    let before = files();
    for turn in 0..50_000_u32 {
        // One address has not as many ports.
        let host = 2 + u8::try_from(turn % 50).unwrap();
        let mut stream = connected_from([127, 0, 0, host], rig.port);
        match turn % 3 {
            0 => drop(stream.write_all(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx")),
            1 => drop(stream.write_all(b"EHL")),
            _ => {}
        }
    }
    // Some may wait to be accepted yet: the last in the row is served when they are gone.
    wait_until("they are gone", || {
        let mut greeting = [0; 3];
        let mut last = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
        last.read_exact(&mut greeting).is_ok() && greeting == *b"220" && files() <= before + 1
    });
    let reply = rig.client().mail("a@b", "c@d", b"Subject: x\r\n\r\nx\r\n");
    assert!(reply.unwrap().starts_with("250 "));
    assert_eq!(rig.queue().len(), 1);
    assert_eq!(fs::read_dir(rig.path("queue/tmp")).unwrap().count(), 0);
    let peak = peak(pid);
    assert!(peak < 64 * 1024, "it took {peak} kB");
}

#[test]
fn a_gigabyte_for_a_limit_of_25_megabytes_is_passed_over() {
    let rig = Rig::new();
    let receiver = rig.receiver();
    let mut client = rig.client();
    for command in ["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"] {
        client.say(command);
    }
    let lines = [&[b'x'; 998][..], b"\r\n"].concat().repeat(1024);
    for _ in 0..1024 {
        assert!(client.send(&lines));
    }
    client.send(b".\r\n");
    let reply = client.reply().unwrap();
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    assert!(client.say("NOOP").starts_with("250 "));
    assert_eq!(fs::read_dir(rig.path("queue/tmp")).unwrap().count(), 0);
    let peak = peak(receiver.0.id());
    assert!(peak < 48 * 1024, "it took {peak} kB");
}

/// Sends all at once and closes its half; all that comes back.
fn half_closed(rig: &Rig, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    stream.write_all(said).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    replies
}

#[test]
fn who_has_closed_his_half_gets_his_answers_and_nobody_keeps_what_is_half() {
    let rig = Rig::new();
    let _receiver = rig.receiver();
    let whole =
        b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n";
    let replies = half_closed(&rig, whole);
    let codes: Vec<_> = replies.lines().filter_map(|line| line.get(..3)).collect();
    assert_eq!(
        codes,
        ["220", "250", "250", "250", "354", "250"],
        "{replies}"
    );
    assert_eq!(rig.queue().len(), 1);
    for half in [
        &whole[..whole.len() - 1],
        &whole[..whole.len() - 3],
        b"HELO x\r\nMAI",
    ] {
        let replies = half_closed(&rig, half);
        assert!(!replies.contains("queued as"), "{replies}");
    }
    assert_eq!(rig.queue().len(), 1);
    assert_eq!(fs::read_dir(rig.path("queue/tmp")).unwrap().count(), 0);
}

const MESSAGE: &str = "Subject: from a client\n\n.a line with a dot\nthe end\n";

#[test]
fn msmtp_swaks_and_smtplib_send_what_they_are_given() {
    let rig = Rig::with("[receiver]\nauthaccept : any\n");
    let _receiver = rig.receiver();
    let port = rig.port.to_string();
    fs::write(rig.path("mail"), MESSAGE).unwrap();
    let mail = rig.path("mail").display().to_string();
    let server = format!("127.0.0.1:{port}");
    let python = "import smtplib, sys; client = smtplib.SMTP('127.0.0.1', int(sys.argv[1])); \
                  client.login('bob', 'x'); \
                  client.sendmail('a@b', ['c@d'], open(sys.argv[2]).read()); client.quit()";
    let msmtp = "msmtp --host=127.0.0.1 --port=$0 --from=a@b --tls=on --tls-certcheck=off \
                 --auth=plain --user=bob --passwordeval='echo x' c@d <$1";
    for (program, arguments) in [
        ("sh", vec!["-c", msmtp, &port, &mail]),
        (
            "swaks",
            vec![
                "--server", &server, "--from", "a@b", "--to", "c@d", "--data", &mail,
            ],
        ),
        ("python3", vec!["-c", python, &port, &mail]),
    ] {
        let output = finish(
            Command::new(program)
                .args(&arguments)
                .env("HOME", rig.path("")),
        );
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        let queue = rig.queue();
        assert_eq!(queue.len(), 1, "{program}");
        let kept = fs::read_to_string(&queue[0]).unwrap().replace("\r\n", "\n");
        let end = ".a line with a dot\nthe end\n";
        assert!(
            kept.trim_end().ends_with(end.trim_end()),
            "{program}: {kept}"
        );
        fs::remove_file(&queue[0]).unwrap();
    }
}

/// Exim sends in chunks to whoever offers it, and by TLS.
#[test]
fn exim_sends_in_chunks_what_it_is_given() {
    let rig = Rig::new();
    rig.configure(&format!(
        "[receiver]\nsessionlog : {}\n",
        rig.path("sessions.json").display()
    ));
    let receiver = rig.receiver();
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::set_permissions(top, fs::Permissions::from_mode(0o777)).unwrap();
    let config = top.join("exim.conf");
    let settings = format!(
        "primary_hostname = sender.example\nspool_directory = {top}/spool\n\
         log_file_path = {top}/%slog\nexim_path = {config}.programs/exim4\n\
         keep_environment = LD_PRELOAD : LD_LIBRARY_PATH : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP\n\
         deliver_drop_privilege\nnever_users =\n\
         begin routers\nout:\n  driver = manualroute\n  route_list = * 127.0.0.1::{port} byname\n  \
         self = send\n  transport = out\nbegin transports\nout:\n  driver = smtp\n",
        top = top.display(),
        config = config.display(),
        port = rig.port
    );
    fs::write(&config, settings).unwrap();
    let body = ".a dot\n".repeat(20_000);
    let mail = top.join("mail");
    fs::write(&mail, format!("Subject: in chunks\n\n{body}")).unwrap();
    let exim = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/exim");
    let mut command = Command::new(exim);
    command
        .arg(&config)
        .args(["-odf", "-oi", "-f", "a@b.example", "c@d.example"]);
    let output = finish(command.stdin(fs::File::open(&mail).unwrap()));
    let log = || fs::read_to_string(top.join("mainlog")).unwrap_or_default();
    assert!(output.status.success(), "{output:?}: {}", log());
    let queue = rig.queue();
    assert_eq!(queue.len(), 1, "{}", log());
    let kept = fs::read_to_string(&queue[0]).unwrap();
    assert!(kept.ends_with(&body.replace('\n', "\r\n")));
    receiver.stop();
    let record = fs::read_to_string(rig.path("sessions.json")).unwrap();
    assert!(record.contains(r#""input":"BDAT "#), "{record}");
}
