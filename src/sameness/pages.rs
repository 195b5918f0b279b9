//! A vector in pages, for what grows to a hundred megabytes.
//!
//! A `Vec` that grows copies everything, holds both copies meanwhile and keeps
//! up to as much again in reserve. Here a full page stays where it is and the
//! next one begins. Elements are never removed.

/// `N` elements a page; a power of two, so that a place is found by shifts.
pub(super) struct Pages<T, const N: usize> {
    pages: Vec<Vec<T>>,
}

impl<T, const N: usize> Default for Pages<T, N> {
    fn default() -> Self {
        Pages { pages: Vec::new() }
    }
}

impl<T, const N: usize> Pages<T, N> {
    pub fn len(&self) -> usize {
        match self.pages.split_last() {
            Some((last, full)) => full.len() * N + last.len(),
            None => 0,
        }
    }

    pub fn push(&mut self, value: T) {
        match self.pages.last_mut() {
            // The first page grows as usual: small things stay small.
            Some(last) if last.len() < N => last.push(value),
            Some(_) => {
                let mut page = Vec::with_capacity(N);
                page.push(value);
                self.pages.push(page);
            }
            None => self.pages.push(vec![value]),
        }
    }

    #[inline]
    pub fn get(&self, place: usize) -> &T {
        &self.pages[place / N][place % N]
    }

    #[inline]
    pub fn get_mut(&mut self, place: usize) -> &mut T {
        &mut self.pages[place / N][place % N]
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        let elements: usize = self.pages.iter().map(Vec::capacity).sum();
        elements * size_of::<T>() + self.pages.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_in_their_places() {
        let mut pages = Pages::<usize, 4>::default();
        for n in 0..50 {
            assert_eq!(pages.len(), n);
            pages.push(n);
            *pages.get_mut(n) += 1;
            assert!((0..=n).all(|m| *pages.get(m) == m + 1));
        }
    }
}
