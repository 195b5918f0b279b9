//! Databases of a test's own on a MariaDB server, and accounts with the rights that shiva.conf(5)
//! says are enough.

use std::fs;
use std::path::Path;

use mysql::prelude::Queryable;
use shiva::store::Engine;
use shiva::store::mysql::{Mysql, Options, Tls};

use crate::mariadb::MariaDb;

/// Names of a pair of databases that no other test has. Dropped, the databases are, too.
pub struct Databases<'s> {
    server: &'s MariaDb,
    pub main: String,
    pub window: String,
}

impl Databases<'_> {
    /// The server they are on.
    pub fn server(&self) -> &MariaDb {
        self.server
    }

    /// Names only: nothing is made.
    pub fn fresh(server: &MariaDb) -> Databases<'_> {
        Databases {
            server,
            main: MariaDb::fresh_name("Shiva"),
            window: MariaDb::fresh_name("ShivaTemp"),
        }
    }

    /// How the engine reaches them, as root.
    pub fn options(&self) -> Options {
        Options {
            host: "localhost".into(),
            port: self.server.port(),
            socket: None,
            user: "root".into(),
            password: String::new(),
            tls: Tls::Off,
            main: self.main.clone(),
            window: self.window.clone(),
            analyzer: "analyzer".into(),
            keep_bodies: true,
        }
    }
}

/// An account on the server.
pub struct Account {
    pub user: String,
    pub password: String,
}

impl Databases<'_> {
    /// An account for these databases with the rights that shiva.conf(5) says are enough: for the
    /// analyzer, or for `shiva-dbcreate`.
    pub fn account(&self, rights: Rights) -> Account {
        let user = MariaDb::fresh_name("shiva");
        // A quote and a backslash, and how they stand in a statement.
        let password = "pass'\\word".to_owned();
        let in_statement = r"pass''\\word";
        let account = Account { user, password };
        let user = &account.user;
        let mut root = self.server.root();
        root.query_drop(format!(
            "CREATE USER {user}@'%' IDENTIFIED BY '{in_statement}'"
        ))
        .unwrap();
        for grant in grants(rights) {
            let grant = grant
                .replace("ShivaTemp.", &format!("{}.", self.window))
                .replace("Shiva.", &format!("{}.", self.main))
                .replace("shiva@localhost", &format!("{user}@'%'"));
            root.query_drop(grant).unwrap();
        }
        account
    }

    /// Lines of a configuration that mean these databases.
    pub fn config(&self, account: &Account) -> String {
        self.config_at(account, self.server.port())
    }

    /// The same, by way of another port.
    pub fn config_at(&self, account: &Account, port: u16) -> String {
        format!(
            "[database]\nengine : mysql\nport : {port}\nuser : {}\npassword : {}\nmaindb : \
             {}\ntempdb : {}\n",
            account.user, account.password, self.main, self.window
        )
    }

    /// Makes the databases.
    pub fn make(&self) {
        Mysql::new(self.options()).create().unwrap();
    }

    /// One value from the main database; `{m}` is its name.
    pub fn value<T: mysql::prelude::FromValue>(&self, query: &str) -> T {
        self.server.value(&query.replace("{m}", &self.main))
    }
}

/// Whose rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    Analyzer,
    Dbcreate,
}

/// The statements that shiva.conf(5) gives.
fn grants(rights: Rights) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/shiva.conf.5");
    let page = fs::read_to_string(page).unwrap();
    let part = page.split(".Sh MYSQL AND MARIADB").nth(1).unwrap();
    let part = part.split("\n.Sh ").next().unwrap();
    let mut grants = part.split("\nGRANT ").skip(1).map(|rest| {
        let statement = rest.split(';').next().unwrap();
        format!("GRANT {}", statement.replace('\n', " "))
    });
    let (analyzer, dbcreate): (Vec<_>, Vec<_>) =
        grants.by_ref().partition(|grant| !grant.contains("CREATE"));
    let wanted = match rights {
        Rights::Analyzer => analyzer,
        Rights::Dbcreate => dbcreate,
    };
    assert_eq!(wanted.len(), 2, "{wanted:?}");
    wanted
}

impl Drop for Databases<'_> {
    fn drop(&mut self) {
        // The server may be down, and has the databases in its own directory.
        if let Ok(mut root) = self.server.connect("root", "") {
            for name in [&self.main, &self.window] {
                let _ = root.query_drop(format!("DROP DATABASE IF EXISTS {name}"));
            }
        }
    }
}
