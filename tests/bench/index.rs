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

use shiva::fingerprint::{self, Ctph, SpamId};
use shiva::sameness::{Index, Query, Rule, Scratch};
use ssdeep::{FuzzyHash, FuzzyHashCompareTarget};
use std::hint::black_box;
use std::time::Instant;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

struct Generator {
    random: Random,
    words: Vec<String>,
}

/// Which kind of text.
#[derive(Clone, Copy)]
enum Kind {
    Own,
    Campaign(u64),
}

const GIANT: u64 = u64::MAX;

impl Generator {
    fn new(seed: u64) -> Self {
        let mut random = Random(4);
        let words = (0..5000)
            .map(|_| {
                let letters = 2 + random.below(9);
                let letter = |_| (b'a' + random.below(26) as u8) as char;
                (0..letters).map(letter).collect()
            })
            .collect();
        Generator {
            random: Random(seed),
            words,
        }
    }

    fn append(&mut self, text: &mut String, length: usize, markup: bool) {
        let end = text.len() + length;
        while text.len() < end {
            // Low numbers are drawn more often, as in a language.
            let limit = 1 + self.random.below(self.words.len());
            let word = self.random.below(limit);
            text.push_str(&self.words[word]);
            text.push(' ');
            if markup && self.random.below(4) == 0 {
                let width = self.random.below(900);
                text.push_str(&format!("</td>\n<td width=\"{width}\" style=\"color:#"));
                text.push_str(&format!("{:06x}\">", self.random.below(1 << 24)));
            }
        }
    }

    fn text(&mut self, kind: Kind) -> String {
        let mut text = String::new();
        match kind {
            Kind::Own => {
                let length = 500 + self.random.below(4000);
                let markup = self.random.below(2) == 0;
                self.append(&mut text, length, markup);
            }
            Kind::Campaign(number) => {
                let mut template = Generator {
                    random: Random(number),
                    words: std::mem::take(&mut self.words),
                };
                let length = 500 + template.random.below(1500);
                template.append(&mut text, length, true);
                self.words = template.words;
                // Twice as much, so that most do not match each other.
                let own = 2 * length + self.random.below(length / 8 + 1);
                self.append(&mut text, own, true);
            }
        }
        text
    }

    /// The same text with a few words changed.
    fn alter(&mut self, text: &str) -> String {
        let mut words: Vec<&str> = text.split_inclusive(' ').collect();
        for _ in 0..2 {
            let place = self.random.below(words.len());
            words[place] = "changed ";
        }
        words.concat()
    }

    fn kind(&mut self, records: usize) -> Kind {
        match self.random.below(100) {
            0..50 => Kind::Own,
            50..95 => Kind::Campaign(self.random.below(records / 100 + 1) as u64),
            _ => Kind::Campaign(GIANT),
        }
    }
}

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

/// Kilobytes of this process in memory; nothing where that is not known.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
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
