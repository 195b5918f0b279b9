//! The database goes away, in every way a server can, and nothing is lost or counted twice.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::mariadb::{Databases, MariaDb};
use crate::mariadb_site::{Proxy, Site};
use crate::rig::{Rig, Service, finish, wait_until};

#[test]
fn a_connection_that_was_cut_while_idle_is_no_outage() {
    let server = MariaDb::start(&["--wait-timeout=1"]);
    let site = Site::on(&server);
    let service = site.service();
    site.drop_spam(0, 3);
    site.wait_until_counted();
    std::thread::sleep(Duration::from_secs(3));
    site.drop_spam(3, 6);
    site.wait_until_counted();
    server.sql(&[&format!("KILL USER {}", site.account.user)]);
    site.drop_spam(6, 9);
    site.wait_until_counted();
    service.stop();
    site.rig.once();
    site.check(9);
    assert_eq!(site.said("database.away"), 0);
}

#[test]
fn an_outage_is_said_once_and_waited_out() {
    let server = MariaDb::start(&[]);
    let site = Site::on(&server);
    let service = site.service();
    site.drop_spam(0, 30);
    site.wait_until_counted();
    server.stop();
    site.drop_spam(30, 60);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(site.said("database.away"), 1);
    assert!(!site.rig.queue().is_empty());
    let log = fs::read_to_string(site.log()).unwrap();
    assert!(log.contains("is the server running"), "{log}");
    server.start_again();
    site.wait_until_counted();
    wait_until("it says so", || site.said("database.back") == 1);
    service.stop();
    site.rig.once();
    site.check(60);
    assert_eq!(site.said("database.away"), 1);
    assert_eq!(site.said("batch.undone"), 0);
}

#[test]
fn a_service_that_starts_before_its_server_waits() {
    let server = MariaDb::start(&[]);
    let site = Site::on(&server);
    site.drop_spam(0, 3);
    server.stop();
    let service = Service::logging(site.rig.command("shiva-analyzer"), &site.log());
    wait_until("it waits", || site.said("database.away") == 1);
    let output = finish(site.rig.command("shiva").arg("report"));
    assert_eq!(output.status.code(), Some(69));
    server.start_again();
    site.wait_until_counted();
    service.stop();
    site.check(3);
}

#[test]
fn a_server_killed_under_load_loses_nothing() {
    // However slow the machine, spam comes until the last round is over.
    const SPAMS_MAX: u32 = 200_000;
    let server = MariaDb::start(&[]);
    let site = Site::on(&server);
    let service = site.service();
    let over = AtomicBool::new(false);
    let spams = std::thread::scope(|scope| {
        let dropping = scope.spawn(|| {
            let mut dropped = 0;
            while !over.load(Ordering::SeqCst) && dropped < SPAMS_MAX {
                site.drop_spam(dropped, dropped + 20);
                dropped += 20;
                std::thread::sleep(Duration::from_millis(15));
            }
            dropped
        });
        for round in 0..4 {
            std::thread::sleep(Duration::from_millis(700 + 130 * round));
            if round % 2 == 0 {
                server.kill();
            } else {
                server.stop();
            }
            std::thread::sleep(Duration::from_millis(300));
            server.start_again();
        }
        over.store(true, Ordering::SeqCst);
        dropping.join().unwrap()
    });
    assert!(spams < SPAMS_MAX, "the load ended before the last round");
    site.wait_until_counted();
    service.stop();
    site.rig.once();
    site.check(u64::from(spams));
    let seen: u64 = site
        .databases
        .value("SELECT SUM(todaysCounter) FROM {m}.sdate");
    assert_eq!(seen, u64::from(spams));
}

#[test]
fn a_server_killed_while_windows_are_taken_in_takes_them_once() {
    let server = MariaDb::start(&[]);
    let site = Site::on(&server);
    for round in 0..3 {
        site.drop_spam(30 * round, 30 * (round + 1));
        // In the middle of the transaction, for long enough to lose it.
        let mut command = site.rig.command("shiva-analyzer");
        command.arg("--once");
        command.env("FAILPOINTS", "window-before-commit=1*sleep(3000)->off");
        std::thread::scope(|scope| {
            let analysing = scope.spawn(|| finish(&mut command));
            wait_until("the window is taken in", || {
                // Asked more often than every 100 ms, the table never changes.
                std::thread::sleep(Duration::from_millis(200));
                let query = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE \
                    trx_rows_modified > 0";
                server.value::<u32>(query) > 0 && site.rig.queue().is_empty()
            });
            std::thread::sleep(Duration::from_millis(500));
            server.kill();
            server.start_again();
            let output = analysing.join().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
        });
        site.check(u64::from(30 * (round + 1)));
    }
}

#[test]
fn a_commit_whose_answer_is_lost_counts_once() {
    let server = MariaDb::shared();
    let databases = Databases::fresh(server);
    // Batches, the window's close and its way into the main store.
    let proxy = Proxy::to(server, 6);
    let site = Site::with(databases, |_| proxy.port);
    for n in 0..4 {
        site.drop_spam(300 * n, 300 * (n + 1));
        site.rig.once();
    }
    assert_eq!(
        proxy.drops.load(Ordering::SeqCst),
        0,
        "answers were dropped"
    );
    site.check(1200);
    let windows: u64 = site
        .databases
        .value("SELECT COUNT(*) FROM {m}.windows_taken");
    assert_eq!(windows, 4, "none was closed or taken in twice");
}

#[test]
fn rights_taken_away_and_given_back_lose_nothing() {
    let server = MariaDb::start(&[]);
    let site = Site::on(&server);
    let service = site.service();
    let user = &site.account.user;
    site.drop_spam(0, 30);
    site.wait_until_counted();
    let (window, main) = (&site.databases.window, &site.databases.main);
    let kill = format!("KILL USER {user}");
    for (away, back, remedy) in [
        (
            format!("REVOKE INSERT ON {window}.* FROM {user}"),
            format!("GRANT INSERT ON {window}.* TO {user}"),
            "grant the user",
        ),
        (
            format!("ALTER USER {user} ACCOUNT LOCK"),
            format!("ALTER USER {user} ACCOUNT UNLOCK"),
            "account of the server",
        ),
    ] {
        let said = site.said("database.away");
        let from = 30 + 30 * u32::try_from(said).unwrap();
        server.sql(&[&away, &kill]);
        site.drop_spam(from, from + 30);
        wait_until("it says so", || site.said("database.away") == said + 1);
        let log = fs::read_to_string(site.log()).unwrap();
        assert!(log.contains(remedy), "{remedy} in {log}");
        server.sql(&[&back]);
        site.wait_until_counted();
    }
    service.stop();
    site.rig.once();
    site.check(90);
    assert_eq!(site.said("batch.undone"), 0, "no mail was blamed");
    let kept: u64 = server.value(&format!("SELECT SUM(totalCounter) FROM {main}.spam"));
    assert_eq!(kept, 90);
}

#[test]
fn two_analyzers_fill_one_main_store() {
    let server = MariaDb::shared();
    let first = Site::on(server);
    let mut databases = Databases::fresh(server);
    databases.main.clone_from(&first.databases.main);
    let second = Site::with(databases, |server| server.port());
    for round in 1..=4 {
        // The same campaign: copies, and one that is only similar.
        for (site, word) in [(&first, "alpha"), (&second, "beta")] {
            site.drop_spam(0, 300);
            let body = "the same long text of a campaign, a line of it. ".repeat(40);
            let message = format!("Subject: similar\r\n\r\n{body}{word} {round}\r\n");
            site.rig.drop_file("similar.eml", message.as_bytes());
        }
        std::thread::scope(|scope| {
            let runs = [&first, &second].map(|site| scope.spawn(|| site.rig.once()));
            runs.into_iter().for_each(|run| run.join().unwrap());
        });
        for site in [&first, &second] {
            let report = site.rig.report();
            assert_eq!(report["totals"]["spams"], 2 * 301 * round);
            assert_eq!(report["totals"]["distinct"], 4, "{report}");
        }
    }
    let counts: u64 = first
        .databases
        .value("SELECT SUM(todaysCounter) FROM {m}.sdate");
    assert_eq!(counts, 2 * 301 * 4);
}

#[test]
fn a_window_database_has_one_analyzer() {
    let first = Site::on(MariaDb::shared());
    let mut service = first.service();
    let other = Rig::with(&first.databases.config(&first.account));
    let output = finish(other.command("shiva-analyzer").arg("--once"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{errors}");
    for part in [
        "another analyzer has the database",
        "tempdb",
        "[analyzer] name",
    ] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
    // Killed and started again at once, it has what it had.
    service.kill();
    service = first.service();
    first.drop_spam(0, 3);
    first.wait_until_counted();
    service.stop();
    first.check(3);
}

#[test]
fn a_server_that_does_not_keep_what_it_says_is_warned_about() {
    let server = MariaDb::start(&["--innodb-flush-log-at-trx-commit=2"]);
    let site = Site::on(&server);
    let service = site.service();
    assert_eq!(site.said("database.not_durable"), 1);
    service.stop();
}

#[test]
fn a_full_server_is_waited_for_and_no_mail_blamed() {
    // The server keeps what it has for reading only, as when its disk is full or it is a replica.
    let server = MariaDb::start(&[]);
    let site = Site::on(&server);
    let service = site.service();
    server.sql(&["SET GLOBAL read_only = 1"]);
    site.drop_spam(0, 30);
    wait_until("it says so", || site.said("database.away") == 1);
    let log = fs::read_to_string(site.log()).unwrap();
    assert!(log.contains("make the server writable"), "{log}");
    server.sql(&["SET GLOBAL read_only = 0"]);
    site.wait_until_counted();
    service.stop();
    site.check(30);
    assert_eq!(site.said("batch.undone"), 0);
}
