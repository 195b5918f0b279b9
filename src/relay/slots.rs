//! The slots of the open window: how many copies were relayed, of each record and in all. No I/O.

use std::collections::HashMap;

use crate::store::OpenWindow;

/// Slots in use.
#[derive(Debug, Default)]
pub struct Slots {
    of_record: HashMap<u64, u64>,
    all: u64,
}

impl Slots {
    /// The slots that a window has in use in the store.
    pub fn of(window: &OpenWindow) -> Slots {
        Slots {
            of_record: window.slots.iter().copied().collect(),
            all: window.slots.iter().map(|(_, used)| used).sum(),
        }
    }

    /// Those of all records.
    pub fn all(&self) -> u64 {
        self.all
    }

    /// Those of one record.
    pub fn of_record(&self, record: u32) -> u64 {
        let used = self.of_record.get(&u64::from(record));
        used.copied().unwrap_or(0)
    }

    /// Takes one.
    pub fn take(&mut self, record: u32) {
        *self.of_record.entry(u64::from(record)).or_default() += 1;
        self.all += 1;
    }

    /// Gives one back.
    pub fn give_back(&mut self, record: u64) {
        if let Some(used @ 1..) = self.of_record.get_mut(&record) {
            *used -= 1;
            self.all -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    #[test]
    fn what_is_given_back_can_be_taken_again_and_never_more() {
        let mut slots = Slots::of(&OpenWindow {
            number: 1,
            opened: Timestamp::now(),
            records: Vec::new(),
            slots: vec![(4, 2)],
        });
        slots.take(4);
        slots.take(5);
        assert_eq!(
            (slots.of_record(4), slots.of_record(5), slots.all()),
            (3, 1, 4)
        );
        slots.give_back(5);
        slots.give_back(5);
        slots.give_back(6);
        assert_eq!(
            (slots.of_record(4), slots.of_record(5), slots.all()),
            (3, 0, 3)
        );
    }
}
