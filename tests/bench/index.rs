//! What the index costs: time a lookup and an insertion, memory a record.
//!
//! `cargo bench --bench index [RECORDS…]`; 1,000, 100,000 and
//! 1,000,000 records where none are named. All text comes from a seeded
//! generator, so that runs can be compared:
//!
//! * half are texts of their own, 500 to 4,500 characters;
//! * 45 in 100 belong to campaigns, 50 texts to one on average, of which the
//!   first third is the same piece of HTML and the rest their own;
//! * 5 in 100 belong to one giant campaign of that kind.
//!
//! As in the analyzer, a text that matches a record makes no record.
//!
//! Looked up are copies of records with a few words changed ("hit"), new texts
//! ("miss"), new members of small campaigns ("template"), and new members of
//! the giant one, whose shared part thousands of records have ("giant").

mod texts;

use shiva::fingerprint::{self, Ctph, SpamId};
use shiva::sameness::{Index, Query, Rule, Scratch};
use ssdeep::{FuzzyHash, FuzzyHashCompareTarget};
use std::hint::black_box;
use std::time::Instant;
use texts::{GIANT, Generator, Kind, resident};

struct Spam {
    id: SpamId,
    digest: Ctph,
    length: u64,
}

fn spam(text: &str) -> Spam {
    Spam {
        id: fingerprint::id("", text),
        digest: fingerprint::ctph("", text),
        length: text.len() as u64,
    }
}

fn query(spam: &Spam) -> Query<'_> {
    let rule = Rule::default();
    Query {
        id: spam.id,
        digest: Some(&spam.digest),
        lengths: rule.lengths(spam.length),
        threshold: rule.similarity,
    }
}

fn lookups(name: &str, index: &Index, spams: &[Spam]) {
    let mut scratch = Scratch::new();
    let mut found = 0;
    let mut times = Vec::new();
    // Once to warm up what a process that runs for hours has warm.
    for round in 0..2 {
        found = 0;
        times.clear();
        for spam in spams {
            let start = Instant::now();
            let answer = black_box(index.find(&query(spam), &mut scratch));
            times.push(start.elapsed().as_nanos());
            found += usize::from(answer.is_some());
        }
        if round == 0 {
            // Other lookups in between, so that the cache is not that warm.
            let mut generator = Generator::new(99);
            for _ in 0..2000 {
                let other = spam(&generator.text(Kind::Own));
                black_box(index.find(&query(&other), &mut scratch));
            }
        }
    }
    times.sort_unstable();
    let mean = times.iter().sum::<u128>() / times.len() as u128;
    println!(
        "  lookup, {name:<9} {mean:>9} ns mean {:>9} ns median {:>9} ns 99th   ({found} of {} found)",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        spams.len(),
    );
}

fn brute_force(digests: &[(FuzzyHash, u64)], spams: &[Spam]) {
    let start = Instant::now();
    let mut target = FuzzyHashCompareTarget::new();
    for spam in spams {
        let question = query(spam);
        target.init_from(spam.digest.normalised());
        let mut best = 0;
        for (digest, length) in digests {
            if question.lengths.contains(length) {
                best = best.max(target.compare(digest));
            }
        }
        black_box(best);
    }
    let mean = start.elapsed().as_nanos() / spams.len() as u128;
    println!("  brute force       {mean:>9} ns mean");
}

fn measure(records: usize) {
    let mut generator = Generator::new(1);
    let (mut hits, mut texts, mut keys) = (Vec::new(), 0, 0);
    let mut spams = Vec::with_capacity(records);
    let (mut index, mut scratch) = (Index::new(), Scratch::new());
    let (mut insertion, mut slowest) = (0, 0);
    let before = resident();
    while spams.len() < records {
        let kind = generator.kind(records);
        let text = generator.text(kind);
        let made = spam(&text);
        texts += 1;
        if index.find(&query(&made), &mut scratch).is_some() {
            continue;
        }
        let number = spams.len();
        if number % (records / 5000).max(1) == 0 {
            hits.push(spam(&generator.alter(&text)));
        }
        let digest = made.digest.normalised();
        keys += digest.block_hash_1_len().saturating_sub(6);
        keys += digest.block_hash_2_len().saturating_sub(6);
        let start = Instant::now();
        index.insert(number as u32, made.id, Some(&made.digest), made.length);
        let time = start.elapsed().as_nanos();
        insertion += time;
        slowest = slowest.max(time / 1000);
        spams.push(made);
    }
    let insertion = insertion / records as u128;
    println!(
        "{records} records of {texts} texts, {} keys each",
        keys / records
    );
    println!("  insertion         {insertion:>9} ns mean, slowest {slowest} µs");
    let bytes = index.memory_bytes();
    let others = spams.len() * size_of::<Spam>() + 4 * records.next_power_of_two();
    let resident = (resident().saturating_sub(before) * 1024).saturating_sub(others);
    println!(
        "  memory            {:>9} bytes a record by count, {} resident, {} MiB in all",
        bytes / records,
        resident / records,
        bytes >> 20
    );
    let mut new = |kind: &dyn Fn(&mut Generator) -> Kind, count: usize| -> Vec<Spam> {
        let mut make = || {
            let kind = kind(&mut generator);
            spam(&generator.text(kind))
        };
        (0..count).map(|_| make()).collect()
    };
    let small = |g: &mut Generator| Kind::Campaign(g.random.below(records / 100 + 1) as u64);
    let miss = new(&|_| Kind::Own, 5000);
    let template = new(&small, 5000);
    let giant = new(&|_| Kind::Campaign(GIANT), 500);
    lookups("hit", &index, &hits);
    lookups("miss", &index, &miss);
    lookups("template", &index, &template);
    lookups("giant", &index, &giant);
    let digests: Vec<(FuzzyHash, u64)> = spams
        .iter()
        .map(|s| (s.digest.normalised(), s.length))
        .collect();
    brute_force(&digests, &miss[..20]);
}

fn main() {
    let named: Vec<usize> = std::env::args().filter_map(|n| n.parse().ok()).collect();
    let sizes = if named.is_empty() {
        vec![1_000, 100_000, 1_000_000]
    } else {
        named
    };
    sizes.into_iter().for_each(measure);
}
