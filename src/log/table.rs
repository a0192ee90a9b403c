//! What a log has of each group: where its entries are, and its registers. Kept in memory, built
//! from the records in their order.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::record::{self, GroupState, Head, Kind};
use super::{Damage, REGISTERS};

/// Where an entry is: in the frame at a position of a segment, from a byte of its body on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u32,
    pub(super) frame: u32,
    pub(super) payload_at: u32,
    pub(super) payload_len: u32,
}

/// A group. Invariant, once a log is open: `start == first`, or there are no entries before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// The index of the first entry that is needed.
    first: u64,
    /// The index of the first entry of `entries`; past `first` only while segments that begin in
    /// the middle of a group's entries are read.
    start: u64,
    entries: VecDeque<Location>,
    registers: [Option<Vec<u8>>; REGISTERS],
}

impl Group {
    /// The indices of the entries.
    pub(super) fn indices(&self) -> Range<u64> {
        self.start..self.start + self.entries.len() as u64
    }

    /// Where the entry with this index is.
    pub(super) fn locate(&self, index: u64) -> Option<Location> {
        let place = usize::try_from(index.checked_sub(self.start)?).ok()?;
        self.entries.get(place).copied()
    }

    /// The value of a register, if it was set.
    pub(super) fn register(&self, register: usize) -> Option<&[u8]> {
        self.registers.get(register)?.as_deref()
    }

    pub(super) fn state(&self) -> (u64, GroupState) {
        let state = GroupState { first: self.first, registers: self.registers.clone() };
        (self.indices().end, state)
    }

    fn append(&mut self, index: u64, location: Location) -> Result<(), Damage> {
        let next = self.indices().end;
        if index == u64::MAX {
            // There is no index after it.
            return Err(Damage::Malformed);
        }
        if next == 0 {
            // The first entry of all may have any index.
            (self.first, self.start) = (index, index);
        } else if index != next {
            return Err(Damage::Missing);
        }
        self.entries.push_back(location);
        Ok(())
    }

    fn truncate(&mut self, from: u64) {
        // Entries before `start` are in segments that are gone, with what took their place.
        let kept = from.saturating_sub(self.start);
        self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.start = self.start.min(from);
        self.first = self.first.min(from);
    }

    fn purge(&mut self, before: u64) {
        self.first = self.first.max(before);
        let gone = self.first.saturating_sub(self.start);
        let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(self.entries.len());
        self.entries.drain(..gone);
        self.start = self.start.max(self.first);
    }
}

/// The groups of a log.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) groups: BTreeMap<u32, Group>,
}

impl Table {
    /// Carries out a record of the frame at position `frame` of `segment`.
    ///
    /// # Errors
    ///
    /// The record does not fit what came before it.
    pub(super) fn apply(
        &mut self,
        segment: u32,
        frame: u32,
        head: &Head,
        payload: &[u8],
    ) -> Result<(), Damage> {
        let Head { kind, group, number, payload_at, payload_len } = *head;
        match kind {
            Kind::Append => {
                let location = Location { segment, frame, payload_at, payload_len };
                self.groups.entry(group).or_default().append(number, location)?;
            }
            Kind::Truncate => self.groups.entry(group).or_default().truncate(number),
            Kind::Purge => self.groups.entry(group).or_default().purge(number),
            Kind::Set => {
                let registers = &mut self.groups.entry(group).or_default().registers;
                let register = usize::try_from(number).ok().and_then(|n| registers.get_mut(n));
                *register.ok_or(Damage::Malformed)? = Some(payload.to_vec());
            }
            Kind::Drop => {
                self.groups.remove(&group);
            }
            Kind::State => self.begin_with(group, number, payload)?,
            Kind::Follows | Kind::Sealed => {}
        }
        Ok(())
    }

    /// Checks that the records of a frame's body can be carried out, one after the other.
    ///
    /// # Errors
    ///
    /// The first that cannot.
    pub(super) fn check(&self, body: &[u8]) -> Result<(), Head> {
        // Of each group, the index after its last entry.
        let mut ends = BTreeMap::new();
        for (head, _) in record::read(body).flatten() {
            let Head { kind, group, number, .. } = head;
            let end = ends
                .entry(group)
                .or_insert_with(|| self.groups.get(&group).map_or(0, |group| group.indices().end));
            *end = match kind {
                Kind::Append if (*end == 0 || *end == number) && number < u64::MAX => number + 1,
                Kind::Append => return Err(head),
                Kind::Truncate => number.min(*end),
                Kind::Purge => number.max(*end),
                Kind::Drop => 0,
                Kind::Set | Kind::State | Kind::Follows | Kind::Sealed => *end,
            };
        }
        Ok(())
    }

    /// Takes a group as it was at the start of a segment. In the first segment that there is, its
    /// older entries are gone; later ones repeat what is known.
    fn begin_with(&mut self, group: u32, next: u64, payload: &[u8]) -> Result<(), Damage> {
        let state: GroupState = postcard::from_bytes(payload).map_err(|_| Damage::Malformed)?;
        if let Some(known) = self.groups.get(&group) {
            return if known.state() == (next, state) { Ok(()) } else { Err(Damage::Missing) };
        }
        let GroupState { first, registers } = state;
        let entries = VecDeque::new();
        self.groups.insert(group, Group { first, start: next, entries, registers });
        Ok(())
    }

    /// Whether every group has all the entries that are needed.
    pub(super) fn is_complete(&self) -> bool {
        self.groups.values().all(|group| group.start <= group.first)
    }
}

/// The last index that each group has in a segment, which says when the segment can go.
#[derive(Debug, Clone, Default)]
pub(super) struct LastIndices(BTreeMap<u32, u64>);

impl LastIndices {
    pub(super) fn note(&mut self, head: &Head) {
        if head.kind == Kind::Append {
            let last = self.0.entry(head.group).or_default();
            *last = head.number.max(*last);
        }
    }

    /// The groups that need an entry of the segment.
    pub(super) fn needed_by<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = u32> + 'a {
        let needed = self.0.iter().filter(|(group, last)| {
            table.groups.get(group).is_some_and(|group| group.first <= **last)
        });
        needed.map(|(group, _)| *group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(n: u32) -> Location {
        Location { segment: 1, frame: n, payload_at: 0, payload_len: 0 }
    }

    fn with_entries(indices: Range<u64>) -> Group {
        let mut group = Group::default();
        for index in indices {
            group.append(index, location(u32::try_from(index).unwrap())).unwrap();
        }
        group
    }

    #[test]
    fn entries_follow_one_another_from_any_first_index() {
        let mut group = with_entries(5..8);
        assert_eq!(group.indices(), 5..8);
        assert_eq!(group.append(9, location(9)), Err(Damage::Missing));
        assert_eq!(group.append(7, location(9)), Err(Damage::Missing));
        assert_eq!(group.locate(6), Some(location(6)));
        assert_eq!(group.locate(8), None);
        assert_eq!(group.locate(4), None);
    }

    #[test]
    fn truncation_takes_the_end_and_purging_the_start() {
        let mut group = with_entries(0..10);
        group.truncate(8);
        group.purge(3);
        assert_eq!(group.indices(), 3..8);
        group.purge(2);
        assert_eq!(group.indices(), 3..8);
        group.truncate(20);
        assert_eq!(group.indices(), 3..8);
        group.purge(50);
        assert_eq!(group.indices(), 50..50);
        group.append(50, location(1)).unwrap();
        assert_eq!(group.indices(), 50..51);
    }

    #[test]
    fn a_segment_is_needed_until_all_its_entries_are_purged() {
        let mut table = Table::default();
        table.groups.insert(1, with_entries(0..10));
        table.groups.insert(2, with_entries(0..5));
        let mut last = LastIndices::default();
        for (group, number) in [(1, 3), (1, 9), (2, 1), (3, 7)] {
            let head = Head { kind: Kind::Append, group, number, payload_at: 0, payload_len: 0 };
            last.note(&head);
        }
        assert_eq!(last.needed_by(&table).collect::<Vec<_>>(), [1, 2]);
        table.groups.get_mut(&2).unwrap().purge(2);
        table.groups.get_mut(&1).unwrap().purge(9);
        assert_eq!(last.needed_by(&table).collect::<Vec<_>>(), [1]);
        table.groups.get_mut(&1).unwrap().purge(10);
        assert_eq!(last.needed_by(&table).count(), 0);
    }
}
