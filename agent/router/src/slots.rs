//! A list whose places keep their number: what a thread has in flight, and which connections it holds.

/// Values by the number that `insert` gave; freed numbers are used again.
pub(crate) struct Slots<T> {
    items: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slots<T> {
    pub fn new() -> Slots<T> {
        Slots {
            items: Vec::new(),
            free: Vec::new(),
        }
    }

    pub fn insert(&mut self, item: T) -> usize {
        match self.free.pop() {
            Some(i) => {
                self.items[i] = Some(item);
                i
            }
            None => {
                self.items.push(Some(item));
                self.items.len() - 1
            }
        }
    }

    pub fn remove(&mut self, key: usize) -> Option<T> {
        let item = self.items.get_mut(key)?.take()?;
        self.free.push(key);
        if self.free.len() == self.items.len() && self.items.capacity() > 1024 {
            *self = Slots::new();
        }
        Some(item)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().flatten()
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_stay() {
        let mut s = Slots::new();
        let (a, b) = (s.insert("a"), s.insert("b"));
        assert_eq!(s.remove(a), Some("a"));
        assert_eq!(s.remove(a), None);
        let c = s.insert("c");
        assert_eq!(
            (a, s.iter().copied().collect::<Vec<_>>()),
            (c, vec!["c", "b"])
        );
        assert!(!s.is_empty());
        s.remove(b);
        s.remove(c);
        assert!(s.is_empty());
    }
}
