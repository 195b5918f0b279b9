//! The keys under which a digest is filed.
//!
//! Two digests score above zero only if block hashes made with the same block
//! size share seven characters in a row, or if the digests are equal. So there
//! is a key for each seven characters together with the block size they were
//! made with. Of a digest's two block hashes the second was made with twice the
//! block size of the first; keyed by that, digests of neighbouring block sizes
//! meet without further ado.
//!
//! Equal digests share such a key unless both block hashes are shorter than
//! seven characters. Those digests, and no others, get one key for the whole.

use ssdeep::{FuzzyHash, block_hash};

/// Characters in a row that two digests must share.
const GRAM: usize = block_hash::MIN_LCS_FOR_COMPARISON;
/// Bits of a character of a block hash.
const CHAR_BITS: u32 = 6;
/// Above the bits of a gram stands the block size, above that this mark of a
/// key that stands for a whole digest.
const BLOCK_SIZE_SHIFT: u32 = GRAM as u32 * CHAR_BITS;
const WHOLE: u64 = 1 << 63;

/// `Key::before` of a gram that opens its block hash.
pub(super) const OPENING: u8 = 64;

/// One key of a digest.
#[derive(Clone, Copy)]
pub(super) struct Key {
    /// The key, mixed so that its bits can choose a place in a table.
    pub hash: u64,
    /// The character that stands before the gram, or [`OPENING`].
    pub before: u8,
}

/// Puts the keys of `digest` into `keys`, in the order of its block hashes.
pub(super) fn keys(digest: &FuzzyHash, seed: u64, keys: &mut Vec<Key>) {
    keys.clear();
    let block_size = u64::from(digest.log_block_size());
    let first = digest.block_hash_1_numeric_windows();
    let second = digest.block_hash_2_numeric_windows();
    keys.extend(grams(first, digest.block_hash_1(), block_size, seed));
    keys.extend(grams(second, digest.block_hash_2(), block_size + 1, seed));
    if keys.is_empty() {
        keys.push(Key {
            hash: mix(whole(digest) ^ seed),
            before: OPENING,
        });
    }
}

fn grams(
    windows: impl Iterator<Item = u64>,
    characters: &[u8],
    block_size: u64,
    seed: u64,
) -> impl Iterator<Item = Key> {
    let before = std::iter::once(&OPENING).chain(characters);
    windows.zip(before).map(move |(gram, &before)| Key {
        hash: mix((gram | block_size << BLOCK_SIZE_SHIFT) ^ seed),
        before,
    })
}

/// A number for a digest whose block hashes have six characters at most. It may
/// collide, as all keys may: what is found is compared.
fn whole(digest: &FuzzyHash) -> u64 {
    let start = u64::from(digest.log_block_size()) << 8 | digest.block_hash_1_len() as u64;
    let characters = digest.block_hash_1().iter().chain(digest.block_hash_2());
    WHOLE | characters.fold(start, |sum, &c| mix(sum << CHAR_BITS | u64::from(c)))
}

/// Spreads a key over all 64 bits: two rounds of multiplying by an odd number
/// and folding the upper half down. Each round can be undone, so that different
/// keys stay different.
fn mix(key: u64) -> u64 {
    let once = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let twice = (once ^ once >> 29).wrapping_mul(0xd1b5_4a32_d192_ed03);
    twice ^ twice >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(digest: &str) -> Vec<Key> {
        let mut found = Vec::new();
        let digest: FuzzyHash = digest.parse().expect("a digest");
        keys(&digest, 7, &mut found);
        found
    }

    #[test]
    fn a_digest_too_short_for_grams_has_one_key() {
        assert_eq!(keys_of("3::").len(), 1);
        assert_eq!(keys_of("3:ABCDEF:ABCDEF").len(), 1);
        let one = keys_of("3:ABCDEF:A")[0].hash;
        assert_eq!(one, keys_of("3:ABCDEF:A")[0].hash);
        for other in ["3:ABCDE:FA", "6:ABCDEF:A", "3:ABCDEF:B", "3:ABCDEF:"] {
            assert_ne!(one, keys_of(other)[0].hash, "{other}");
        }
    }

    #[test]
    fn neighbouring_block_sizes_share_keys() {
        let small = keys_of("3:QRSTUVWX:ABCDEFGH");
        let large = keys_of("6:ABCDEFGH:QRSTUVWX");
        assert_eq!((small.len(), large.len()), (4, 4));
        assert_eq!(small[2].hash, large[0].hash);
        assert_eq!(small[3].hash, large[1].hash);
        assert_ne!(small[0].hash, large[2].hash, "block sizes 3 and 12");
    }

    #[test]
    fn a_gram_knows_what_stands_before_it() {
        let before: Vec<u8> = keys_of("3:ABCDEFGHI:").iter().map(|k| k.before).collect();
        assert_eq!(before, [OPENING, 0, 1]);
    }
}
