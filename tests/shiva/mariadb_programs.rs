//! The programs on a MariaDB server, on the rights that shiva.conf(5) says are enough.

use std::fs;
use std::process::Command;

use crate::exactly_once::{ANALYZER_POINTS, check_findings, fill};
use crate::mariadb::{Databases, MariaDb};
use crate::mariadb_databases::Rights;
use crate::rig::{Rig, files_under, finish, wait_until};

/// An installation on fresh databases, which `shiva-dbcreate` has made.
pub fn installed(databases: &Databases<'_>) -> Rig {
    let rig = Rig::with(&databases.config(&databases.account(Rights::Dbcreate)));
    rig.ok("shiva-dbcreate", &[]);
    let text = fs::read_to_string(rig.path("shiva.conf")).unwrap();
    let account = databases.account(Rights::Analyzer);
    let text = text + &databases.config(&account);
    fs::write(rig.path("shiva.conf"), text).unwrap();
    rig
}

#[test]
fn a_mail_goes_all_the_way() {
    let databases = Databases::fresh(MariaDb::shared());
    let rig = installed(&databases);
    fill(&rig);
    rig.once();
    check_findings(&rig, "once", 1);
    // The second window adds to what the main store knows.
    fill(&rig);
    rig.once();
    check_findings(&rig, "twice", 2);
    let report = rig.ok("shiva", &["report"]);
    assert!(report.contains("kind 3"), "{report}");
    let id = rig.report()["top"][0]["id"].as_str().unwrap().to_owned();
    let spam = rig.show(&id);
    assert_eq!(spam["count"], 6, "{spam}");
    assert_eq!(spam["links"].as_array().unwrap().len(), 1, "{spam}");
    assert_eq!(spam["attachments"].as_array().unwrap().len(), 1, "{spam}");
    let days: u64 = databases.value("SELECT SUM(todaysCounter) FROM {m}.sdate");
    assert_eq!(days, 24);
    let windows: u64 = databases.value("SELECT COUNT(*) FROM {m}.windows_taken");
    assert_eq!(windows, 2);
}

#[test]
fn mail_by_smtp_is_analysed_by_the_service() {
    let databases = Databases::fresh(MariaDb::shared());
    let rig = installed(&databases);
    let (receiver, analyzer) = (rig.receiver(), rig.analyzer());
    let mut client = rig.client();
    for n in 0..20 {
        let message = format!("Subject: s\u{1f600} {}\r\n\r\nshort\r\n", n % 2);
        let reply = client.mail("a@b", &format!("{n}@c.example"), message.as_bytes());
        assert!(reply.unwrap().starts_with("250"));
    }
    wait_until("all is counted", || rig.total("spams") == 20);
    assert_eq!(rig.total("distinct"), 2);
    let id = rig.report()["top"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(rig.show(&id)["to"].as_array().map(Vec::len), Some(10));
    receiver.stop();
    analyzer.stop();
    assert!(rig.queue().is_empty());
}

#[test]
fn killed_at_every_step_on_a_server() {
    for point in ANALYZER_POINTS {
        let databases = Databases::fresh(MariaDb::shared());
        let rig = installed(&databases);
        fill(&rig);
        assert!(rig.once_crashing(point), "{point} was never reached");
        rig.once();
        check_findings(&rig, point, 1);
        fill(&rig);
        let _ = rig.once_crashing(point);
        rig.once();
        check_findings(&rig, point, 2);
        let days: u64 = databases.value("SELECT SUM(todaysCounter) FROM {m}.sdate");
        assert_eq!(days, 24, "{point}");
    }
}

#[test]
fn localdb_false_keeps_no_bodies_on_a_server() {
    let databases = Databases::fresh(MariaDb::shared());
    let rig = installed(&databases);
    let text = fs::read_to_string(rig.path("shiva.conf")).unwrap();
    fs::write(rig.path("shiva.conf"), text + "localdb : False\n").unwrap();
    fill(&rig);
    rig.once();
    check_findings(&rig, "localdb", 1);
    let query = "SELECT COUNT(*) FROM {m}.spam WHERE textMessage IS NOT NULL OR htmlMessage IS NOT \
        NULL OR headers IS NOT NULL";
    assert_eq!(databases.value::<u64>(query), 0);
}

#[test]
fn what_is_missing_or_forbidden_is_said_with_its_remedy() {
    let databases = Databases::fresh(MariaDb::shared());
    let account = databases.account(Rights::Analyzer);
    let rig = Rig::with(&databases.config(&account));
    let refused = |remedy: &str| refused(&rig, remedy);
    refused("shiva-dbcreate");
    databases.make();
    rig.ok("shiva", &["report"]);
    let user = &account.user;
    MariaDb::shared().sql(&[&format!("REVOKE ALL ON {}.* FROM {user}", databases.main)]);
    refused("grant the user what MYSQL AND MARIADB");
    MariaDb::shared().sql(&[&format!("SET PASSWORD FOR {user} = PASSWORD('another')")]);
    refused("set [database] user and password");
    let text = fs::read_to_string(rig.path("shiva.conf")).unwrap();
    let nobody = crate::rig::free_port();
    let elsewhere = format!("{text}host : 127.0.0.1\nport : {nobody}\n");
    fs::write(rig.path("shiva.conf"), elsewhere).unwrap();
    refused("is the server running");
}

#[test]
fn a_socket_leads_to_the_server_too() {
    let databases = Databases::fresh(MariaDb::shared());
    let rig = installed(&databases);
    let socket = MariaDb::shared().socket();
    add_to(&rig, &format!("port : 1\nsocket : {}\n", socket.display()));
    assert_eq!(rig.total("spams"), 0);
}

fn add_to(rig: &Rig, lines: &str) {
    let text = fs::read_to_string(rig.path("shiva.conf")).unwrap();
    fs::write(rig.path("shiva.conf"), text + lines).unwrap();
}

/// `shiva report` must fail, and say this.
fn refused(rig: &Rig, words: &str) {
    let output = finish(rig.command("shiva").arg("report"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert!(errors.contains(words), "{errors}");
}

#[test]
fn what_must_be_encrypted_is() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name).display().to_string();
    let (key, certificate) = (file("key"), file("certificate"));
    let made = finish(Command::new("openssl").args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=db.example",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ]));
    assert!(made.status.success(), "{made:?}");
    let (key, certificate) = (
        format!("--ssl-key={key}"),
        format!("--ssl-cert={certificate}"),
    );
    let server = MariaDb::start(&[&key, &certificate]);
    let databases = Databases::fresh(&server);
    let rig = installed(&databases);
    server.sql(&["SET GLOBAL require_secure_transport = ON"]);
    refused(&rig, "Access denied");
    add_to(&rig, "tls : on\n");
    assert_eq!(rig.total("spams"), 0);
    add_to(&rig, "tls : verify\n");
    refused(&rig, "certificate");
    // A server that does not encrypt is not spoken to in the clear.
    let plain = Databases::fresh(MariaDb::shared());
    let rig = installed(&plain);
    add_to(&rig, "tls : on\n");
    refused(&rig, "secure connection");
}

#[test]
fn a_mail_that_the_server_refuses_is_set_aside_alone() {
    let databases = Databases::fresh(MariaDb::shared());
    let rig = installed(&databases);
    let narrow = format!(
        "ALTER TABLE {}.spam MODIFY subject VARCHAR(100)",
        databases.window
    );
    MariaDb::shared().sql(&[&narrow]);
    for n in 0..40 {
        let subject = "long ".repeat(if n == 17 { 30 } else { 1 });
        let message = format!("Subject: {subject}{n}\r\n\r\n{n}\r\n");
        rig.drop_file(&format!("{n}.eml"), message.as_bytes());
    }
    rig.once();
    assert_eq!((rig.total("spams"), rig.total("undeliverable")), (39, 1));
    let aside = files_under(&rig.path("undeliverable"));
    assert!(fs::read_to_string(&aside[0]).unwrap().contains("long long"));
    let reason = fs::read_to_string(&aside[1]).unwrap();
    let (ours, servers) = reason.split_once(": ").unwrap();
    assert_eq!(ours, "the database refused what stands in this message");
    assert!(servers.contains("'subject'"), "{reason}");
    let counted = databases.value::<String>("SELECT reason FROM {m}.undeliverable");
    assert_eq!(counted, ours);
}

#[test]
fn a_server_that_takes_small_packets_gets_small_packets() {
    let server = MariaDb::start(&["--max-allowed-packet=1M"]);
    let databases = Databases::fresh(&server);
    let rig = installed(&databases);
    for n in 0..10 {
        let line = format!("{n} a line of a long message that nobody reads to its end\r\n");
        let body = line.repeat(3_000_000 / line.len());
        let message = format!("Subject: large {n}\r\n\r\n{body}");
        rig.drop_file(&format!("{n}.eml"), message.as_bytes());
    }
    rig.once();
    assert_eq!((rig.total("spams"), rig.total("undeliverable")), (10, 0));
    let cut =
        "SELECT MIN(LENGTH(textMessage)) FROM {m}.spam WHERE textMessage LIKE '%[cut by SHIVA]'";
    assert!(databases.value::<u64>(cut) > 300_000);
}
