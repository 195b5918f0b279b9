//! The programs on a MariaDB server, on the rights that shiva.conf(5) says are enough.

use std::fs;

use crate::exactly_once::{ANALYZER_POINTS, check_findings, fill};
use crate::mariadb::{Databases, MariaDb, Rights};
use crate::rig::{Rig, finish, wait_until};

/// An installation on fresh databases, which `shiva-dbcreate` has made.
fn installed(databases: &Databases<'_>) -> Rig {
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
    let refused = |remedy: &str| {
        let output = finish(rig.command("shiva").arg("report"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{errors}");
        assert!(errors.contains(remedy), "{errors}");
    };
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
fn a_socket_and_encryption_lead_to_the_server_too() {
    let databases = Databases::fresh(MariaDb::shared());
    let rig = installed(&databases);
    let text = fs::read_to_string(rig.path("shiva.conf")).unwrap();
    let socket = MariaDb::shared().socket();
    let by_socket = format!("{text}port : 1\nsocket : {}\n", socket.display());
    fs::write(rig.path("shiva.conf"), by_socket).unwrap();
    assert_eq!(rig.total("spams"), 0);
    // This server has no certificate: what must be encrypted is not said in the clear.
    fs::write(rig.path("shiva.conf"), text + "tls : on\n").unwrap();
    let output = finish(rig.command("shiva").arg("report"));
    assert_eq!(output.status.code(), Some(69));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("secure connection"), "{errors}");
}
