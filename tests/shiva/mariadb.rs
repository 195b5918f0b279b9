//! A private MariaDB server for tests: its own data directory, socket and loopback port.
//!
//! [`MariaDb::shared`] is one server for all tests of the binary that need no more than databases
//! of their own; [`MariaDb::start`] is one that a test may stop, kill and start again. A shell
//! stands between the test and the server: when the test process ends in whatever way, the
//! shell's standard input ends, and it kills the server and removes the directory.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use rustix::process::{Pid, Signal, kill_process};

use crate::disk_full::own_mounts;
pub use crate::mariadb_databases::Databases;
use crate::rig::{free_port, wait_until};

/// Sizes that a test needs, for a data directory and a server that start at once.
const SMALL: &[&str] = &[
    "--no-defaults",
    "--innodb-log-file-size=16M",
    "--innodb-buffer-pool-size=64M",
];

/// What makes a commit durable, and names nobody outside of this machine.
const SERVER: &[&str] = &[
    "--innodb-flush-log-at-trx-commit=1",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--aria-pagecache-buffer-size=1M",
    "--key-buffer-size=1M",
    "--max-connections=60",
    "--performance-schema=OFF",
];

/// Keeps a server, and hears by its standard input how to end it.
const KEEPER: &str = r#"
    directory=$1
    shift
    setpriv --pdeathsig KILL "$@" </dev/null >>"$directory/log" 2>&1 &
    server=$!
    if read -r signal; then
        kill "-$signal" "$server"
        wait "$server" 2>/dev/null
    else
        kill -KILL "$server"
        wait "$server" 2>/dev/null
        [ -z "$SIZE" ] || umount "$directory/data"
        rm -rf "$directory"
    fi
"#;

/// Mounts a disk of its own for the data, and fills it with a copy of the template.
const OWN_DISK: &str = r#"mount -t tmpfs -o "size=$SIZE" tmpfs "$1/data" &&
    cp -a "$TEMPLATE/." "$1/data" || exit"#;

/// A server. Dropped, it is killed and its directory removed.
pub struct MariaDb {
    directory: PathBuf,
    disk: Option<&'static str>,
    port: u16,
    options: Vec<String>,
    running: Mutex<Option<(Child, ChildStdin)>>,
}

impl MariaDb {
    /// The server that all tests share. Nobody stops it.
    pub fn shared() -> &'static MariaDb {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| MariaDb::start(&[]))
    }

    /// A server of the test's own, with these options besides: `--wait-timeout=1`.
    pub fn start(options: &[&str]) -> MariaDb {
        let directory = tempfile::Builder::new()
            .prefix("mariadb-")
            .tempdir()
            .unwrap()
            .keep();
        copy(&template(), &directory.join("data"));
        MariaDb::started(directory, None, options)
    }

    /// A server whose data lie on a disk of this size, which goes when it ends.
    pub fn on_disk(size: &'static str, options: &[&str]) -> MariaDb {
        let directory = tempfile::Builder::new().prefix("mariadb-").tempdir();
        let directory = directory.unwrap().keep();
        fs::create_dir(directory.join("data")).unwrap();
        MariaDb::started(directory, Some(size), options)
    }

    fn started(directory: PathBuf, disk: Option<&'static str>, options: &[&str]) -> MariaDb {
        let server = MariaDb {
            directory,
            disk,
            port: free_port(),
            options: options.iter().map(ToString::to_string).collect(),
            running: Mutex::default(),
        };
        server.start_again();
        server
    }

    /// The loopback port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The socket it listens on.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// A connection that may do anything: user `root`, without a password, by socket or TCP.
    pub fn root(&self) -> Conn {
        self.connect("root", "").unwrap()
    }

    /// Runs statements as root.
    pub fn sql(&self, statements: &[&str]) {
        let mut root = self.root();
        for statement in statements {
            root.query_drop(statement)
                .unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// Runs a query as root that gives one value.
    pub fn value<T: mysql::prelude::FromValue>(&self, query: &str) -> T {
        let value = self.root().query_first(query);
        value
            .unwrap_or_else(|error| panic!("{query}: {error}"))
            .unwrap_or_else(|| panic!("{query}: no row"))
    }

    /// A connection of a user of the server.
    pub fn connect(&self, user: &str, password: &str) -> mysql::Result<Conn> {
        let options = OptsBuilder::new()
            .socket(self.socket().to_str())
            .user(Some(user))
            .pass(Some(password));
        Conn::new(options)
    }

    /// A name that nothing else on a server of the tests has.
    pub fn fresh_name(prefix: &str) -> String {
        static LAST: AtomicU32 = AtomicU32::new(0);
        format!("{prefix}_{}", LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends the server as its operator would (SIGTERM), and waits.
    pub fn stop(&self) {
        self.end("TERM");
    }

    /// Ends the server as a power failure would (SIGKILL), and waits.
    pub fn kill(&self) {
        self.end("KILL");
    }

    /// Starts the stopped server again, and waits until it answers.
    pub fn start_again(&self) {
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "it runs");
        let mut keeper = match self.disk {
            None => Command::new("sh"),
            Some(size) => {
                let mut command = own_mounts();
                command.arg("sh").env("SIZE", size);
                command.env("TEMPLATE", template());
                command
            }
        };
        let script = match self.disk {
            None => KEEPER.to_owned(),
            Some(_) => format!("{OWN_DISK}\n{KEEPER}"),
        };
        let mut keeper = keeper
            .args(["-c", &script, "keeper"])
            .arg(&self.directory)
            .args(["mariadbd"])
            .args(SMALL)
            .args(SERVER)
            .args(as_root().or(self.disk.map(|_| "--user=root")))
            .arg(format!("--datadir={}/data", self.directory.display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}/pid", self.directory.display()))
            // A server that starts deletes what others have in the same one.
            .arg(format!("--tmpdir={}", self.directory.display()))
            .arg(format!("--port={}", self.port))
            .args(&self.options)
            .env("PATH", path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C on a terminal is not for it: it has to clean up.
            .process_group(0)
            .spawn()
            .unwrap();
        let stdin = keeper.stdin.take().unwrap();
        wait_until("the database server answers", || {
            assert!(keeper.try_wait().unwrap().is_none(), "{}", self.log());
            self.connect("root", "").is_ok()
        });
        *running = Some((keeper, stdin));
    }

    /// The directory of its data, as it sees it.
    pub fn data(&self) -> PathBuf {
        let running = self.running.lock().unwrap();
        let (keeper, _) = running.as_ref().expect("it runs");
        PathBuf::from(format!("/proc/{}/root", keeper.id()))
            .join(self.directory.strip_prefix("/").unwrap())
            .join("data")
    }

    /// Makes the server stand still, as one whose disk or host hangs.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Makes it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = fs::read_to_string(self.directory.join("pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// What the server said, for a test that fails.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn end(&self, signal: &str) {
        let running = self.running.lock().unwrap().take();
        let (mut keeper, mut stdin) = running.expect("it is stopped");
        writeln!(stdin, "{signal}").unwrap();
        keeper.wait().unwrap();
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let running = self.running.lock().map(|mut running| running.take());
        if let Ok(Some((mut keeper, stdin))) = running {
            drop(stdin);
            let _ = keeper.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The data directory that every server begins with a copy of; made once for all.
fn template() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let version = output(Command::new("mariadbd").arg("--version"));
        let version: String = version
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let template = place.join(format!("mariadb-{version}"));
        if template.exists() {
            return template;
        }
        fs::create_dir_all(place).unwrap();
        let making = tempfile::tempdir_in(place).unwrap();
        let made = making.path().join("data");
        output(
            Command::new("mariadb-install-db")
                .args(SMALL)
                .args(as_root())
                .args(["--skip-test-db", "--auth-root-authentication-method=normal"])
                .arg(format!("--datadir={}", made.display())),
        );
        let mut clean = Command::new("mariadbd")
            .args(SMALL)
            .args(as_root())
            .arg("--bootstrap")
            .arg(format!("--datadir={}", made.display()))
            .env("PATH", path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // An account without a name would stand before those of a test.
        let statements = b"DELETE FROM mysql.global_priv WHERE User = '';\n\
                           UPDATE mysql.global_priv SET Host = '%' WHERE User = 'root' AND Host = \
                           'localhost';\n";
        clean.stdin.take().unwrap().write_all(statements).unwrap();
        assert!(clean.wait().unwrap().success());
        // Another test binary may have been faster; then it is there already.
        let _ = fs::rename(&made, &template);
        assert!(template.exists());
        template
    })
    .clone()
}

fn copy(from: &Path, to: &Path) {
    output(Command::new("cp").arg("-a").args([from, to]));
}

/// Runs a command that must succeed; returns what it printed.
fn output(command: &mut Command) -> String {
    let output = command.env("PATH", path()).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The server is in /usr/sbin, which an ordinary user's path may lack.
fn path() -> String {
    format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}

/// The server runs as root only when told to.
fn as_root() -> Option<&'static str> {
    rustix::process::getuid().is_root().then_some("--user=root")
}

/// How many processes of a server there are.
fn servers(directory: &Path) -> usize {
    let name = directory.display().to_string();
    let processes = fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|process| fs::read(process.ok()?.path().join("cmdline")).ok())
        .filter(|line| {
            let line = String::from_utf8_lossy(line);
            line.starts_with("mariadbd") && line.contains(&name)
        })
        .count()
}

#[test]
fn the_server_starts_again_and_goes_away_with_the_test() {
    let server = MariaDb::start(&["--wait-timeout=77"]);
    server.sql(&["CREATE DATABASE kept", "CREATE TABLE kept.t (n INT)"]);
    server.sql(&["INSERT INTO kept.t VALUES (1)"]);
    server.kill();
    assert_eq!(servers(&server.directory), 0);
    assert!(server.connect("root", "").is_err());
    server.start_again();
    server.stop();
    server.start_again();
    assert_eq!(server.value::<u32>("SELECT count(*) FROM kept.t"), 1);
    assert_eq!(server.value::<u32>("SELECT @@global.wait_timeout"), 77);
    assert_eq!(server.value::<u16>("SELECT @@port"), server.port());
    let directory = server.directory.clone();
    assert_eq!(servers(&directory), 1);
    drop(server);
    assert_eq!(servers(&directory), 0);
    assert!(!directory.exists());
}
