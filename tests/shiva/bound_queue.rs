//! A window store goes with one queue: what an analyzer of another one does with it.

use std::fs;
use std::process::Output;

use rustix::process::{Pid, Signal, kill_process};

use crate::exactly_once::fill;
use crate::mariadb::MariaDb;
use crate::mariadb_site::Site;
use crate::rig::{Rig, Service, files_under, finish, wait_until};

/// An analyzer's run that must end with this code; what it said.
fn ends_with(output: &Output, code: i32) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    errors
}

/// The second analyzer has the window store of the first and a queue of its own.
fn another_queue_is_told_apart(first: &Rig, second: &Rig) {
    fill(first);
    fill(second);
    let once = || second.run("shiva-analyzer", &["--once"]);
    // Names of counted files that still lie in the first queue.
    assert!(first.once_crashing("batch-committed=return"));
    let errors = ends_with(&once(), 69);
    for part in ["another queue", "tempdb", "path", "queue_files"] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
    assert_eq!(second.queue().len(), 13, "all is kept");
    first.once();
    assert_eq!(first.total("spams"), 12, "none is counted twice");
    // Nothing is listed any more: the store may go on with another queue, and says so.
    let errors = ends_with(&once(), 0);
    assert!(errors.contains("event=database.rebound"), "{errors}");
    assert_eq!(second.total("spams"), 24);
    let errors = ends_with(&once(), 0);
    assert!(!errors.contains("event=database.rebound"), "{errors}");
}

#[test]
fn an_embedded_window_store_is_bound_to_its_queue() {
    let first = Rig::new();
    let db = first.path("db").display().to_string();
    another_queue_is_told_apart(&first, &Rig::with(&format!("path : {db}\n")));
}

#[test]
fn a_window_database_is_bound_to_its_queue() {
    let first = Site::on(MariaDb::shared());
    let second = Rig::with(&first.databases.config(&first.account));
    another_queue_is_told_apart(&first.rig, &second);
}

#[test]
fn a_queue_keeps_its_id() {
    let rig = Rig::new();
    rig.once();
    let path = rig.path("queue/.queue.id");
    let id = fs::read_to_string(&path).unwrap();
    rig.once();
    assert_eq!(fs::read_to_string(&path).unwrap(), id);
    // One that died while it drew it.
    fs::remove_file(&path).unwrap();
    fs::write(rig.path("queue/.queue.id.new"), "0123").unwrap();
    rig.once();
    let drawn = fs::read_to_string(&path).unwrap();
    assert!(drawn.len() == 17 && drawn != id, "{drawn:?}");
    assert!(!rig.path("queue/.queue.id.new").exists());
}

/// Lets `meanwhile` happen while the service stands still and has lost its connection, as when its
/// network is gone; then it has to end by itself, with 69 and nothing lost.
fn goes_on_after(site: &Site<'_>, service: Service, meanwhile: impl FnOnce()) {
    let mut service = service;
    let signal = |signal| kill_process(Pid::from_child(&service.0), signal).unwrap();
    signal(Signal::STOP);
    let server = site.databases.server();
    server.sql(&[&format!("KILL USER {}", site.account.user)]);
    meanwhile();
    signal(Signal::CONT);
    site.drop_spam(100, 110);
    wait_until("the service ends", || {
        service.0.try_wait().unwrap().is_some()
    });
    assert_eq!(service.0.wait().unwrap().code(), Some(69));
    let log = fs::read_to_string(site.log()).unwrap();
    assert!(log.contains("was changed by another analyzer"), "{log}");
    assert_eq!(files_under(&site.rig.path("queue/new")).len(), 10, "kept");
}

#[test]
fn an_analyzer_ends_whose_window_database_another_queue_s_had() {
    let site = Site::on(MariaDb::shared());
    let other = Rig::with(&site.databases.config(&site.account));
    let service = site.service();
    goes_on_after(&site, service, || {
        fill(&other);
        // It leaves the window open, with records of its own in it, and is gone.
        let log = other.path("log");
        let analyzer = Service::logging(other.command("shiva-analyzer"), &log);
        wait_until("it has counted", || other.queue().is_empty());
        analyzer.stop();
    });
    site.rig.once();
    assert_eq!(site.rig.total("spams"), 12 + 10);
}

#[test]
fn an_analyzer_ends_whose_window_another_one_closed() {
    let site = Site::on(MariaDb::shared());
    let service = site.service();
    site.drop_spam(0, 10);
    site.wait_until_counted();
    goes_on_after(&site, service, || {
        let window = &site.databases.window;
        site.databases.server().sql(&[
            &format!("UPDATE {window}.windows SET closed = opened"),
            &format!("INSERT INTO {window}.windows (number, token, opened) VALUES (2, '', NOW())"),
        ]);
    });
    // A new start looks again, and goes on.
    let output = finish(site.rig.command("shiva-analyzer").arg("--once"));
    ends_with(&output, 0);
    site.check(20);
}
