//! Changes to a text: what stands there is replaced by something else.

use std::ops::Range;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub at: Range<usize>,
    pub with: Vec<u8>,
}

/// Changes in order, none of which overlaps another: of those that do, the first and longest stays
/// and replaces what the others were to replace as well.
pub(super) fn disjoint(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by(|a, b| (a.at.start, b.at.end).cmp(&(b.at.start, a.at.end)));
    let mut kept: Vec<Edit> = Vec::with_capacity(edits.len());
    for edit in edits {
        match kept.last_mut() {
            Some(last) if edit.at.start < last.at.end => {
                last.at.end = last.at.end.max(edit.at.end);
            }
            _ => kept.push(edit),
        }
    }
    kept
}

/// The text with disjoint changes made; none when there are none.
pub(super) fn made(text: &[u8], edits: &[Edit]) -> Option<Vec<u8>> {
    if edits.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut done = 0;
    for edit in edits {
        out.extend_from_slice(text.get(done..edit.at.start).unwrap_or_default());
        out.extend_from_slice(&edit.with);
        done = edit.at.end;
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(at: Range<usize>, with: &str) -> Edit {
        let with = with.as_bytes().to_vec();
        Edit { at, with }
    }

    #[test]
    fn the_first_and_longest_counts_and_nothing_of_the_others_stays() {
        let edits = vec![
            edit(6..8, "Z"),
            edit(2..3, "y"),
            edit(1..4, "X"),
            edit(3..5, "w"),
        ];
        assert_eq!(made(b"0123456789", &disjoint(edits)).unwrap(), b"0X5Z89");
        assert_eq!(made(b"01", &[]), None);
    }
}
