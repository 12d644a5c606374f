//! Changes that lie over something older: values of single blocks, and ranges that became holes.

use std::{collections::BTreeMap, ops::Range};

/// Changes to a space of indexes. A point hides the hole that it lies in.
#[derive(Clone, Debug)]
pub(crate) struct Overlay<T> {
    points: BTreeMap<u64, T>,
    /// Disjoint and not adjacent: start to end.
    holes: BTreeMap<u64, u64>,
}

/// What an overlay says about an index.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Found<T> {
    Point(T),
    Hole,
    /// Nothing: ask what lies below.
    Below,
}

impl<T> Default for Overlay<T> {
    fn default() -> Self {
        Self { points: BTreeMap::new(), holes: BTreeMap::new() }
    }
}

impl<T> Overlay<T> {
    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.holes.is_empty()
    }

    pub fn find(&self, index: u64) -> Found<&T> {
        if let Some(value) = self.points.get(&index) {
            return Found::Point(value);
        }
        if self.hole_at(index) { Found::Hole } else { Found::Below }
    }

    /// Whether an index lies in a hole, perhaps hidden by a point.
    pub fn hole_at(&self, index: u64) -> bool {
        self.holes.range(..=index).next_back().is_some_and(|(_, end)| index < *end)
    }

    pub fn set(&mut self, index: u64, value: T) {
        self.points.insert(index, value);
    }

    /// The value at an index, made if there is none.
    pub fn point_or_insert_with(&mut self, index: u64, make: impl FnOnce() -> T) -> &mut T {
        self.points.entry(index).or_insert_with(make)
    }

    /// Makes a range a hole.
    pub fn clear(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.points.extract_if(range.clone(), |_, _| true).for_each(drop);
        let (mut start, mut end) = (range.start, range.end);
        // Every hole that touches the range melts into it.
        while let Some((&from, &to)) = self.holes.range(..=end).next_back()
            && to >= start
        {
            self.holes.remove(&from);
            start = start.min(from);
            end = end.max(to);
        }
        self.holes.insert(start, end);
    }

    /// Lays newer changes over these.
    pub fn absorb(&mut self, newer: Self) {
        for (start, end) in newer.holes {
            self.clear(start..end);
        }
        self.points.extend(newer.points);
    }

    pub fn points(&self) -> &BTreeMap<u64, T> {
        &self.points
    }

    pub fn holes(&self) -> impl ExactSizeIterator<Item = Range<u64>> + '_ {
        self.holes.iter().map(|(start, end)| *start..*end)
    }

    /// The holes that meet a range, cut to it.
    pub fn holes_in(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let Range { start, end } = range;
        let before = self.holes.range(..start).next_back();
        let inside = self.holes.range(start..end);
        let cut = move |(from, to): (&u64, &u64)| (*from).max(start)..(*to).min(end);
        before.into_iter().chain(inside).map(cut).filter(|hole| !hole.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Change {
        Set(u64, u8),
        Clear(Range<u64>),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0..64_u64, any::<u8>()).prop_map(|(index, value)| Change::Set(index, value)),
            (0..64_u64, 0..20_u64).prop_map(|(start, length)| Change::Clear(start..start + length)),
        ]
    }

    proptest! {
        #[test]
        fn an_overlay_agrees_with_a_plain_map(
            older in proptest::collection::vec(change(), 0..20), newer in proptest::collection::vec(change(), 0..20),
        ) {
            let mut plain: BTreeMap<u64, Option<u8>> = BTreeMap::new();
            let mut parts = [Overlay::default(), Overlay::default()];
            for (part, changes) in parts.iter_mut().zip([older, newer]) {
                for change in changes {
                    match change {
                        Change::Set(index, value) => {
                            plain.insert(index, Some(value));
                            part.set(index, value);
                        }
                        Change::Clear(range) => {
                            plain.extend(range.clone().map(|index| (index, None)));
                            part.clear(range);
                        }
                    }
                }
            }
            let [mut all, newer] = parts;
            all.absorb(newer);
            for index in 0..100 {
                let expected = match plain.get(&index) {
                    Some(Some(value)) => Found::Point(value),
                    Some(None) => Found::Hole,
                    None => Found::Below,
                };
                // A point may lie in a hole that a plain map no longer knows; what is found is the same.
                prop_assert_eq!(all.find(index), expected);
            }
            for range in [0..100, 10..20, 30..31] {
                for hole in all.holes_in(range.clone()) {
                    prop_assert!(range.start <= hole.start && hole.end <= range.end);
                    prop_assert!(hole.clone().all(|index| all.find(index) != Found::Below));
                }
            }
        }
    }
}
