//! The server is there and does not go on: its disk is full, it hangs, or others hold its rows.
//! The analyzer waits; nothing is lost or counted twice, and it goes on by itself.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;
use rustix::process::{Pid, Signal, kill_process};

use crate::mariadb::MariaDb;
use crate::mariadb_site::Site;
use crate::rig::{Service, wait_until};

/// Writes until there is no room.
fn fill_up(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    while file.write_all(&[0xb5; 4096]).is_ok() {}
}

/// Drops copies of three spams, each to 150 recipients of its own.
fn drop_widely(site: &Site<'_>, from: u32, to: u32) {
    for n in from..to {
        let user = "x".repeat(50);
        let to: Vec<String> = (0..150)
            .map(|m| format!("{user}{n}.{m}@c.example"))
            .collect();
        let (to, kind) = (to.join(",\r\n "), n % 3);
        let message = format!("Subject: kind {kind}\r\nTo: {to}\r\n\r\nshort\r\n");
        site.rig.drop_file(&format!("{n}.eml"), message.as_bytes());
    }
}

#[test]
fn a_server_whose_disk_is_full_is_waited_for() {
    const SPAMS: u32 = 600;
    // Its own files are some 46 MB, and no file grows by more than a few at once.
    let server = MariaDb::on_disk("128m", &["--innodb-autoextend-increment=1"]);
    let site = Site::on(&server);
    let ballast = server.data().join("ballast");
    let service = site.service();
    // The rest adds short rows only: MariaDB 10.11 aborts when it finds no room for a long one.
    site.drop_spam(0, 3);
    site.wait_until_counted();
    std::thread::scope(|scope| {
        let dropping = scope.spawn(|| {
            for n in (3..SPAMS).step_by(20) {
                drop_widely(&site, n, SPAMS.min(n + 20));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        fill_up(&ballast);
        assert!(!dropping.is_finished(), "no load any more");
        wait_until("it says so", || site.said("database.away") > 0);
        dropping.join().unwrap();
    });
    assert!(!site.rig.queue().is_empty(), "it waits in the queue");
    let log = fs::read_to_string(site.log()).unwrap();
    assert!(
        log.contains("make room on the server's disk"),
        "{log} {}",
        server.log()
    );
    fs::remove_file(&ballast).unwrap();
    site.wait_until_counted();
    wait_until("it says so", || site.said("database.back") > 0);
    service.stop();
    site.rig.once();
    site.check(u64::from(SPAMS));
    check_days(&site, u64::from(SPAMS));
    assert_eq!(site.said("batch.undone"), 0, "no mail was blamed");
}

#[test]
fn a_server_that_hangs_for_seconds_is_no_outage() {
    let server = MariaDb::start(&[]);
    let site = Site::on(&server);
    let (receiver, analyzer) = (site.rig.receiver(), site.service());
    let (accepted, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = site.rig.client();
            while !over.load(Ordering::SeqCst) {
                let n = accepted.load(Ordering::SeqCst);
                let message = format!("Subject: kind {}\r\n\r\nshort\r\n", n % 3);
                let reply = client.mail("a@b", "c@d.example", message.as_bytes());
                assert!(reply.unwrap().starts_with("250"));
                accepted.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for round in 0..3 {
            std::thread::sleep(Duration::from_millis(700 + 130 * round));
            server.freeze();
            let before = accepted.load(Ordering::SeqCst);
            wait_until("mail is taken meanwhile", || {
                accepted.load(Ordering::SeqCst) >= before + 100
            });
            server.thaw();
        }
        over.store(true, Ordering::SeqCst);
    });
    site.wait_until_counted();
    analyzer.stop();
    receiver.stop();
    site.rig.once();
    site.check(accepted.into_inner() as u64);
    assert_eq!(site.said("database.away"), 0);
}

/// Another program's transaction that holds rows which the analyzer needs.
struct Holder<'s> {
    server: &'s MariaDb,
    conn: Conn,
}

impl Holder<'_> {
    /// Holds the rows of a query.
    fn of<'s>(server: &'s MariaDb, rows: &str) -> Holder<'s> {
        let mut conn = server.root();
        // In a deadlock the server gives up the transaction that has done less.
        conn.query_drop("CREATE DATABASE IF NOT EXISTS much")
            .unwrap();
        conn.query_drop("CREATE TABLE IF NOT EXISTS much.work (n INT)")
            .unwrap();
        conn.query_drop("START TRANSACTION").unwrap();
        conn.query_drop("INSERT INTO much.work SELECT seq FROM much.seq_1_to_20000")
            .unwrap();
        let mut holder = Holder { server, conn };
        assert!(holder.rows(rows) > 0, "{rows}");
        holder
    }

    /// Takes rows; returns how many.
    fn rows(&mut self, rows: &str) -> usize {
        let rows = self
            .conn
            .query::<mysql::Row, _>(format!("{rows} FOR UPDATE"));
        rows.unwrap().len()
    }

    /// Waits until so many transactions wait for rows, none of them one of `but`; returns them.
    fn waiting(&self, count: usize, but: &[String]) -> Vec<String> {
        let query = "SELECT CONCAT(trx_id) FROM information_schema.innodb_trx WHERE trx_state = \
            'LOCK WAIT'";
        let mut root = self.server.root();
        let mut waiting: Vec<String> = Vec::new();
        wait_until("the analyzer waits for a row", || {
            // Asked more often than every 100 ms, the table never changes.
            std::thread::sleep(Duration::from_millis(200));
            waiting = root.query(query).unwrap();
            waiting.retain(|id| !but.contains(id));
            waiting.len() == count
        });
        waiting
    }

    fn let_go(mut self) {
        self.conn.query_drop("ROLLBACK").unwrap();
    }
}

fn deadlocks(server: &MariaDb) -> u64 {
    server.value(
        "SELECT CAST(VARIABLE_VALUE AS UNSIGNED) FROM information_schema.global_status WHERE \
         VARIABLE_NAME = 'Innodb_deadlocks'",
    )
}

#[test]
fn a_transaction_given_up_in_a_deadlock_is_repeated() {
    let server = MariaDb::start(&[]);
    let site = Site::on(&server);
    let (main, window) = (&site.databases.main, &site.databases.window);
    site.drop_spam(0, 30);
    site.rig.once();
    // A batch has the open window, and wants the rows of its days.
    let service = site.service();
    site.drop_spam(30, 60);
    site.wait_until_counted();
    let mut holder = Holder::of(&server, &format!("SELECT * FROM {window}.days"));
    site.drop_spam(60, 90);
    holder.waiting(1, &[]);
    holder.rows(&format!("SELECT * FROM {window}.windows"));
    assert_eq!(deadlocks(&server), 1);
    holder.let_go();
    site.wait_until_counted();
    service.stop();
    // A window that is taken in has the row of taking in, and wants those of days.
    let mut holder = Holder::of(&server, &format!("SELECT * FROM {main}.sdate"));
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| once(&site));
        holder.waiting(1, &[]);
        holder.rows(&format!("SELECT * FROM {main}.taking_in"));
        assert_eq!(deadlocks(&server), 2);
        holder.let_go();
        taking.join().unwrap();
    });
    site.check(90);
    check_days(&site, 90);
    assert_eq!(site.said("database.away"), 0, "it was repeated at once");
}

#[test]
fn a_transaction_that_waited_for_a_row_in_vain_is_repeated() {
    let server = MariaDb::start(&[]);
    let (batches, windows) = (Site::on(&server), Site::on(&server));
    let service = batches.service();
    batches.drop_spam(0, 30);
    windows.drop_spam(0, 30);
    windows.rig.once();
    batches.wait_until_counted();
    let days = format!(
        "SELECT 1 FROM {}.days, {}.sdate",
        batches.databases.window, windows.databases.main
    );
    let holder = Holder::of(&server, &days);
    batches.drop_spam(30, 60);
    windows.drop_spam(30, 60);
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| once(&windows));
        let first = holder.waiting(2, &[]);
        holder.waiting(2, &first);
        holder.let_go();
        taking.join().unwrap();
    });
    batches.wait_until_counted();
    service.stop();
    batches.rig.once();
    for site in [&batches, &windows] {
        site.check(60);
        check_days(site, 60);
        assert_eq!(site.said("database.away"), 0, "it was repeated at once");
    }
}

/// Analyses what the queue holds, with what is said in the site's log.
fn once(site: &Site<'_>) {
    let mut command = site.rig.command("shiva-analyzer");
    command.arg("--once");
    let mut once = Service::logging(command, &site.log());
    wait_until("it ends", || once.0.try_wait().unwrap().is_some());
    assert!(once.0.wait().unwrap().success());
}

fn check_days(site: &Site<'_>, spams: u64) {
    let seen = "SELECT SUM(todaysCounter) FROM {m}.sdate";
    assert_eq!(site.databases.value::<u64>(seen), spams);
}

/// The connection that has a site's window store, if one has.
fn owner(site: &Site<'_>) -> Option<u64> {
    let lock = format!("SELECT IS_USED_LOCK('shiva.{}')", site.databases.window);
    site.databases.server().value(&lock)
}

#[test]
fn an_analyzer_whose_machine_died_is_given_up_and_an_idle_one_is_not() {
    let server = MariaDb::shared();
    let (idle, dead) = (Site::on(server), Site::on(server));
    let idle_one = idle.service();
    let before = owner(&idle);
    assert!(before.is_some());
    let dead_one = dead.service();
    // The ledger's and the correlation's two: one that is being opened would not outlive a sleep.
    let sessions = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}' AND command = \
         'Sleep'",
        dead.account.user
    );
    wait_until("all its connections are open", || {
        server.value::<u32>(&sessions) == 3
    });
    let signal = |signal| kill_process(Pid::from_child(&dead_one.0), signal).unwrap();
    // Its connection stays open, and nothing comes any more.
    signal(Signal::STOP);
    wait_until("the server gives it up", || owner(&dead).is_none());
    assert_eq!(owner(&idle), before, "it was heard of all the time");
    // It was only asleep, and nobody has had its store.
    signal(Signal::CONT);
    for site in [&idle, &dead] {
        site.drop_spam(0, 6);
        site.wait_until_counted();
    }
    idle_one.stop();
    dead_one.stop();
    for site in [&idle, &dead] {
        site.check(6);
        assert_eq!(site.said("database.away"), 0);
    }
}
