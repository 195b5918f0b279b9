//! The engine of MariaDB and MySQL: two databases on one server.
//!
//! `[database] tempdb` is the window store, `maindb` the main store. Each store has a connection of
//! its own ([`link`]), which is opened at its first call and again when it was lost. A commit is
//! durable where the server has `innodb_flush_log_at_trx_commit=1`. `shiva-dbcreate` makes and
//! upgrades the tables ([`schema`]); the analyzer needs no right to.

mod batch;
mod fault;
mod link;
mod main_store;
mod page;
mod reader;
mod relaying;
mod rows;
mod schema;
mod taking;
mod window_store;

use std::path::PathBuf;
use std::sync::Arc;

use super::{Engine, Made, MainStore, Reader, Result, WindowStore};
use link::{Link, Purpose};
use main_store::MysqlMain;
use reader::MysqlReader;
use window_store::MysqlWindows;

/// Whether the connection to the server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It is not.
    Off,
    /// It is, to whoever answers.
    On,
    /// It is, and the server's certificate must be for its host name and by one of the system's
    /// authorities.
    Verify,
}

/// Where the databases are and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Host name or address; `localhost` is 127.0.0.1.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// A socket of the server on this machine, in place of host and port.
    pub socket: Option<PathBuf>,
    /// User at the server.
    pub user: String,
    /// Password of the user.
    pub password: String,
    /// Encryption over TCP.
    pub tls: Tls,
    /// Name of the main store's database.
    pub main: String,
    /// Name of the window store's database.
    pub window: String,
    /// How the name in the main store's markers begins; matters when the window store is made.
    pub analyzer: String,
    /// Whether the main store keeps bodies and headers (`localdb`).
    pub keep_bodies: bool,
}

/// Both stores on one server.
#[derive(Clone, Debug)]
pub struct Mysql {
    options: Arc<Options>,
}

impl Mysql {
    /// The databases of these options. Nothing is connected yet.
    pub fn new(options: Options) -> Mysql {
        Mysql {
            options: Arc::new(options),
        }
    }

    /// A connection that works, to a database of our version.
    fn link(&self, purpose: Purpose) -> Result<Link> {
        let mut link = Link::new(Arc::clone(&self.options), purpose);
        link.run(|_| Ok(()))?;
        Ok(link)
    }
}

impl Engine for Mysql {
    fn create(&self) -> Result<Vec<Made>> {
        schema::create(&self.options)
    }

    fn plan(&self) -> Result<Vec<String>> {
        schema::plan(&self.options)
    }

    fn prepare(&self) -> Result<()> {
        Ok(()) // the analyzer may not make databases
    }

    fn own_windows(&self) -> Result<Box<dyn WindowStore>> {
        Ok(Box::new(MysqlWindows::new(self.link(Purpose::OwnWindows)?)))
    }

    fn windows(&self) -> Result<Box<dyn WindowStore>> {
        Ok(Box::new(MysqlWindows::new(self.link(Purpose::Windows)?)))
    }

    fn main(&self) -> Result<Box<dyn MainStore>> {
        let link = self.link(Purpose::Main)?;
        Ok(Box::new(MysqlMain::new(link, self.options.keep_bodies)))
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        let link = self.link(Purpose::Reader)?;
        Ok(Box::new(MysqlReader::new(link, &self.options)))
    }
}

/// A name as it stands in a statement.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
