//! The databases of the first SHIVA move in: `shiva-dbcreate` upgrades them in place.

mod old;
mod relaying;

use std::process::Stdio;
use std::time::{Duration, Instant};

use mysql::Value;
use mysql::prelude::Queryable;
use shiva::fingerprint;

use crate::mariadb::MariaDb;
use crate::rig::Rig;
use old::{OLD_QUERIES, Old, TABLES};

fn differences<T: PartialEq + std::fmt::Debug>(names: &[&str], before: &[T], after: &[T]) {
    for (name, (before, after)) in names.iter().zip(before.iter().zip(after)) {
        assert!(before == after, "{name} differs");
    }
    assert_eq!(before.len(), after.len());
}

fn same(before: &[(String, Vec<Vec<Value>>)], after: &[(String, Vec<Vec<Value>>)]) {
    let names = |all: &[(String, Vec<Vec<Value>>)]| -> Vec<String> {
        all.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(before), names(after));
    for (before, after) in before.iter().zip(after) {
        assert_eq!(before.1.len(), after.1.len(), "rows of {}", before.0);
        let differs = before
            .1
            .iter()
            .zip(&after.1)
            .find(|(before, after)| before != after);
        assert!(differs.is_none(), "{}: {differs:?}", before.0);
    }
}

#[test]
fn an_old_database_moves_in_and_reads_the_same() {
    let old = Old::new(MariaDb::shared());
    let (values, answers) = (old.old_values(), old.answers());
    let untouched = old.everything();
    let plan = old.rig.ok("shiva-dbcreate", &["--dry-run"]);
    for part in [
        "ALTER TABLE `spam`",
        "RENAME TABLE spam TO old_spam",
        "CREATE TABLE",
    ] {
        assert!(plan.contains(part), "{plan}");
    }
    same(&untouched, &old.everything());
    let said = old.upgrade();
    for part in ["spam: upgraded", "recipient_spam: made", "wait as window 1"] {
        assert!(said.contains(part), "{said}");
    }
    differences(TABLES, &values, &old.old_values());
    differences(OLD_QUERIES, &answers, &old.answers());
    let upgraded = old.everything();
    let said = old.upgrade();
    assert!(
        said.lines().all(|line| line.ends_with("unchanged")),
        "{said}"
    );
    let plan = old.rig.ok("shiva-dbcreate", &["--dry-run"]);
    assert!(
        !plan.contains("CREATE") && !plan.contains("ALTER"),
        "{plan}"
    );
    same(&upgraded, &old.everything());
}

#[test]
fn what_is_new_in_an_upgraded_database_is_filled_in() {
    let old = Old::new(MariaDb::shared());
    old.upgrade();
    let ask = |query: &str| old.value(&old.main, query).unwrap();
    let zero = |query: &str| assert_eq!(ask(query), "0", "{query}");
    zero(
        "SELECT COUNT(*) FROM spam WHERE bodyChars <> CHAR_LENGTH(IF(LENGTH(htmlMessage), \
          htmlMessage, COALESCE(textMessage, '')))",
    );
    zero("SELECT COUNT(*) FROM links WHERE NOT hash <=> UNHEX(LEFT(SHA2(hyperLink, 256), 32))");
    zero("SELECT COUNT(*) FROM recipient_spam WHERE hash <> UNHEX(LEFT(SHA2(recipient, 256), 32))");
    // Numbers go with the day first seen, then by id; unknown days come last.
    zero(
        "WITH f AS (SELECT s.seq, s.id, (SELECT MIN(CASE WHEN d.firstSeen > '1000-01-01' THEN \
         d.firstSeen WHEN d.date > '1000-01-01' THEN d.date END) FROM sdate_spam t JOIN sdate d \
         ON d.id = t.date_id WHERE t.spam_id = s.id) seen FROM spam s), o AS (SELECT seq, \
         ROW_NUMBER() OVER (ORDER BY seen IS NULL, seen, id) n FROM f) SELECT COUNT(*) FROM o \
         WHERE seq <> n",
    );
    let recipients = |id: &str| {
        let query =
            format!("SELECT recipient FROM recipient_spam WHERE spam_id = MD5('{id}') ORDER BY 1");
        old.rows(&old.main, &query)
            .into_iter()
            .map(|row| mysql::from_value(row[0].clone()))
            .collect::<Vec<String>>()
    };
    assert_eq!(
        recipients("3"),
        ["b3@x.example", "c@y.example", "d@z.example"]
    );
    assert_eq!(recipients("4"), ["é@x.example"]);
    assert_eq!(recipients("endless"), ["12345", "12345678901"]);
    assert_eq!(recipients("long1").len(), 500);
    zero("SELECT COUNT(*) FROM user_spam WHERE user = 'none'");
    assert_eq!(
        ask("SELECT COUNT(*) FROM user_spam WHERE spam_id = MD5('long2')"),
        "30"
    );
    assert_eq!(
        ask("SELECT GROUP_CONCAT(user ORDER BY user) FROM user_spam WHERE spam_id = MD5(2)"),
        "Bob,joe"
    );
}

#[test]
fn an_upgraded_database_is_as_a_new_one() {
    let (old, new) = (Old::new(MariaDb::shared()), Old::empty(MariaDb::shared()));
    old.upgrade();
    new.upgrade();
    let columns = "SELECT table_name, column_name, column_type, collation_name, is_nullable, \
        column_default, extra FROM information_schema.columns WHERE table_schema = DATABASE() AND \
        table_name NOT LIKE 'old\\_%' ORDER BY 1, 2";
    let keys = "SELECT table_name, index_name, seq_in_index, column_name, sub_part, non_unique \
        FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name NOT \
        LIKE 'old\\_%' ORDER BY 1, 2, 3";
    let tables = "SELECT table_name, engine, row_format, table_collation FROM \
        information_schema.tables WHERE table_schema = DATABASE() AND table_name NOT LIKE \
        'old\\_%' ORDER BY 1";
    for query in [columns, keys, tables] {
        for (old_name, new_name) in [(&old.main, &new.main), (&old.window, &new.window)] {
            let (is, should) = (old.rows(old_name, query), new.rows(new_name, query));
            for (is, should) in is.iter().zip(&should) {
                assert_eq!(is, should);
            }
            assert_eq!(is.len(), should.len());
        }
    }
}

#[test]
fn what_a_stopped_analyzer_left_waits_as_a_window() {
    let old = Old::new(MariaDb::shared());
    old.upgrade();
    let ask = |query: &str| old.value(&old.window, query).unwrap();
    let zero = |query: &str| assert_eq!(ask(query), "0", "{query}");
    assert_eq!(
        ask("SELECT GROUP_CONCAT(number, closed IS NULL ORDER BY number) FROM windows"),
        "10,21"
    );
    assert_eq!(
        ask("SELECT COUNT(*) FROM old_spam"),
        ask("SELECT COUNT(*) FROM spam")
    );
    assert_eq!(ask("SELECT COUNT(DISTINCT seq) - MAX(seq) FROM spam"), "1");
    zero(
        "SELECT COUNT(*) FROM spam n JOIN old_spam o ON o.id = n.id WHERE NOT (n.subject <=> \
          COALESCE(o.subject, '') AND n.textMessage <=> COALESCE(o.textMessage, '') AND \
          n.htmlMessage <=> COALESCE(o.htmlMessage, '') AND n.headers <=> COALESCE(o.headers, '') \
          AND n.totalCounter <=> COALESCE(o.totalCounter, 1))",
    );
    zero("SELECT COUNT(*) FROM spam WHERE firstSeen < '2013-06-01' OR `window` <> 1");
    zero("SELECT SUM(totalCounter) - (SELECT SUM(todaysCounter) FROM days) FROM spam");
    let many = |table: &str| {
        ask(&format!(
            "SELECT COUNT(*) FROM {table} WHERE spam_id = MD5('many')"
        ))
    };
    assert_eq!(
        (many("sources").as_str(), many("recipients").as_str()),
        ("500", "500")
    );
    // Each pair of the old rows that belongs to a record, once; and the joined columns.
    for (table, column) in [("links", "hyperlink"), ("attachments", "attachmentFileMd5")] {
        let of = |table: String| {
            ask(&format!(
                "SELECT COUNT(DISTINCT t.spam_id, BINARY t.{column}) FROM {table} t JOIN \
                 spam s ON s.id = t.spam_id WHERE LENGTH(t.{column}) > 0"
            ))
        };
        assert_eq!(of(table.to_owned()), of(format!("old_{table}")), "{table}");
    }
    assert_eq!(ask("SELECT COUNT(DISTINCT sensorID) FROM sensors"), "4");
    // A word for nobody where it was a user, a name where it is a sensor's.
    assert_eq!(
        ask(
            "SELECT CONCAT((SELECT COUNT(*) FROM users WHERE user = 'none'), ' ', (SELECT \
             COUNT(*) FROM sensors WHERE sensorID = 'none'))"
        ),
        "0 1"
    );
    assert_eq!(
        ask("SELECT GROUP_CONCAT(user ORDER BY user) FROM users WHERE spam_id = MD5('w1')"),
        "u1,u2"
    );
    assert_eq!(ask("SELECT COUNT(*) FROM analyzer"), "1");
}

/// A spam of the first SHIVA in its main database, and what its stopped analyzer had of it.
fn put_known_spam(old: &Old<'_>, id: &str, subject: &str, body: &str) {
    let length = subject.len() + body.len();
    let digest = libfuzzy::hash(format!("{body} {subject}").as_bytes()).unwrap();
    let mut root = old.root();
    root.exec_drop(
        format!(
            "INSERT INTO {}.spam (id, subject, textMessage, totalCounter, ssdeep, length) VALUES \
             (?, ?, ?, 40, ?, ?)",
            old.main
        ),
        (id, subject, body, &digest, length),
    )
    .unwrap();
    root.query_drop(format!(
        "INSERT INTO {0}.sdate VALUES (NULL, '2013-05-01', '2013-05-01 01:00:00', '2013-05-01 \
         02:00:00', 40)",
        old.main
    ))
    .unwrap();
    let day = root.last_insert_id();
    root.query_drop(format!(
        "INSERT INTO {}.sdate_spam (spam_id, date_id) VALUES ('{id}', {day})",
        old.main
    ))
    .unwrap();
    root.exec_drop(
        format!(
            "INSERT INTO {}.spam (id, subject, textMessage, totalCounter, ssdeep, length, \
             firstSeen, sourceIP, sensorID, `to`) VALUES (?, ?, ?, 2, ?, ?, '2013-06-01 01:02:03', \
             '10.9.8.7, 10.9.8.6', 'shiva', 'a@x.example')",
            old.window
        ),
        (
            "0123456789abcdef0123456789abcdef",
            subject,
            format!("{body}!"),
            &digest,
            length + 1,
        ),
    )
    .unwrap();
    root.query_drop(format!(
        "INSERT INTO {0}.attachments (spam_id, file_name, attach_type, attachmentFileMd5) VALUES \
         ('0123456789abcdef0123456789abcdef', 'same.exe', 'attach', MD5('one')), \
         ('0123456789abcdef0123456789abcdef', 'same.exe', 'attach', MD5('two'))",
        old.window
    ))
    .unwrap();
}

#[test]
fn what_comes_after_an_upgrade_goes_into_the_old_records() {
    let old = Old::new(MariaDb::shared());
    let body: String = (0..60)
        .map(|n| format!("Line {} of a letter\n", n * n * 7919))
        .collect();
    let id = "ffffffffffffffffffffffffffffffff";
    put_known_spam(&old, id, "Hello there", &body);
    old.upgrade();
    let ask = |query: &str| old.value(&old.main, query).unwrap();
    let records: u64 = ask("SELECT COUNT(*) FROM spam").parse().unwrap();
    // A new copy, a little different: matches the old record by its fingerprint.
    let mail = format!("Subject: Hello there\r\n\r\n{}", body.replace('\n', "\r\n"));
    old.rig
        .drop_file("a.eml", mail.replacen("Line", "Lime", 1).as_bytes());
    old.rig.once();
    // 40 of old, 2 that waited, 1 of now.
    let counter = format!("SELECT totalCounter FROM spam WHERE id = '{id}'");
    assert_eq!(ask(&counter), "43");
    assert_eq!(
        old.value(&old.window, "SELECT COUNT(*) FROM spam")
            .as_deref(),
        Some("0")
    );
    // The other 121 that waited are records of their own: none of them is in the main database.
    assert_eq!(
        ask("SELECT COUNT(*) FROM spam"),
        (records + 121).to_string()
    );
    let of = |table: &str| {
        ask(&format!(
            "SELECT COUNT(*) FROM {table} WHERE spam_id = '{id}'"
        ))
    };
    assert_eq!(of("ip_spam"), "2");
    assert_eq!(of("recipient_spam"), "1");
    assert_eq!(of("attachment"), "2");
    assert_eq!(of("sdate_spam"), "3");
    assert_eq!(old.rig.show(id)["count"].as_u64(), Some(43));
    assert!(old.rig.total("spams") > 2000);
}

#[test]
fn a_time_that_is_none_is_not_1970() {
    let old = Old::new(MariaDb::shared());
    let id = &fingerprint::id("s", "b").to_string();
    let mut root = old.root();
    root.select_db(&old.main).unwrap();
    for statement in [
        &format!("INSERT INTO spam (id, subject, totalCounter) VALUES ('{id}', 's', 9)"),
        "INSERT INTO sdate (date, firstSeen, lastSeen, todaysCounter) VALUES ('2013-05-01', 0, 0, 4), \
         ('2013-05-03', '2013-05-03 01:00:00', '2013-05-03 02:00:00', 4), (0, 0, NULL, 1)",
        &format!(
            "INSERT INTO sdate_spam (spam_id, date_id) SELECT '{id}', id FROM sdate ORDER BY id \
             DESC LIMIT 3"
        ),
    ] {
        root.query_drop(statement).unwrap();
    }
    old.upgrade();
    let seen = |key: &str| old.rig.show(id)[key].as_str().unwrap().to_owned();
    assert_eq!(seen("first_seen"), "2013-05-01T00:00:00Z");
    assert_eq!(seen("last_seen"), "2013-05-03T02:00:00Z");
    // One more of the day whose times are not known; its name says when it came.
    let at = 1_367_409_600; // 2013-05-01 12:00:00
    old.rig.drop_file(
        &format!("{at}.M1P1Q1-10.0.0.1-shiva-none"),
        b"Subject: s\r\n\r\nb",
    );
    old.rig.once();
    assert_eq!(seen("first_seen"), "2013-05-01T12:00:00Z");
    let day = "SELECT CONCAT(firstSeen, ' ', lastSeen, ' ', todaysCounter) FROM sdate JOIN \
        sdate_spam ON sdate.id = date_id WHERE date = '2013-05-01' AND spam_id = '{id}'";
    assert_eq!(
        old.value(&old.main, &day.replace("{id}", id)).unwrap(),
        "2013-05-01 12:00:00 2013-05-01 12:00:00 5"
    );
}

#[test]
fn an_upgrade_that_was_killed_is_completed_by_the_next() {
    let whole = Old::new(MariaDb::shared());
    let began = Instant::now();
    whole.upgrade();
    let takes = began.elapsed();
    let expected = whole.everything();
    let (old, mut killed) = (Old::new(MariaDb::shared()), 0);
    // Moments that differ from run to run. Each run goes on where the one before was killed.
    for part in [1, 2, 3, 4, 5, 3, 4, 5] {
        let jitter = Duration::from_nanos(u64::from(began.elapsed().subsec_nanos() % 50_000_000));
        let mut child = old
            .rig
            .command("shiva-dbcreate")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(takes * part / 10 + jitter);
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        killed += 1;
    }
    assert!(
        killed > 0,
        "it was never killed: the machine is too fast for the moments chosen"
    );
    old.upgrade();
    same(&expected, &old.everything());
}

#[test]
fn an_upgrade_whose_server_was_killed_is_completed_by_the_next() {
    let server = MariaDb::start(&[]);
    let whole = Old::new(&server);
    let began = Instant::now();
    whole.upgrade();
    let takes = began.elapsed();
    let expected = whole.everything();
    let old = Old::new(&server);
    for eighth in [1, 3, 4, 5] {
        let tool = old
            .rig
            .command("shiva-dbcreate")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(takes * eighth / 8);
        server.kill();
        let output = tool.wait_with_output().unwrap();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(69), "{errors}");
            assert!(errors.contains("run this again"), "{errors}");
        }
        server.start_again();
    }
    old.upgrade();
    same(&expected, &old.everything());
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let old = Old::empty(MariaDb::shared());
    old.upgrade();
    for database in [&old.main, &old.window] {
        old.server
            .sql(&[&format!("UPDATE {database}.schema_version SET version = 7")]);
        let output = old.dbcreate();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{errors}");
        for part in [database, "version 7", "knows 1"] {
            assert!(errors.contains(part), "{part} in {errors}");
        }
        old.server
            .sql(&[&format!("UPDATE {database}.schema_version SET version = 1")]);
    }
}

#[test]
fn exchanged_names_change_nothing() {
    let old = Old::new(MariaDb::shared());
    let before = old.everything();
    let rig = Rig::with(&format!(
        "engine : mysql\nsocket : {}\nuser : root\npassword :\nmaindb : {}\ntempdb : {}\n",
        old.server.socket().display(),
        old.window,
        old.main
    ));
    let output = rig.run("shiva-dbcreate", &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert!(errors.contains("exchanged"), "{errors}");
    assert_eq!(before, old.everything());
}

#[test]
fn what_another_program_has_under_our_names_is_left_alone() {
    for (made, says) in [
        (
            "CREATE TABLE {m}.links (id INT PRIMARY KEY, url TEXT)",
            "the table links of the database {m} is none of SHIVA's, for it lacks the columns \
             date, hyperLink, spam_id; give [database] maindb",
        ),
        (
            "CREATE VIEW {m}.spam AS SELECT 1 AS id",
            "spam of the database {m} is no table but a view",
        ),
        (
            "CREATE TABLE {w}.users (id INT PRIMARY KEY, user TEXT)",
            "give [database] tempdb the name of another database",
        ),
        (
            "CREATE TABLE {w}.schema_version (version VARCHAR(20), script TEXT)",
            "give [database] tempdb",
        ),
        (
            "CREATE TABLE {m}.schema_version (number INT)",
            "for it lacks the columns version",
        ),
    ] {
        let old = Old::empty(MariaDb::shared());
        let named = |text: &str| text.replace("{m}", &old.main).replace("{w}", &old.window);
        let database = &made[made.find('{').unwrap()..][..3];
        old.server
            .sql(&[&named(&format!("CREATE DATABASE {database}")), &named(made)]);
        for arguments in [&[][..], &["--dry-run"]] {
            let output = old.rig.run("shiva-dbcreate", arguments);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{made}: {errors}");
            assert!(errors.contains(&named(says)), "{says} in {errors}");
        }
        let query = format!(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema IN ('{}', '{}')",
            old.main, old.window
        );
        assert_eq!(old.server.value::<u64>(&query), 1, "{made}");
        let output = old.rig.run("shiva", &["report"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{made}: {errors}");
        assert!(errors.contains("shiva-dbcreate"), "{made}: {errors}");
    }
}

#[test]
fn a_user_without_rights_is_told_what_to_grant() {
    let old = Old::empty(MariaDb::shared());
    let user = format!("user_of_{}", old.main);
    old.server
        .sql(&[&format!("CREATE USER {user}@'%' IDENTIFIED BY 'secret'")]);
    let rig = Rig::with(&format!(
        "engine : mysql\nsocket : {}\nuser : {user}\npassword : secret\nmaindb : {}\ntempdb : {}\n",
        old.server.socket().display(),
        old.main,
        old.window
    ));
    let output = rig.run("shiva-dbcreate", &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{errors}");
    let grant = format!("GRANT ALL ON `{}`.* TO '{user}'", old.window);
    assert!(errors.contains(&grant), "{errors}");
    for database in [&old.main, &old.window] {
        // What the man page says the tool needs.
        let rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP";
        old.server
            .sql(&[&format!("GRANT {rights} ON {database}.* TO {user}@'%'")]);
    }
    rig.ok("shiva-dbcreate", &[]);
}
