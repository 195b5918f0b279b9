//! The floor under the analyzer: what no analyzer of these files can do without.
//!
//! Reads every file of a directory, computes its MD5 and its CTPH with the libraries the analyzer
//! uses, and unlinks it; two threads, nothing else. Prints the seconds it took.

use std::path::PathBuf;
use std::time::Instant;
use std::{env, fs, io, process, thread};

use crossbeam_channel::{Receiver, bounded};
use md5::{Digest, Md5};
use ssdeep::Generator;

const THREADS: usize = 2;

/// Names handed to a thread at once.
const CHUNK: usize = 64;

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1).filter(|path| path != "--bench") else {
        eprintln!("floor: give a directory; `make bench` does");
        process::exit(64);
    };
    let start = Instant::now();
    let (chunks, work) = bounded(4);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let work = work.clone();
            thread::spawn(move || consume(&work))
        })
        .collect();
    drop(work);
    let mut chunk = Vec::new();
    for entry in fs::read_dir(directory)? {
        chunk.push(entry?.path());
        if chunk.len() == CHUNK {
            let _ = chunks.send(std::mem::take(&mut chunk));
        }
    }
    let _ = chunks.send(chunk);
    drop(chunks);
    for thread in threads {
        thread.join().expect("a thread panicked")?;
    }
    println!("{}", start.elapsed().as_secs_f64());
    Ok(())
}

fn consume(work: &Receiver<Vec<PathBuf>>) -> io::Result<()> {
    for path in work.iter().flatten() {
        let content = fs::read(&path)?;
        std::hint::black_box(Md5::digest(&content));
        let mut generator = Generator::new();
        generator
            .set_fixed_input_size(content.len() as u64)
            .map_err(io::Error::other)?;
        std::hint::black_box(generator.update(&content).finalize()).map_err(io::Error::other)?;
        fs::remove_file(&path)?;
    }
    Ok(())
}
