//! [`Queue`]: first in, first out, and each item is also found and taken out by the id of its request.
//!
//! Ids rise, but not in the order of the queue: a description is asked for ahead of the calls that wait for it, and a
//! request that is sent again comes behind later ones. So order alone does not find an id, and searching for it would
//! make a thousand cancels a million steps.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::pipeline::RequestId;

/// Gaps that are never worth closing.
const FEW: usize = 32;

/// Items in the order they came. Every operation takes constant time, or logarithmic by the number of items, averaged.
#[derive(Debug)]
pub struct Queue<T> {
    /// By place, rising. What was taken out of the middle leaves a gap; neither the first nor the last slot is one.
    slots: VecDeque<Slot<T>>,
    /// Places by id, of the items below `indexed`: written when somebody asks for an id, which happens to few items.
    places: HashMap<RequestId, u64, BuildHasherDefault<Spread>>,
    indexed: u64,
    len: usize,
    /// The place of the next item. No place is given twice, so "everything that is here now" is "below `end`".
    end: u64,
}

#[derive(Debug)]
struct Slot<T> {
    place: u64,
    item: Option<(RequestId, T)>,
}

impl<T> Queue<T> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        let places = HashMap::with_hasher(BuildHasherDefault::new());
        Self { slots: VecDeque::new(), places, indexed: 0, len: 0, end: 0 }
    }

    /// Adds an item at the end. Its id must be of no other item here.
    pub fn push_back(&mut self, id: RequestId, item: T) {
        self.slots.push_back(Slot { place: self.end, item: Some((id, item)) });
        self.len += 1;
        self.end += 1;
    }

    /// The oldest.
    #[must_use]
    pub fn front(&self) -> Option<&T> {
        self.slots.front().and_then(|slot| slot.item.as_ref()).map(|(_, item)| item)
    }

    /// The oldest, to be changed.
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.slots.front_mut().and_then(|slot| slot.item.as_mut()).map(|(_, item)| item)
    }

    /// The oldest's id.
    #[must_use]
    pub fn front_id(&self) -> Option<RequestId> {
        self.slots.front().and_then(|slot| slot.item.as_ref()).map(|(id, _)| *id)
    }

    /// The oldest's place.
    #[must_use]
    pub fn front_place(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.place)
    }

    /// The place the next item will have: above those of all that are here.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The newest.
    #[must_use]
    pub fn back(&self) -> Option<&T> {
        self.slots.back().and_then(|slot| slot.item.as_ref()).map(|(_, item)| item)
    }

    /// Takes the oldest out.
    pub fn pop_front(&mut self) -> Option<T> {
        let slot = self.slots.pop_front()?;
        let (id, item) = slot.item?;
        if slot.place < self.indexed {
            self.places.remove(&id);
        }
        self.len -= 1;
        self.close_gaps();
        Some(item)
    }

    /// The item of request `id`.
    pub fn get_mut(&mut self, id: RequestId) -> Option<&mut T> {
        let at = self.index(id)?;
        self.slots.get_mut(at).and_then(|slot| slot.item.as_mut()).map(|(_, item)| item)
    }

    /// Takes the item of request `id` out, wherever it stands.
    pub fn remove(&mut self, id: RequestId) -> Option<T> {
        let at = self.index(id)?;
        let (_, item) = self.slots.get_mut(at)?.item.take()?;
        self.places.remove(&id);
        self.len -= 1;
        self.close_gaps();
        Some(item)
    }

    /// How many items there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// There is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All items with their places, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.iter_from(0)
    }

    /// All items with their ids, oldest first.
    pub fn iter_with_ids(&self) -> impl Iterator<Item = (RequestId, &T)> {
        self.slots.iter().filter_map(|slot| slot.item.as_ref().map(|(id, item)| (*id, item)))
    }

    /// The items at `place` and behind it, with their places.
    pub fn iter_from(&self, place: u64) -> impl Iterator<Item = (u64, &T)> {
        let start = self.slots.partition_point(|slot| slot.place < place);
        self.slots.range(start..).filter_map(|slot| slot.item.as_ref().map(|(_, item)| (slot.place, item)))
    }

    /// Takes everything out, oldest first.
    pub fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.places.clear();
        self.len = 0;
        std::mem::take(&mut self.slots).into_iter().filter_map(|slot| slot.item).map(|(_, item)| item)
    }

    fn index(&mut self, id: RequestId) -> Option<usize> {
        let start = self.slots.partition_point(|slot| slot.place < self.indexed);
        for slot in self.slots.range(start..) {
            if let Some((id, _)) = &slot.item {
                let earlier = self.places.insert(*id, slot.place);
                debug_assert!(earlier.is_none(), "request {id} is in the queue twice");
            }
        }
        self.indexed = self.end;
        let place = self.places.get(&id)?;
        self.slots.binary_search_by_key(place, |slot| slot.place).ok()
    }

    /// Neither end is a gap, and between them gaps are not many more than items.
    fn close_gaps(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.item.is_none()) {
            self.slots.pop_front();
        }
        while self.slots.back().is_some_and(|slot| slot.item.is_none()) {
            self.slots.pop_back();
        }
        if self.slots.len() > 2 * self.len + FEW {
            self.slots.retain(|slot| slot.item.is_some());
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Spreads ids over a table. They count up and nobody outside chooses them, so one multiplication is enough.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // 2^64 divided by the golden ratio: consecutive numbers land far apart.
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list: pushes, pops and removals in any order.
        #[test]
        fn is_a_queue(acts in prop::collection::vec((0_u8..4, any::<prop::sample::Index>()), 1..400)) {
            let (mut queue, mut list) = (Queue::new(), Vec::<RequestId>::new());
            for (next, (act, which)) in (0_u64..).zip(acts) {
                match act {
                    0 | 1 => {
                        // Not rising, and never the same.
                        let id = (next * 7) % 1_009;
                        queue.push_back(id, id);
                        list.push(id);
                    }
                    2 => prop_assert_eq!(queue.pop_front(), (!list.is_empty()).then(|| list.remove(0))),
                    _ if list.is_empty() => prop_assert_eq!(queue.remove(next), None),
                    _ => {
                        let id = list.remove(which.index(list.len()));
                        prop_assert_eq!(queue.remove(id), Some(id));
                        prop_assert_eq!(queue.get_mut(id), None);
                    }
                }
                prop_assert_eq!((queue.len(), queue.front()), (list.len(), list.first()));
                prop_assert_eq!((queue.front_id(), queue.back()), (list.first().copied(), list.last()));
                prop_assert_eq!(queue.iter().map(|(_, id)| *id).collect::<Vec<_>>(), &list[..]);
                if next % 3 == 0 {
                    prop_assert!(list.iter().all(|id| queue.get_mut(*id).copied() == Some(*id)));
                }
                prop_assert!(queue.slots.len() <= 2 * list.len() + FEW);
                if let Some((place, second)) = queue.iter().nth(1) {
                    prop_assert_eq!(queue.iter_from(place).next(), Some((place, second)));
                }
            }
            prop_assert_eq!(queue.take_all().collect::<Vec<_>>(), list);
            prop_assert!(queue.is_empty());
        }
    }

    /// Would take minutes if each step searched.
    #[test]
    fn finds_and_removes_without_searching() {
        let mut queue = Queue::new();
        for id in 0..300_000 {
            queue.push_back(id, ());
        }
        for id in (0..300_000).rev().filter(|id| id % 3 > 0) {
            assert!(queue.get_mut(id).is_some() && queue.remove(id).is_some());
        }
        assert_eq!(queue.len(), 100_000);
    }
}
