//! Records: what a frame's body is made of. Each is a head (kind, group, number, length of the
//! payload; postcard's variable-length integers) and the payload.

use super::REGISTERS;

/// What a record does to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The entry at index `number`; the payload is the entry.
    Append = 1,
    /// The entries from index `number` on are gone.
    Truncate = 2,
    /// The entries before index `number` are no longer needed.
    Purge = 3,
    /// Register `number` has the payload as its value.
    Set = 4,
    /// The group is gone.
    Drop = 5,
    /// At the start of a segment: the group as it was then. `number` is the index after its last
    /// entry; the payload is a [`GroupState`].
    State = 6,
    /// At the start of a segment: the one before it ends at position `number`.
    Follows = 7,
    /// At the end of a segment: another one follows.
    Sealed = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        const KINDS: [Kind; 8] = [
            Kind::Append,
            Kind::Truncate,
            Kind::Purge,
            Kind::Set,
            Kind::Drop,
            Kind::State,
            Kind::Follows,
            Kind::Sealed,
        ];
        KINDS.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What a group is at the start of a segment, besides its entries.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct GroupState {
    /// The index of the first entry that is needed.
    pub(super) first: u64,
    /// The registers.
    pub(super) registers: [Option<Vec<u8>>; REGISTERS],
}

/// A record without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) group: u32,
    pub(super) number: u64,
    /// Where the payload begins in the frame's body, and its length.
    pub(super) payload_at: u32,
    pub(super) payload_len: u32,
}

/// Adds a record to a frame's bytes.
///
/// # Panics
///
/// If the payload has 4 GiB or more: callers have checked it.
pub(super) fn write(frame: &mut Vec<u8>, kind: Kind, group: u32, number: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a record is below 4 GiB");
    let head = postcard::to_extend(&(kind as u8, group, number, length), std::mem::take(frame));
    // Integers have an encoding, and a vector takes it.
    *frame = head.expect("a head can be encoded");
    frame.extend_from_slice(payload);
}

/// The records of a frame's body; the last item is `None` if the body is malformed.
pub(super) fn read(body: &[u8]) -> impl Iterator<Item = Option<(Head, &[u8])>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((head, payload, after)) = read_one(body.len(), rest) else {
            rest = &[];
            return Some(None);
        };
        rest = after;
        Some(Some((head, payload)))
    })
}

fn read_one(body_len: usize, rest: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let (head, after) = postcard::take_from_bytes::<(u8, u32, u64, u32)>(rest).ok()?;
    let (kind, group, number, payload_len) = head;
    let payload_at = u32::try_from(body_len - after.len()).ok()?;
    let (payload, after) = after.split_at_checked(usize::try_from(payload_len).ok()?)?;
    let kind = Kind::from_byte(kind)?;
    Some((Head { kind, group, number, payload_at, payload_len }, payload, after))
}
