//! The programs as an operator meets them: exit codes, messages, import, parse.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::rig::{PATIENCE, Rig, Service, binary, finish, wait_until};

fn code(command: &mut Command) -> (i32, String) {
    let output = finish(command);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), errors)
}

#[test]
fn exit_codes_are_sysexits_and_the_last_line_names_the_remedy() {
    let rig = Rig::new();
    let run = |program: &str, arguments: &[&str]| code(rig.command(program).args(arguments));
    assert_eq!(run("shiva", &["nonsense"]).0, 64);
    assert_eq!(run("shiva", &[]).0, 64);
    assert_eq!(run("shiva-analyzer", &["--never"]).0, 64);
    let (status, errors) = run("shiva", &["report"]);
    assert_eq!(status, 69);
    assert!(errors.contains("shiva-dbcreate"), "{errors}");
    assert_eq!(run("shiva", &["import", "/nonexistent"]).0, 66);
    assert_eq!(run("shiva-dbcreate", &[]).0, 0);
    assert_eq!(run("shiva", &["show", "abcd"]).0, 66);
    assert_eq!(run("shiva", &["report", "--check-config"]).0, 0);
    let (status, errors) = code(Command::new(binary("shiva-receiver")).args(["--config", "/none"]));
    assert_eq!(status, 78);
    assert!(
        errors.contains("/none") && errors.contains("--config FILE"),
        "{errors}"
    );
    let wrong = rig.path("wrong.conf");
    fs::write(&wrong, "[receiver]\nlistenport : many\n").unwrap();
    let (status, errors) = code(
        Command::new(binary("shiva-analyzer"))
            .arg("--check-config")
            .arg("--config")
            .arg(&wrong),
    );
    assert_eq!(status, 78);
    for part in [
        "wrong.conf:2",
        "[receiver]",
        "listenport",
        "many",
        "1 to 65535",
    ] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
}

#[test]
fn the_configuration_may_come_after_the_subcommand_or_from_the_environment() {
    let rig = Rig::new();
    rig.ok("shiva-dbcreate", &[]);
    let file = rig.path("shiva.conf");
    let after = finish(
        Command::new(binary("shiva"))
            .args(["report", "--config"])
            .arg(&file),
    );
    assert!(after.status.success());
    let environment = finish(
        Command::new(binary("shiva"))
            .arg("report")
            .env("SHIVA_CONF", &file),
    );
    assert!(environment.status.success());
}

#[test]
fn a_taken_port_and_a_second_service_are_refused_with_the_remedy() {
    let rig = Rig::new();
    let _receiver = rig.receiver();
    let (status, errors) = code(&mut rig.command("shiva-receiver"));
    assert_eq!(status, 69);
    assert!(
        errors.contains("another receiver has the queue"),
        "{errors}"
    );
    let other = Rig::new();
    let text = fs::read_to_string(other.path("shiva.conf")).unwrap();
    let text = text.replace(&other.port.to_string(), &rig.port.to_string());
    fs::write(other.path("shiva.conf"), text).unwrap();
    let (status, errors) = code(&mut other.command("shiva-receiver"));
    assert_eq!(status, 69);
    assert!(errors.contains("another program has the port"), "{errors}");
    let _analyzer = rig.analyzer();
    wait_until("the analyzer has the lock", || {
        rig.path("db/ShivaTemp.sqlite").exists()
    });
    let (status, errors) = code(rig.command("shiva-analyzer").arg("--once"));
    assert_eq!(status, 69);
    assert!(
        errors.contains("another analyzer has the queue"),
        "{errors}"
    );
}

#[test]
fn once_gives_up_with_69_when_the_database_is_away_and_keeps_all() {
    let rig = Rig::new();
    rig.drop_file("a.eml", b"Subject: x\r\n\r\nx\r\n");
    rig.ok("shiva-dbcreate", &[]);
    let holder = rig.database("ShivaTemp.sqlite");
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (status, errors) = code(rig.command("shiva-analyzer").arg("--once"));
    assert_eq!(status, 69, "{errors}");
    assert!(errors.contains("ShivaTemp.sqlite"), "{errors}");
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(rig.queue().len(), 1);
    rig.once();
    assert_eq!(rig.total("spams"), 1);
}

#[test]
fn the_service_waits_for_its_database_and_goes_on() {
    let rig = Rig::new();
    rig.ok("shiva-dbcreate", &[]);
    let holder = rig.database("ShivaTemp.sqlite");
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    rig.drop_file("a.eml", b"Subject: x\r\n\r\nx\r\n");
    let analyzer = Service::logging(rig.command("shiva-analyzer"), &rig.path("log"));
    // It is away when SQLite itself has waited in vain.
    wait_until("it waits", || {
        fs::read_to_string(rig.path("log"))
            .unwrap()
            .contains("event=database.away")
    });
    holder.execute_batch("ROLLBACK").unwrap();
    wait_until("the mail is counted", || rig.total("spams") == 1);
    analyzer.stop();
}

#[test]
fn parse_tells_what_the_analyzer_sees() {
    let rig = Rig::new();
    let good = rig.path("good.eml");
    fs::write(
        &good,
        "From: a@b\r\nTo: c@d\r\nSubject: s\r\n\r\nhttp://x.example/\r\n",
    )
    .unwrap();
    let empty = rig.path("empty.eml");
    fs::write(&empty, "").unwrap();
    let output = finish(
        Command::new(binary("shiva"))
            .arg("parse")
            .args([&good, &empty]),
    );
    assert_eq!(output.status.code(), Some(65));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let keys: Vec<&str> = lines[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = vec![
        "file",
        "id",
        "subject",
        "from",
        "to",
        "headers",
        "text",
        "html",
        "ssdeep",
        "length",
        "links",
        "attachments",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(lines[0]["links"][0], "http://x.example/");
    assert_eq!(lines[0]["length"], "http://x.example/\n".len() as u64 + 1);
    assert!(lines[1]["error"].as_str().unwrap().contains("empty"));
    let mut child = Command::new(binary("shiva"))
        .arg("parse")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&fs::read(&good).unwrap())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let parsed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(parsed["id"], lines[0]["id"]);
    assert_eq!(parsed["file"], "-");
}

#[test]
fn import_takes_files_directories_maildirs_mboxes_and_gzip() {
    let rig = Rig::new();
    let store = rig.path("store");
    for part in ["maildir/new", "maildir/cur", "maildir/tmp"] {
        fs::create_dir_all(store.join(part)).unwrap();
    }
    let message = |n: usize| format!("Subject: {n}\n\nmessage {n}\n");
    fs::write(store.join("one.eml"), message(1)).unwrap();
    fs::write(store.join("maildir/new/two"), message(2)).unwrap();
    fs::write(store.join("maildir/cur/three:2,S"), message(3)).unwrap();
    fs::write(store.join("maildir/tmp/unfinished"), message(99)).unwrap();
    let postmark = "From a@b Thu Aug 22 13:27:39 2002\n";
    let mbox = format!("{postmark}{}\n{postmark}{}", message(4), message(5));
    fs::write(store.join("box"), mbox).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(message(6).as_bytes()).unwrap();
    fs::write(store.join("six.gz"), gz.finish().unwrap()).unwrap();
    let old = "1374000000.M012345P99Q3-203.0.113.9-my-sensor-bob";
    fs::write(store.join(old), format!("{postmark}{}", message(7))).unwrap();
    let folder = store.join("maildir/.Junk/new");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir(store.join("maildir/.Junk/cur")).unwrap();
    let single = format!("{postmark}Subject: 8\n\n\n{postmark}>From inside\n\n");
    fs::write(folder.join("eight"), &single).unwrap();
    let printed = rig.ok("shiva", &["import", store.to_str().unwrap()]);
    assert_eq!(printed, "8 messages imported\n");
    rig.once();
    let report = rig.report();
    assert_eq!(report["totals"]["spams"], 8);
    assert_eq!(report["totals"]["distinct"], 8);
    let find = |subject: &str| {
        let tops = report["top"].as_array().unwrap();
        let top = tops.iter().find(|top| top["subject"] == subject).unwrap();
        rig.show(top["id"].as_str().unwrap())
    };
    assert_eq!(find("4")["first_seen"], "2002-08-22T13:27:39Z");
    let seven = find("7");
    assert_eq!(seven["first_seen"], "2013-07-16T18:40:00Z");
    assert_eq!(seven["ips"][0], "203.0.113.9");
    assert_eq!(seven["sensors"][0], "my-sensor");
    assert_eq!(seven["users"][0], "bob");
    // One message by its name: only the `From ` line before it goes.
    let eight = find("8")["id"].as_str().unwrap().to_owned();
    let raw = rig.run("shiva", &["show", &eight, "--raw"]).stdout;
    assert_eq!(raw, &single.as_bytes()[postmark.len()..]);
    // What the operator deleted is said to be gone, and the record stays.
    let shown = rig.ok("shiva", &["show", &eight]);
    let sample = shown.lines().find_map(|line| line.strip_prefix("sample"));
    let sample = sample.unwrap().trim();
    fs::remove_file(sample).unwrap();
    let output = rig.run("shiva", &["show", &eight, "--raw"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(66), "{said}");
    assert!(
        said.contains("the sample is gone") && said.contains(sample),
        "{said}"
    );
    assert_eq!(rig.show(&eight)["count"], 1);
}

#[test]
fn sigterm_lets_an_open_transaction_finish() {
    let rig = Rig::new();
    let receiver = rig.receiver();
    let (mut idle, mut open) = (rig.client(), rig.client());
    open.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    for _ in 0..3 {
        open.reply().unwrap();
    }
    let pid = rustix::process::Pid::from_child(&receiver.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(idle.reply().unwrap().starts_with("421 "));
    assert!(std::net::TcpStream::connect(("127.0.0.1", rig.port)).is_err());
    open.send(b"Subject: late\r\n\r\nx\r\n.\r\n");
    assert!(open.reply().unwrap().starts_with("250 "));
    assert!(open.reply().unwrap().starts_with("421 "));
    receiver.stop();
    assert_eq!(rig.queue().len(), 1);
}

#[test]
fn memory_stays_bounded_while_many_send_much() {
    let rig = Rig::new();
    let receiver = rig.receiver();
    let line = [b'x'; 998];
    std::thread::scope(|scope| {
        for _ in 0..16 {
            let (rig, line) = (&rig, &line);
            scope.spawn(move || {
                let mut client = rig.client();
                client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
                for _ in 0..8_000 {
                    client.send(line);
                    client.send(b"\r\n");
                }
                client.send(b".\r\n");
                while !client.reply().unwrap().contains("queued as") {}
            });
        }
    });
    let status = fs::read_to_string(format!("/proc/{}/status", receiver.0.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(
        peak < 48 * 1024,
        "16 sessions with 8 MB each took {peak} kB"
    );
    assert_eq!(rig.queue().len(), 16);
}

#[test]
fn a_message_over_the_limit_is_refused_and_leaves_nothing() {
    let rig = Rig::new();
    let text = fs::read_to_string(rig.path("shiva.conf")).unwrap();
    let text = text.replace("[analyzer]", "maxmessagesize : 100000\n[analyzer]");
    fs::write(rig.path("shiva.conf"), text).unwrap();
    let _receiver = rig.receiver();
    let mut client = rig.client();
    let reply = client.mail("a@b", "c@d", &vec![b'x'; 5_000_000]).unwrap();
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    let reply = client
        .mail("a@b", "c@d", b"Subject: small\r\n\r\nx\r\n")
        .unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
    assert_eq!(rig.queue().len(), 1);
    assert_eq!(fs::read_dir(rig.path("queue/tmp")).unwrap().count(), 0);
}

#[test]
fn systemd_hears_when_a_service_is_ready_and_when_it_stops() {
    for program in ["shiva-receiver", "shiva-analyzer"] {
        let rig = Rig::new();
        let socket = std::os::unix::net::UnixDatagram::bind(rig.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = rig.command(program);
        command.env("NOTIFY_SOCKET", rig.path("notify"));
        let service = Service::start(command);
        let hear = || {
            let mut message = [0; 4096];
            let length = socket.recv(&mut message).unwrap();
            String::from_utf8_lossy(&message[..length]).into_owned()
        };
        assert_eq!(hear().trim(), "READY=1", "{program}");
        service.stop();
        let stopping = std::iter::repeat_with(hear).take(3);
        assert!(
            stopping
                .into_iter()
                .any(|message| message.trim() == "STOPPING=1"),
            "{program}"
        );
    }
}

#[test]
fn systemd_hears_that_a_service_is_alive_until_a_message_holds_a_thread_for_ever() {
    let rig = Rig::new();
    let socket = std::os::unix::net::UnixDatagram::bind(rig.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let start = |program: &str| {
        let mut command = rig.command(program);
        command.env("NOTIFY_SOCKET", rig.path("notify"));
        command.env("WATCHDOG_USEC", "1000000");
        command.env("FAILPOINTS", "poison=sleep(600000)");
        Service::start(command)
    };
    let mut message = [0; 4096];
    let mut beats = |least: usize| {
        let mut beats = 0;
        while beats < least
            && let Ok(length) = socket.recv(&mut message)
        {
            beats += usize::from(message[..length].starts_with(b"WATCHDOG=1"));
        }
        beats
    };
    let receiver = start("shiva-receiver");
    assert_eq!(beats(8), 8, "an idle receiver is alive");
    receiver.stop();
    let _analyzer = start("shiva-analyzer");
    assert_eq!(beats(8), 8, "an idle analyzer is alive");
    rig.drop_file("a.eml", b"Subject: x\r\nX-Shiva-Test: poison\r\n\r\nx\r\n");
    // It ends: with nothing sent for twice the time that systemd would wait.
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    assert!(beats(60) < 60);
}

#[test]
fn sighup_has_the_configuration_checked_and_nothing_else_changed() {
    for program in ["shiva-receiver", "shiva-analyzer"] {
        let rig = Rig::new();
        let log = fs::File::create(rig.path("log")).unwrap();
        let mut child = rig.command(program).stderr(log).spawn().unwrap();
        let said = |what: &str| fs::read_to_string(rig.path("log")).unwrap().contains(what);
        let hangup = || {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        };
        wait_until("it runs", || {
            said("event=receiver.listening") || said("event=analyzer.started")
        });
        hangup();
        wait_until("it checks", || said("event=config.checked changed=no"));
        let text = fs::read_to_string(rig.path("shiva.conf")).unwrap();
        fs::write(
            rig.path("shiva.conf"),
            format!("{text}\n[analyzer]\nsimilarity : 90\n"),
        )
        .unwrap();
        hangup();
        wait_until("it sees the change", || {
            said("event=config.checked changed=yes")
        });
        fs::write(
            rig.path("shiva.conf"),
            format!("{text}\n[analyzer]\nsimilarity : 900\n"),
        )
        .unwrap();
        hangup();
        wait_until("it sees the mistake", || said("event=config.wrong"));
        assert!(child.try_wait().unwrap().is_none(), "{program} goes on");
        Service(child).stop();
    }
}

#[test]
fn a_secret_in_the_file_that_both_services_read_is_warned_about() {
    let rig = Rig::with("[database]\npassword : hunter2\n[hpfeeds]\nsecret : s3cret\n");
    let said = rig.ok("shiva-analyzer", &["--check-config"]);
    for key in [
        "[database] password is a secret",
        "[hpfeeds] secret is a secret",
    ] {
        assert!(said.contains(key), "{said}");
    }
    assert!(
        !said.contains("hunter2") && !said.contains("s3cret"),
        "{said}"
    );
    let rig = Rig::new();
    fs::create_dir(rig.path("conf.d")).unwrap();
    let secrets = rig.path("conf.d/secrets.conf");
    fs::write(&secrets, "[database]\npassword : hunter2\n").unwrap();
    let said = rig.ok("shiva-analyzer", &["--check-config"]);
    assert!(said.contains("[database] password is a secret"), "{said}");
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o640)).unwrap();
    let said = rig.ok("shiva-analyzer", &["--check-config"]);
    assert!(!said.contains("password"), "{said}");
}

#[test]
fn what_a_process_may_not_read_of_conf_d_is_named() {
    let rig = Rig::new();
    let directory = rig.path("conf.d");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("local.conf");
    fs::write(&file, "[receiver]\nsensorname : another\n").unwrap();
    let check = |mode| {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let output =
            finish(without_privileges(&rig.command("shiva-receiver")).arg("--check-config"));
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.ends_with("no error\n"),
            "{said}"
        );
        said
    };
    let named = |path: &Path| format!("not read, for you may not: {}\n", path.display());
    for mode in [0o000, 0o100, 0o300] {
        assert!(check(mode).contains(&named(&directory)), "{mode:o}");
    }
    for mode in [0o400, 0o600] {
        assert!(check(mode).contains(&named(&file)), "{mode:o}");
    }
    assert!(!check(0o500).contains("not read"));
}

/// The command, for whom modes of files hold even if it is root's.
fn without_privileges(command: &Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args());
        return same;
    }
    let mut held = Command::new("setpriv");
    held.args(["--inh-caps=-all", "--bounding-set=-all", "--"]);
    held.arg(command.get_program()).args(command.get_args());
    held
}

#[test]
fn a_database_belongs_to_one_analyzer_whatever_the_queue() {
    let (rig, other) = (Rig::new(), Rig::new());
    let _analyzer = rig.analyzer();
    wait_until("the analyzer has the lock", || {
        rig.path("db/ShivaTemp.sqlite").exists()
    });
    let text = fs::read_to_string(other.path("shiva.conf")).unwrap();
    let (mine, its) = (other.path("db"), rig.path("db"));
    let text = text.replace(mine.to_str().unwrap(), its.to_str().unwrap());
    fs::write(other.path("shiva.conf"), text).unwrap();
    let (status, errors) = code(other.command("shiva-analyzer").arg("--once"));
    assert_eq!(status, 69);
    assert!(
        errors.contains("another analyzer has the database"),
        "{errors}"
    );
}

#[test]
fn mail_waits_when_the_database_files_are_taken_away() {
    let rig = Rig::new();
    rig.drop_file("a.eml", b"Subject: x\r\n\r\nx\r\n");
    let analyzer = Service::logging(rig.command("shiva-analyzer"), &rig.path("log"));
    wait_until("the first is counted", || {
        rig.path("db/Shiva.sqlite").exists() && rig.queue().is_empty()
    });
    let aside = rig.path("aside");
    fs::rename(rig.path("db"), &aside).unwrap();
    rig.drop_file("b.eml", b"Subject: y\r\n\r\ny\r\n");
    wait_until("it sees that", || {
        fs::read_to_string(rig.path("log"))
            .unwrap()
            .contains("event=database.away")
    });
    assert_eq!(rig.queue().len(), 1, "it was counted where nobody sees it");
    fs::rename(&aside, rig.path("db")).unwrap();
    wait_until("both are counted", || rig.total("spams") == 2);
    analyzer.stop();
}

#[test]
fn a_dry_run_of_dbcreate_prints_the_sql_and_makes_nothing() {
    let rig = Rig::new();
    let said = rig.ok("shiva-dbcreate", &["--dry-run"]);
    assert!(said.contains("CREATE TABLE windows_taken"), "{said}");
    assert!(!rig.path("db/Shiva.sqlite").exists());
    rig.ok("shiva-dbcreate", &[]);
    let said = rig.ok("shiva-dbcreate", &["--dry-run"]);
    assert_eq!(said.matches("unchanged").count(), 2, "{said}");
    assert!(!said.contains("CREATE"), "{said}");
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let rig = Rig::new();
    fs::create_dir(rig.path("db")).unwrap();
    let foreign = rig.database("Shiva.sqlite");
    foreign.execute_batch("CREATE TABLE spam (eggs)").unwrap();
    drop(foreign);
    let before = fs::read(rig.path("db/Shiva.sqlite")).unwrap();
    let output = rig.run("shiva-dbcreate", &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert!(errors.contains("of another program"), "{errors}");
    assert_eq!(fs::read(rig.path("db/Shiva.sqlite")).unwrap(), before);
}
