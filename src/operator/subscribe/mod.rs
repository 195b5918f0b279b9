//! `shiva subscribe`: what others share over hpfeeds, as it comes.
//!
//! Threads, and what goes between them:
//!
//! ```text
//! listen ──messages──> receiving (this thread): prints, keeps files ──records──> gather
//! ```
//!
//! Each arrow is a [`queue`] bounded in bytes. A broker hands a message on once and keeps nothing: what
//! comes while this program is not connected, or is in its memory when it dies, is lost to it. What
//! cannot be read, kept or stored is said on standard error, once and then rarely, and counted; nothing
//! but a signal, or standard output that cannot be written to, ends the program.

mod gather;
mod keep;
mod line;
mod listen;
mod queue;
mod rarely;
mod receiving;
mod shelf;
mod stop;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::escape;
use crate::exit::{Exit, Failure};
use crate::hpfeeds::Broker;
use crate::hpfeeds::payload::{ATTACHMENTS, IP_URL, PARSED, RAW};
use gather::Gatherer;
use keep::Keeper;
use listen::Listener;
use queue::Queue;
use receiving::Receiving;
use stop::Stop;

/// What is subscribed to where no channel is named.
const CHANNELS: [&str; 4] = [PARSED, IP_URL, RAW, ATTACHMENTS];

/// How often whoever waits looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is wanted of what others share.
pub struct Wanted {
    /// Channels; none means those of SHIVA.
    pub channels: Vec<String>,
    /// Where samples and attachments are kept.
    pub dir: Option<PathBuf>,
    /// Print JSON.
    pub json: bool,
    /// Add records to the main store.
    pub store: bool,
}

/// Subscribes until a signal comes.
pub fn run(config: &Config, wanted: &Wanted) -> Result<(), Failure> {
    end_at_panics();
    let broker = broker(config)?;
    let stop = Stop::at_signals()?;
    let keeper = wanted.dir.as_deref().map(keeper).transpose()?;
    let gatherer = match wanted.store {
        true => Some(Gatherer::start(config, &stop)?),
        false => None,
    };
    let channels = match wanted.channels.as_slice() {
        [] => CHANNELS.map(ToOwned::to_owned).to_vec(),
        named => named.to_vec(),
    };
    let queue = Arc::new(Queue::new(listen::QUEUE_MAX));
    let listener = Listener {
        broker,
        channels,
        queue: Arc::clone(&queue),
        stop: stop.clone(),
    };
    spawn("listen", move || listener.run())?;
    Receiving::new(wanted.json, keeper, gatherer).work(&queue, &stop)
}

/// A panic is a bug, in any thread; the others would wait for it in vain. Its message may hold a
/// stranger's bytes: say where it was, not what it says.
fn end_at_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic
            .location()
            .map_or_else(String::new, ToString::to_string);
        say(&format!("ends by a bug, at {at}"));
        std::process::abort();
    }));
}

/// The broker of the configuration, whether anything is shared there or not.
fn broker(config: &Config) -> Result<Broker, Failure> {
    let broker = config.hpfeeds.broker();
    for (key, value) in [
        ("host", &broker.host),
        ("ident", &broker.ident),
        ("secret", &broker.secret),
    ] {
        if value.is_empty() {
            let file = config.file.display();
            let what = format!("{file}: [hpfeeds] {key} is not set; there is no broker without it");
            return Err(Failure::new(Exit::Config, what));
        }
    }
    Ok(broker)
}

fn keeper(dir: &Path) -> Result<Keeper, Failure> {
    Keeper::open(dir).map_err(|error| {
        let dir = dir.display();
        let what = format!("cannot keep samples and attachments in {dir}: {error}");
        Failure::new(Exit::CantCreate, what)
    })
}

/// Says something on standard error, if anybody listens there. It may hold what strangers wrote.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "shiva: {}", escape::line(text));
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::JoinHandle<T>, Failure> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread
        .map_err(|error| Failure::new(Exit::Unavailable, format!("cannot start a thread: {error}")))
}
