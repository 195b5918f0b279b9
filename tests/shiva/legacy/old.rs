//! Databases as the first SHIVA left them, with its types and character sets, and awkward rows.

use std::process::Output;

use mysql::prelude::Queryable;
use mysql::{Conn, Value};

use crate::mariadb::{Databases, MariaDb};
use crate::rig::Rig;

const MAIN: &str = include_str!("main.sql");
const MAIN_ROWS: &str = include_str!("main_rows.sql");
const WINDOW: &str = include_str!("window.sql");
const WINDOW_ROWS: &str = include_str!("window_rows.sql");

/// The first SHIVA's main tables.
pub const TABLES: &[&str] = &[
    "spam",
    "sdate",
    "sdate_spam",
    "ip",
    "ip_spam",
    "sensor",
    "sensor_spam",
    "links",
    "attachment",
    "inline",
    "relay",
    "whitelist",
];

/// What people asked the old database.
pub const OLD_QUERIES: &[&str] = &[
    "SELECT COUNT(*), SUM(totalCounter) FROM spam",
    "SELECT id FROM spam WHERE subject LIKE '%viagra%' ORDER BY id",
    "SELECT id FROM spam WHERE subject = 'GRÖSSE ZÄHLT €' OR subject = 'größe zählt €' ORDER BY id",
    "SELECT id, subject FROM spam WHERE textMessage LIKE '%TÉXT 17%' ORDER BY id",
    "SELECT id FROM spam WHERE `to` LIKE '%C@Y.example%' ORDER BY id",
    "SELECT subject, COUNT(*) FROM spam GROUP BY subject ORDER BY subject",
    "SELECT user, COUNT(*) FROM spam GROUP BY user ORDER BY user",
    "SELECT s.id, d.date, d.firstSeen, d.todaysCounter FROM spam s JOIN sdate_spam t ON t.spam_id \
     = s.id JOIN sdate d ON d.id = t.date_id ORDER BY t.id",
    "SELECT s.id, i.sourceIP FROM spam s JOIN ip_spam t ON t.spam_id = s.id JOIN ip i ON i.id = \
     t.ip_id ORDER BY t.id",
    "SELECT i.sourceIP, COUNT(DISTINCT t.spam_id) n FROM ip i JOIN ip_spam t ON t.ip_id = i.id \
     GROUP BY i.sourceIP ORDER BY n DESC, i.sourceIP",
    "SELECT s.id, e.sensorID FROM spam s JOIN sensor_spam t ON t.spam_id = s.id JOIN sensor e ON \
     e.id = t.sensor_id ORDER BY t.id",
    "SELECT s.id, l.hyperLink FROM spam s JOIN links l ON l.spam_id = s.id WHERE l.hyperLink LIKE \
     'HTTP://ex%/É/1%' ORDER BY l.id",
    "SELECT COUNT(DISTINCT hyperLink), MIN(LENGTH(CONVERT(hyperLink USING latin1))) FROM links",
    "SELECT hyperLink FROM links WHERE hyperLink IS NOT NULL ORDER BY hyperLink, id LIMIT 50",
    "SELECT md5, COUNT(*) FROM attachment WHERE attachment_file_name LIKE '%.exe' GROUP BY md5 \
     ORDER BY md5",
    "SELECT a.id, s.subject FROM attachment a JOIN spam s ON s.id = a.spam_id ORDER BY a.id",
    "SELECT i.id, i.inline_file_path FROM inline i JOIN spam s ON s.id = i.spam_id ORDER BY i.id",
    "SELECT SUM(totalRelayed) FROM relay WHERE sensorID = 'capteur é'",
    "SELECT COUNT(*) FROM sdate WHERE firstSeen = '0000-00-00 00:00:00'",
    "SELECT recipients FROM whitelist ORDER BY id",
];

/// Two databases as the first SHIVA left them.
pub struct Old<'s> {
    pub server: &'s MariaDb,
    pub main: String,
    pub window: String,
    pub rig: Rig,
    pub databases: Databases<'s>,
}

impl<'s> Old<'s> {
    pub fn new(server: &'s MariaDb) -> Old<'s> {
        let old = Old::empty(server);
        let mut root = old.root();
        root.query_drop("SET SESSION group_concat_max_len = 1000000")
            .unwrap();
        for (database, files) in [
            (&old.main, [MAIN, MAIN_ROWS]),
            (&old.window, [WINDOW, WINDOW_ROWS]),
        ] {
            root.query_drop(format!("CREATE DATABASE {database} CHARACTER SET utf8mb4"))
                .unwrap();
            root.select_db(database).unwrap();
            for statement in files.iter().flat_map(|file| file.split(";\n")) {
                if !statement.trim().is_empty() {
                    root.query_drop(statement)
                        .unwrap_or_else(|error| panic!("{statement:.200}: {error}"));
                }
            }
        }
        old
    }

    /// No databases yet.
    pub fn empty(server: &'s MariaDb) -> Old<'s> {
        let databases = Databases::fresh(server);
        let (main, window) = (databases.main.clone(), databases.window.clone());
        let rig = Rig::with(&format!(
            "engine : mysql\nsocket : {}\nuser : root\npassword :\nmaindb : {main}\ntempdb : \
             {window}\n",
            server.socket().display()
        ));
        Old {
            server,
            main,
            window,
            rig,
            databases,
        }
    }

    /// A session as an old client had: not strict.
    pub fn root(&self) -> Conn {
        let mut root = self.server.root();
        root.query_drop("SET NAMES utf8mb4, SESSION sql_mode = ''")
            .unwrap();
        root
    }

    pub fn rows(&self, database: &str, query: &str) -> Vec<Vec<Value>> {
        let mut root = self.root();
        root.select_db(database).unwrap();
        let rows = root.query_map(query, |row: mysql::Row| row.unwrap());
        rows.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    pub fn value(&self, database: &str, query: &str) -> Option<String> {
        let mut rows = self.rows(database, query);
        assert_eq!(rows.len(), 1, "{query}");
        mysql::from_value(rows[0].remove(0))
    }

    /// Every value of every old column.
    pub fn old_values(&self) -> Vec<Vec<Vec<Value>>> {
        let columns = |table: &&str| {
            let declared = MAIN
                .lines()
                .find(|line| line.contains(&format!("TABLE `{table}`")));
            let names = declared.unwrap().split('`').skip(3).step_by(2);
            let mut names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            names.pop(); // of the primary key
            format!("SELECT {} FROM {table} ORDER BY id", names.join(", "))
        };
        TABLES
            .iter()
            .map(|table| self.rows(&self.main, &columns(table)))
            .collect()
    }

    pub fn answers(&self) -> Vec<Vec<Vec<Value>>> {
        OLD_QUERIES
            .iter()
            .map(|query| self.rows(&self.main, query))
            .collect()
    }

    /// Everything in both databases that does not tell when it was made.
    pub fn everything(&self) -> Vec<(String, Vec<Vec<Value>>)> {
        let mut all = Vec::new();
        for database in [&self.main, &self.window] {
            for table in self.rows(database, "SHOW TABLES") {
                let table: String = mysql::from_value(table[0].clone());
                let columns = match table.as_str() {
                    "analyzer" => "COUNT(*)",
                    "windows" => "number, closed IS NULL",
                    "recipient_spam" => "spam_id, date, recipient, hash",
                    "probe" => "recipient, counter, hash",
                    "user_spam" => "spam_id, date, user, hash",
                    _ => "*",
                };
                let mut rows = self.rows(database, &format!("SELECT {columns} FROM {table}"));
                rows.sort_by_cached_key(|row| format!("{row:?}"));
                let keys = self.rows(
                    database,
                    &format!(
                        "SELECT index_name, seq_in_index, column_name, non_unique FROM \
                         information_schema.statistics WHERE table_schema = DATABASE() AND \
                         table_name = '{table}' ORDER BY 1, 2"
                    ),
                );
                all.push((table.clone(), rows));
                all.push((format!("keys of {table}"), keys));
            }
        }
        all
    }

    pub fn dbcreate(&self) -> Output {
        self.rig.run("shiva-dbcreate", &[])
    }

    /// As [`Old::dbcreate`], which must succeed; returns what it printed.
    pub fn upgrade(&self) -> String {
        self.rig.ok("shiva-dbcreate", &[])
    }
}
