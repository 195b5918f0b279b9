//! A queue between two threads, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What became of something that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered<T> {
    /// It is in the queue.
    Taken,
    /// There was no room in this time; here it is again.
    Full(T),
    /// Nobody takes anything any more.
    Closed,
}

/// What came out of the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// The next thing.
    Item(T),
    /// Nothing in this time.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

/// The queue.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Bytes that may wait; one thing may, however large.
    most: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(most: usize) -> Queue<T> {
        Queue {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            most,
        }
    }

    /// Puts something in that weighs so many bytes, once there is room.
    pub(super) fn offer(&self, item: T, bytes: usize, patience: Duration) -> Offered<T> {
        let is_full = |state: &mut State<T>| {
            !state.closed && !state.items.is_empty() && state.bytes + bytes > self.most
        };
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), patience, is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.closed {
            return Offered::Closed;
        }
        if is_full(&mut state) {
            return Offered::Full(item);
        }
        state.items.push_back((item, bytes));
        state.bytes += bytes;
        self.changed.notify_all();
        Offered::Taken
    }

    /// Takes the next thing out, once there is one.
    pub(super) fn next(&self, patience: Duration) -> Next<T> {
        let is_empty = |state: &mut State<T>| !state.closed && state.items.is_empty();
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), patience, is_empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        match state.items.pop_front() {
            Some((item, bytes)) => {
                state.bytes -= bytes;
                self.changed.notify_all();
                Next::Item(item)
            }
            None if state.closed => Next::Closed,
            None => Next::Nothing,
        }
    }

    /// Takes nothing more in. What is in it can still be taken out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn bytes_are_bounded_and_one_large_thing_passes() {
        let queue = Queue::new(10);
        assert_eq!(queue.offer('a', 100, SHORT), Offered::Taken);
        assert_eq!(queue.offer('b', 0, SHORT), Offered::Full('b'));
        assert_eq!(queue.next(SHORT), Next::Item('a'));
        assert_eq!(queue.offer('c', 6, SHORT), Offered::Taken);
        assert_eq!(queue.offer('d', 5, SHORT), Offered::Full('d'));
        assert_eq!(queue.offer('e', 4, SHORT), Offered::Taken);
        assert_eq!(queue.next(SHORT), Next::Item('c'));
        assert_eq!(queue.next(SHORT), Next::Item('e'));
        assert_eq!(queue.next(SHORT), Next::Nothing);
    }

    #[test]
    fn a_closed_queue_is_emptied() {
        let queue = Queue::new(10);
        assert_eq!(queue.offer('a', 1, SHORT), Offered::Taken);
        queue.close();
        assert_eq!(queue.offer('b', 1, LONG), Offered::Closed);
        assert_eq!(queue.next(LONG), Next::Item('a'));
        assert_eq!(queue.next(LONG), Next::Closed);
    }

    #[test]
    fn whoever_waits_for_room_gets_it() {
        let queue = Queue::new(1);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for n in 0..1000 {
                    assert_eq!(queue.offer(n, 1, LONG), Offered::Taken);
                }
            });
            for n in 0..1000 {
                assert_eq!(queue.next(LONG), Next::Item(n));
            }
        });
    }
}
