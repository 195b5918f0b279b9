//! The index gives what comparing against every record gives.
//!
//! The reference below asks libfuzzy's semantics of ffuzzy, pair by pair; that
//! ffuzzy has them is held by `ctph_is_libfuzzy`.

use proptest::prelude::*;
use shiva::fingerprint::{self, Ctph, SpamId};
use shiva::sameness::{Evidence, Index, Match, Query, Scratch};
use ssdeep::FuzzyHashCompareTarget;

#[derive(Clone, Debug)]
struct Record {
    id: SpamId,
    digest: Option<Ctph>,
    length: u64,
}

fn by_brute_force(records: &[Record], query: &Query<'_>) -> Option<Match> {
    if let Some(same) = records.iter().position(|r| r.id == query.id) {
        return Some(Match {
            record: same as u32,
            score: 100,
            by: Evidence::Id,
        });
    }
    let target = FuzzyHashCompareTarget::from(query.digest?.normalised());
    let mut best: Option<Match> = None;
    for (number, record) in records.iter().enumerate() {
        let Some(digest) = &record.digest else {
            continue;
        };
        let score = target.compare(digest.normalised());
        let high = best.map_or(query.threshold - 1, |b| b.score);
        if query.lengths.contains(&record.length) && score > high {
            best = Some(Match {
                record: number as u32,
                score,
                by: Evidence::Ctph,
            });
        }
    }
    best
}

fn index_of(records: &[Record]) -> Index {
    let mut index = Index::new();
    for (number, r) in records.iter().enumerate() {
        index.insert(number as u32, r.id, r.digest.as_ref(), r.length);
    }
    index
}

/// Few ids, so that some are the same.
fn an_id() -> impl Strategy<Value = SpamId> {
    prop_oneof![
        20 => any::<[u8; 16]>().prop_map(SpamId::from),
        1 => (0u8..8).prop_map(|n| SpamId::from([n; 16])),
    ]
}

/// Part of a block hash: characters of a small alphabet, stretches that many
/// digests share, runs of one character.
fn a_piece() -> impl Strategy<Value = String> {
    const SHARED: [&str; 5] = [
        "QwErTyUiOp",
        "abcdefg",
        "XYZ/+0123456789mnbvcxz",
        "QwErTyU",
        "cdefghijk",
    ];
    prop_oneof![
        3 => (0..SHARED.len()).prop_map(|n| SHARED[n].to_string()),
        2 => "[ABC]{0,9}",
        2 => "[A-Za-z0-9+/]{0,12}",
        1 => ("[A-D]", 1usize..12).prop_map(|(c, n)| c.repeat(n)),
    ]
}

fn a_block_hash(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(a_piece(), 0..7).prop_map(move |pieces| {
        let mut text = pieces.concat();
        text.truncate(most);
        text
    })
}

/// A digest that no text need have.
fn a_raw_digest() -> impl Strategy<Value = Ctph> {
    let block_size = prop_oneof![4 => 0u32..3, 2 => 3u32..8, 1 => 27u32..31];
    (block_size, a_block_hash(64), a_block_hash(32))
        .prop_map(|(log, one, two)| digest(&format!("{}:{one}:{two}", 3u64 << log)))
}

/// A digest of six characters at most on either side.
fn a_short_digest() -> impl Strategy<Value = Ctph> {
    (0u32..2, "[AB]{0,6}", "[AB]{0,6}")
        .prop_map(|(log, one, two)| digest(&format!("{}:{one}:{two}", 3u64 << log)))
}

fn digest(text: &str) -> Ctph {
    text.parse().expect("a digest")
}

const WORDS: [&str; 12] = [
    "invoice ",
    "<td class=\"x\">",
    "cheap ",
    "unsubscribe here ",
    "pills\n",
    "account ",
    "=======",
    "bank ",
    "verify your ",
    "winner ",
    "a ",
    "http://example.org/",
];

/// The digest of one of a few templates with words exchanged and put in.
fn a_text_digest() -> impl Strategy<Value = Ctph> {
    let edits = prop::collection::vec((any::<usize>(), 0..WORDS.len(), any::<bool>()), 0..40);
    (0usize..3, 150usize..450, edits).prop_map(|(template, words, edits)| {
        let mut text: Vec<usize> = (0..words)
            .map(|n| (n * n * (template + 3) + n / 7) % WORDS.len())
            .collect();
        for (place, word, exchange) in edits {
            let place = place % text.len();
            if exchange {
                text[place] = word;
            } else {
                text.insert(place, word);
            }
        }
        let text: String = text.into_iter().map(|word| WORDS[word]).collect();
        fingerprint::ctph("subject", &text)
    })
}

/// A digest, and one that differs from it in a few characters.
fn neighbours() -> impl Strategy<Value = Vec<Ctph>> {
    let edits = prop::collection::vec((any::<usize>(), "[A-Z]"), 0..14);
    (a_raw_digest(), prop::collection::vec(edits, 0..6)).prop_map(|(first, kin)| {
        let altered = kin.into_iter().map(|edits| {
            let mut text = first.to_string();
            for (place, character) in edits {
                let place = place % text.len();
                if text.as_bytes()[place].is_ascii_alphabetic() {
                    text.replace_range(place..=place, &character);
                }
            }
            digest(&text)
        });
        altered.collect()
    })
}

fn some_digests() -> impl Strategy<Value = Vec<Ctph>> {
    prop_oneof![
        4 => a_raw_digest().prop_map(|d| vec![d]),
        1 => a_short_digest().prop_map(|d| vec![d]),
        2 => a_text_digest().prop_map(|d| vec![d]),
        3 => neighbours(),
    ]
}

fn many_digests(groups: usize) -> impl Strategy<Value = Vec<Ctph>> {
    prop::collection::vec(some_digests(), 0..groups).prop_map(|groups| groups.concat())
}

fn records(groups: usize) -> impl Strategy<Value = Vec<Record>> {
    many_digests(groups).prop_flat_map(|digests| {
        let rest = (an_id(), 0u64..40, prop::bool::weighted(0.9));
        prop::collection::vec(rest, digests.len()).prop_map(move |rest| {
            let make = |((id, length, filed), &digest): ((SpamId, u64, bool), &Ctph)| Record {
                id,
                digest: filed.then_some(digest),
                length,
            };
            rest.into_iter().zip(&digests).map(make).collect()
        })
    })
}

type Question = (SpamId, u64, u64, u32, bool);

fn a_question() -> impl Strategy<Value = Question> {
    let low = prop_oneof![2 => Just(0u64), 1 => 0u64..40];
    let high = prop_oneof![2 => Just(u64::MAX), 1 => 0u64..45];
    let threshold = prop_oneof![2 => 1u32..=100, 1 => Just(1), 1 => 60u32..=90, 1 => Just(100)];
    (an_id(), low, high, threshold, prop::bool::weighted(0.97))
}

fn check(records: &[Record], probes: &[(Ctph, Question)]) -> Result<(), TestCaseError> {
    let index = index_of(records);
    prop_assert_eq!(index.len(), records.len());
    let mut scratch = Scratch::new();
    // Every record's own digest is asked for as well, under another id.
    let own = records.iter().filter_map(|r| r.digest).map(|digest| {
        let id = SpamId::from([0xee; 16]);
        (
            digest,
            (id, 0, u64::MAX, 1 + records.len() as u32 % 100, true),
        )
    });
    for (digest, (id, low, high, threshold, compared)) in probes.iter().cloned().chain(own) {
        let query = Query {
            id,
            digest: compared.then_some(&digest),
            lengths: low..=high,
            threshold,
        };
        let found = index.find(&query, &mut scratch);
        prop_assert_eq!(found, by_brute_force(records, &query), "{:?}", query);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn index_equals_brute_force(
        records in records(60),
        probes in prop::collection::vec((a_raw_digest(), a_question()), 0..12),
        texts in prop::collection::vec((a_text_digest(), a_question()), 0..4),
        short in prop::collection::vec((a_short_digest(), a_question()), 0..4),
    ) {
        check(&records, &[probes, texts, short].concat())?;
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}", digits in "[0-9A-Fa-f:,]{0,40}") {
        for text in [&text, &digits] {
            let _ = text.parse::<Ctph>();
            if let Ok(id) = text.parse::<SpamId>() {
                prop_assert_eq!(id.to_string(), text.to_ascii_lowercase());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// All share one stretch and, but for chance, nothing else long enough. What
    /// stands before it, and how alike the rest is, varies: each digest is also
    /// asked for with another character before the stretch and every sixth of
    /// the rest altered, so that the stretch alone leads to it.
    #[test]
    fn index_equals_brute_force_where_one_stretch_leads_to_all(
        halves in prop::collection::vec(("[A-D]{0,3}", "[a-z]{0,40}"), 1..150),
        stretch in "[0-9]{7,12}",
        other in "[A-D]{0,1}",
        question in a_question(),
    ) {
        let whole = |before: &str, after: &str| digest(&format!("3072:{before}{stretch}{after}:"));
        let records: Vec<Record> = halves.iter().zip(0u8..).map(|((before, after), n)| Record {
            id: SpamId::from([n; 16]),
            digest: Some(whole(before, after)),
            length: u64::from(n),
        }).collect();
        let altered = |after: &str| -> String {
            let alter = |(n, c)| if n % 6 == 5 { '+' } else { c };
            after.chars().enumerate().map(alter).collect()
        };
        let (_, low, high, threshold, _) = question;
        let id = SpamId::from([0xee; 16]);
        let probes: Vec<(Ctph, Question)> = halves.iter().map(|(_, after)| {
            (whole(&other, &altered(after)), (id, low, high, threshold, true))
        }).collect();
        check(&records, &probes)?;
    }

    /// Lists long enough to be divided by what stands before a gram.
    #[test]
    fn index_equals_brute_force_where_grams_are_popular(
        records in records(500),
        probes in prop::collection::vec((a_raw_digest(), a_question()), 0..30),
        texts in prop::collection::vec((a_text_digest(), a_question()), 0..10),
    ) {
        check(&records, &[probes, texts].concat())?;
    }
}

#[test]
fn a_threshold_of_nothing_is_one() {
    let record = Record {
        id: SpamId::from([1; 16]),
        digest: Some(digest("3:ABCDEFGHIJ:")),
        length: 5,
    };
    let other = digest("3:abcdefghij:");
    let query = Query {
        id: SpamId::from([2; 16]),
        digest: Some(&other),
        lengths: 0..=10,
        threshold: 0,
    };
    assert_eq!(index_of(&[record]).find(&query, &mut Scratch::new()), None);
}

#[test]
fn equal_digests_match_without_a_common_gram() {
    let record = |text: &str| Record {
        id: SpamId::from([text.len() as u8; 16]),
        digest: Some(digest(text)),
        length: 5,
    };
    let index = index_of(&[record("3:ABC:AB"), record("3:ABCC:AB"), record("3::")]);
    for (text, wanted) in [("3:ABCC:AB", Some(1)), ("3::", Some(2)), ("6::", None)] {
        let asked = digest(text);
        let query = Query {
            id: SpamId::from([0xee; 16]),
            digest: Some(&asked),
            lengths: 5..=5,
            threshold: 100,
        };
        let found = index.find(&query, &mut Scratch::new());
        assert_eq!(found.map(|m| m.record), wanted, "{text}");
    }
}
