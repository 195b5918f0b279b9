//! The main job: mail in by SMTP, analysed, read by the operator.

use std::fs;
use std::process::Command;

use crate::rig::{Rig, Service, files_under, finish, wait_until};

const HTML: &str = "From: =?utf-8?q?Bill=C3=A9?= <bill@example.net>\r\nTo: victim@example.org\r\n\
    Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; \
    boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>.dot<a \
    href=\"http://Example.NET/a?b&amp;c\">x</a></p>\r\n.\r\n--b\r\nContent-Type: \
    application/pdf\r\nContent-Disposition: attachment; filename=\"../../etc/passwd\"\r\n\
    Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n";

#[test]
fn a_mail_is_received_analysed_and_shown() {
    let rig = Rig::new();
    let receiver = rig.receiver();
    let mut client = rig.client();
    for _ in 0..3 {
        let reply = client.mail("", "a@example.org", HTML.as_bytes()).unwrap();
        assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    }
    assert_eq!(rig.queue().len(), 3);
    receiver.stop();
    rig.once();
    let report = rig.report();
    assert_eq!(report["queue"], 0);
    assert_eq!(report["totals"]["spams"], 3);
    for total in ["distinct", "links", "ips", "attachments", "sensors"] {
        assert_eq!(report["totals"][total], 1, "{total}");
    }
    let top = &report["top"][0];
    assert_eq!(top["count"], 3);
    let spam = rig.show(top["id"].as_str().unwrap());
    assert_eq!(spam["subject"], "Grüße");
    assert_eq!(spam["from"], "Billé <bill@example.net>");
    assert_eq!(spam["to"][0], "a@example.org");
    assert_eq!(spam["ips"][0], "127.0.0.1");
    assert_eq!(spam["sensors"][0], "rig");
    assert_eq!(spam["links"][0], "http://example.net/a?b&c");
    assert_eq!(spam["attachments"][0]["name"], "../../etc/passwd");
    assert_eq!(spam["attachments"][0]["size"], 5);
    let kept = files_under(&rig.path("attachment"));
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(&kept[0]).unwrap(), b"hello");
}

#[test]
fn the_sample_is_what_was_sent_byte_for_byte() {
    let rig = Rig::new();
    let _receiver = rig.receiver();
    let mut all_bytes: Vec<u8> = b"Subject: x\r\n\r\n".to_vec();
    all_bytes.extend(0..=255u8);
    all_bytes.extend_from_slice(b"\n.\n..\r\n.leading\r\n\r\n.\r.\r\n..\r\n");
    assert!(
        rig.client()
            .mail("a@b", "c@d", &all_bytes)
            .unwrap()
            .starts_with("250")
    );
    rig.once();
    let id = rig.report()["top"][0]["id"].as_str().unwrap().to_owned();
    let raw = rig.run("shiva", &["show", &id, "--raw"]).stdout;
    assert_eq!(raw, all_bytes);
}

#[test]
fn both_services_run_beside_each_other_and_stop() {
    let rig = Rig::new();
    let (receiver, analyzer) = (rig.receiver(), rig.analyzer());
    for n in 0..20 {
        let message = format!("Subject: {n}\r\n\r\nbody {n}\r\n");
        assert!(
            rig.client()
                .mail("a@b", "c@d", message.as_bytes())
                .unwrap()
                .starts_with("250")
        );
    }
    wait_until("all is analysed", || {
        let report = rig.run("shiva", &["report", "--json"]);
        serde_json::from_slice::<serde_json::Value>(&report.stdout)
            .is_ok_and(|report| report["totals"]["spams"] == 20 && report["queue"] == 0)
    });
    receiver.stop();
    analyzer.stop();
    // The window was kept, not closed: the next run goes on with it.
    let windows = rig.database("ShivaTemp.sqlite");
    let (records, number): (i64, i64) = windows
        .query_row("SELECT count(*), max(window) FROM spam", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!((records, number), (20, 1));
    rig.once();
    assert_eq!(rig.total("spams"), 20);
}

#[test]
fn windows_correlate_with_the_main_store() {
    let rig = Rig::new();
    let body = |word: &str| {
        let lines: String = (0..40)
            .map(|n| format!("line {n} of the same old story\r\n"))
            .collect();
        format!("Subject: story\r\n\r\n{lines}{word} http://{word}.example.net/\r\n")
    };
    let _receiver = rig.receiver();
    for (window, word) in ["one", "two", "three"].into_iter().enumerate() {
        rig.client()
            .mail("a@b", &format!("{word}@d"), body(word).as_bytes())
            .unwrap();
        rig.client()
            .mail("a@b", "c@d", format!("Subject: {word}\r\n\r\n").as_bytes())
            .unwrap();
        rig.once();
        assert_eq!(rig.total("spams"), 2 * (window as u64 + 1));
    }
    let report = rig.report();
    assert_eq!(report["totals"]["distinct"], 4);
    assert_eq!(report["top"][0]["count"], 3);
    let spam = rig.show(report["top"][0]["id"].as_str().unwrap());
    assert_eq!(spam["links"].as_array().unwrap().len(), 3);
    assert_eq!(spam["to"].as_array().unwrap().len(), 4 - 1);
    // One sample for each record: those of records that went into another are gone.
    assert_eq!(files_under(&rig.path("rawspam")).len(), 4);
}

#[test]
fn real_clients_are_understood() {
    let rig = Rig::new();
    let _receiver = rig.receiver();
    let port = rig.port.to_string();
    let script = "import smtplib,sys\n\
        s=smtplib.SMTP('127.0.0.1',int(sys.argv[1]))\n\
        s.sendmail('a@example.net',['b@example.org','c@example.org'],\
        b'Subject: python\\r\\n\\r\\n.dot\\r\\n'+bytes(range(128,256))+b'\\r\\n')\ns.quit()\n";
    let python = finish(Command::new("python3").args(["-c", script, &port]));
    assert!(
        python.status.success(),
        "{}",
        String::from_utf8_lossy(&python.stderr)
    );
    let server = format!("127.0.0.1:{port}");
    let swaks = finish(Command::new("swaks").args([
        "--server",
        &server,
        "--to",
        "b@example.org",
        "--from",
        "a@example.net",
        "--h-Subject",
        "swaks",
        "--pipeline",
    ]));
    assert!(
        swaks.status.success(),
        "{}",
        String::from_utf8_lossy(&swaks.stdout)
    );
    rig.once();
    assert_eq!(rig.total("spams"), 2);
    assert_eq!(rig.total("distinct"), 2);
}

#[test]
fn localdb_false_keeps_what_a_report_needs_and_no_bodies() {
    let rig = Rig::with("localdb : False\n");
    rig.drop_file("a.eml", HTML.as_bytes());
    rig.once();
    let report = rig.report();
    assert_eq!(report["totals"]["spams"], 1);
    assert_eq!(report["totals"]["links"], 1);
    let spam = rig.show(report["top"][0]["id"].as_str().unwrap());
    assert_eq!(spam["html"], "");
    assert_eq!(spam["subject"], "Grüße");
}

#[test]
fn a_window_is_closed_when_its_time_is_up() {
    let rig = Rig::new();
    rig.ok("shiva-dbcreate", &[]);
    rig.drop_file("a.eml", b"Subject: x\r\n\r\nx\r\n");
    rig.database("ShivaTemp.sqlite")
        .execute("UPDATE windows SET opened = '2001-01-01 00:00:00'", [])
        .unwrap();
    let analyzer = rig.analyzer();
    let main = rig.database("Shiva.sqlite");
    let taken = || -> i64 {
        main.query_row("SELECT count(*) FROM windows_taken", [], |row| row.get(0))
            .unwrap()
    };
    wait_until("a window is taken in", || taken() == 1);
    // The next one has its whole time before it.
    rig.drop_file("b.eml", b"Subject: y\r\n\r\ny\r\n");
    wait_until("both are counted", || rig.total("spams") == 2);
    assert_eq!(taken(), 1);
    analyzer.stop();
}

#[test]
fn who_logged_in_is_in_the_record_and_nobody_else_sends() {
    let rig =
        Rig::with("[receiver]\nauthenabled : True\nsmtpuser : J\u{fc}rgen\nsmtppasswd : Geheim\n");
    let log = rig.path("log");
    let receiver = Service::logging(rig.command("shiva-receiver"), &log);
    wait_until("the receiver listens", || {
        std::net::TcpStream::connect(("127.0.0.1", rig.port)).is_ok()
    });
    let mut client = rig.client();
    let refused = client.mail("a@example.net", "b@example.org", b"Subject: x\r\n\r\nx\r\n");
    assert_eq!(refused.unwrap(), "530 5.7.0 Authentication required\r\n");
    drop(client);
    let mut client = rig.client();
    // J\u{fc}rgen with geheim, then with Geheim.
    assert!(
        client
            .say("AUTH PLAIN AErDvHJnZW4AZ2VoZWlt")
            .starts_with("535 5.7.8 ")
    );
    assert!(
        client
            .say("AUTH PLAIN AErDvHJnZW4AR2VoZWlt")
            .starts_with("235 2.7.0 ")
    );
    let kept = client.mail("a@example.net", "b@example.org", b"Subject: x\r\n\r\nx\r\n");
    assert!(kept.unwrap().starts_with("250 "));
    drop(client);
    receiver.stop();
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains(" messages=1 "), "{log}");
    assert!(log.contains(" logins=2 logged_in=1 "), "{log}");
    rig.once();
    let id = rig.report()["top"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(rig.show(&id)["users"][0], "J\u{fc}rgen");
}
