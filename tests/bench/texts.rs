//! Texts from a seeded generator, so that runs of the benchmarks can be compared; [`super`] says of
//! which kinds.

pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

pub struct Generator {
    pub random: Random,
    words: Vec<String>,
}

/// Which kind of text.
#[derive(Clone, Copy)]
pub enum Kind {
    Own,
    Campaign(u64),
}

pub const GIANT: u64 = u64::MAX;

impl Generator {
    pub fn new(seed: u64) -> Self {
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

    pub fn text(&mut self, kind: Kind) -> String {
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
    pub fn alter(&mut self, text: &str) -> String {
        let mut words: Vec<&str> = text.split_inclusive(' ').collect();
        for _ in 0..2 {
            let place = self.random.below(words.len());
            words[place] = "changed ";
        }
        words.concat()
    }

    pub fn kind(&mut self, records: usize) -> Kind {
        match self.random.below(100) {
            0..50 => Kind::Own,
            50..95 => Kind::Campaign(self.random.below(records / 100 + 1) as u64),
            _ => Kind::Campaign(GIANT),
        }
    }
}

/// Kilobytes of this process in memory; nothing where that is not known.
pub fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}
