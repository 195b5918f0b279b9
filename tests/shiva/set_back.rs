//! A window store that was set back from a backup, alone: what came since is in the main store,
//! and what comes now is counted, too.

use std::fs;

use mysql::prelude::Queryable;

use crate::mariadb::MariaDb;
use crate::mariadb_site::Site;
use crate::rig::{Rig, Service, wait_until};

/// Drops so many spams, no two in all alike.
fn drop_spam(rig: &Rig, from: u32, count: u32) {
    for n in from..from + count {
        let message = format!("Subject: number {n}\r\n\r\nshort\r\n");
        rig.drop_file(&format!("{n}.eml"), message.as_bytes());
    }
}

/// Counts what is in the queue and leaves the window open.
fn leave_open(rig: &Rig) {
    let service = Service::logging(rig.command("shiva-analyzer"), &rig.path("log"));
    wait_until("all is counted", || rig.queue().is_empty());
    service.stop();
}

fn set_back(rig: &Rig, keep: impl Fn(), restore: impl Fn()) {
    drop_spam(rig, 0, 10);
    leave_open(rig);
    keep();
    drop_spam(rig, 10, 10);
    rig.once(); // window 1, of which the backup has the half
    drop_spam(rig, 20, 10);
    rig.once(); // window 2, of which it knows nothing
    restore();
    assert_eq!(rig.total("spams"), 30, "window 1 is known to be taken in");
    drop_spam(rig, 30, 10);
    leave_open(rig);
    let log = fs::read_to_string(rig.path("log")).unwrap();
    let said = log.matches("event=database.set_back window=1").count();
    assert_eq!(said, 1, "{log}");
    assert_eq!(rig.total("spams"), 40);
    rig.once();
    // Window 2 of now is not window 2 of before.
    assert_eq!((rig.total("spams"), rig.total("distinct")), (40, 40));
}

#[test]
fn an_embedded_window_store_set_back_alone_loses_nothing_of_now() {
    let rig = Rig::new();
    let (file, kept) = (rig.path("db/ShivaTemp.sqlite"), rig.path("kept"));
    set_back(
        &rig,
        || {
            fs::copy(&file, &kept).unwrap();
        },
        || {
            fs::copy(&kept, &file).unwrap();
        },
    );
}

#[test]
fn a_window_database_set_back_alone_loses_nothing_of_now() {
    let server = MariaDb::shared();
    let site = Site::on(server);
    let window = &site.databases.window;
    let kept = format!("{window}_kept");
    let tables: Vec<String> = server
        .root()
        .query(format!("SHOW TABLES FROM {window}"))
        .unwrap();
    let each = |work: &dyn Fn(&str) -> [String; 2]| {
        for table in &tables {
            server.sql(&work(table).each_ref().map(String::as_str));
        }
    };
    set_back(
        &site.rig,
        || {
            server.sql(&[&format!("CREATE DATABASE {kept}")]);
            each(&|table| {
                [
                    format!("CREATE TABLE {kept}.{table} LIKE {window}.{table}"),
                    format!("INSERT INTO {kept}.{table} SELECT * FROM {window}.{table}"),
                ]
            });
        },
        || {
            each(&|table| {
                [
                    format!("DELETE FROM {window}.{table}"),
                    format!("INSERT INTO {window}.{table} SELECT * FROM {kept}.{table}"),
                ]
            });
        },
    );
    server.sql(&[&format!("DROP DATABASE {kept}")]);
}
