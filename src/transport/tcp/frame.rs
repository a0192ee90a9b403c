//! The bytes on the wire: hello, frames, and the marks of a ping and of a failure.
//!
//! The layout is stated in `docs/protocol.md`; the test at the end pins it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use crate::transport::Frame;

/// The version of the protocol.
pub(super) const VERSION: u16 = 1;

/// What a client starts its hello with. The two sides differ, so that neither an echo service nor a
/// connection to itself passes for a server.
pub(super) const CLIENT_MAGIC: [u8; 6] = *b"triekv";

/// What a server starts its hello with.
pub(super) const SERVER_MAGIC: [u8; 6] = *b"TRIEKV";

/// Bytes of a hello: magic and version.
pub(super) const HELLO_BYTES: usize = CLIENT_MAGIC.len() + size_of::<u16>();

/// Bytes of the request id, which the length counts.
const ID_BYTES: u32 = u64::BITS / 8;

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = size_of::<u32>() + size_of::<u64>();

/// Bytes of the largest payload that a length can announce.
pub(super) const PAYLOAD_BYTES_MAX: u32 = u32::MAX - ID_BYTES;

/// The id of a ping, which the receiver sends back at once. It has no payload.
pub(super) const PING: u64 = 0;

/// The bit of the id that marks an answer without response.
pub(super) const FAILED: u64 = 1 << 63;

/// Bytes of the largest payload of an answer without response.
const FAILURE_BYTES_MAX: u32 = 2 * u64::BITS / 8;

/// Bytes that a connection buffers while it looks for the next frame.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// Bytes that a payload may occupy before any of it has arrived.
const PAYLOAD_STEP_BYTES: usize = 64 << 10;

/// Why a server has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The handler ended without one.
    GivenUp,
    /// The response has more bytes than a frame may have.
    TooLarge { len: u64, limit: u64 },
}

impl Failure {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::GivenUp => Vec::new(),
            Self::TooLarge { len, limit } => [len.to_le_bytes(), limit.to_le_bytes()].concat(),
        }
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        if payload.is_empty() {
            return Some(Self::GivenUp);
        }
        let (len, limit) = payload.split_first_chunk()?;
        Some(Self::TooLarge {
            len: u64::from_le_bytes(*len),
            limit: u64::from_le_bytes(limit.try_into().ok()?),
        })
    }
}

/// The hello that starts with `magic`.
pub(super) fn hello(magic: [u8; 6]) -> [u8; HELLO_BYTES] {
    let mut hello = [0; HELLO_BYTES];
    let (name, version) = hello.split_at_mut(magic.len());
    name.copy_from_slice(&magic);
    version.copy_from_slice(&VERSION.to_le_bytes());
    hello
}

/// Reads a hello and returns its version, or `None` at the first byte that differs from `magic`.
pub(super) async fn read_hello(
    source: &mut (impl AsyncRead + Unpin),
    magic: [u8; 6],
) -> io::Result<Option<u16>> {
    for expected in magic {
        if source.read_u8().await? != expected {
            return Ok(None);
        }
    }
    source.read_u16_le().await.map(Some)
}

/// Appends a frame to `buffer`.
///
/// # Panics
/// If `payload` has more bytes than a frame can announce; the limits exclude that.
pub(super) fn append(buffer: &mut Vec<u8>, id: u64, payload: &[u8]) {
    let len = u32::try_from(payload.len()).ok().and_then(|len| len.checked_add(ID_BYTES));
    let len = len.expect("a payload is checked against the frame limit before it is queued");
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.extend_from_slice(&id.to_le_bytes());
    buffer.extend_from_slice(payload);
}

/// What precedes a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u64,
    /// Bytes of the payload, within the limit.
    pub(super) len: u32,
}

/// Reads frames from a connection.
pub(super) struct FrameReader<R> {
    source: BufReader<R>,
    frame_bytes_max: u32,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(source: R, frame_bytes_max: u32) -> Self {
        Self { source: BufReader::with_capacity(READ_BUFFER_BYTES, source), frame_bytes_max }
    }

    /// Reads the header of the next frame.
    ///
    /// # Errors
    /// `InvalidData` if it announces a length below that of an id, or above the limit.
    pub(super) async fn header(&mut self) -> io::Result<Header> {
        let announced = self.source.read_u32_le().await?;
        let id = self.source.read_u64_le().await?;
        let limit = if id & FAILED == 0 { self.frame_bytes_max } else { FAILURE_BYTES_MAX };
        match announced.checked_sub(ID_BYTES) {
            Some(len) if len <= limit => Ok(Header { id, len }),
            _ => Err(invalid("frame length outside the limits")),
        }
    }

    /// Reads the payload that follows a header. Calls `heard` for each piece that arrives.
    ///
    /// Memory grows with what has arrived, not with what was announced.
    pub(super) async fn payload(&mut self, len: u32, heard: impl Fn()) -> io::Result<Frame> {
        let len = len as usize;
        let mut payload = Vec::new();
        let mut source = (&mut self.source).take(len as u64);
        while payload.len() < len {
            if payload.len() == payload.capacity() {
                payload.reserve_exact(growth(payload.len(), len));
            }
            if source.read_buf(&mut payload).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            heard();
        }
        Ok(payload)
    }
}

/// Bytes to allocate for a payload of `announced` bytes when the room for the first `arrived` is
/// full: as many again, or one step.
fn growth(arrived: usize, announced: usize) -> usize {
    arrived.max(PAYLOAD_STEP_BYTES).min(announced - arrived)
}

/// The error of a peer that breaks the protocol.
pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_one_of_the_protocol_document() {
        assert_eq!(&hello(CLIENT_MAGIC), b"triekv\x01\x00");
        assert_eq!(&hello(SERVER_MAGIC), b"TRIEKV\x01\x00");

        let mut buffer = Vec::new();
        append(&mut buffer, 0x0102_0304_0506_0708, b"abc");
        assert_eq!(buffer, b"\x0b\x00\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01abc");
        assert_eq!(buffer.len(), HEADER_BYTES + 3);

        let mut ping = Vec::new();
        append(&mut ping, PING, b"");
        assert_eq!(ping, b"\x08\x00\x00\x00\0\0\0\0\0\0\0\0");

        let too_large = Failure::TooLarge { len: 3, limit: 2 };
        assert_eq!(too_large.encode(), b"\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0");
        let mut failed = Vec::new();
        append(&mut failed, 1 | FAILED, &Failure::GivenUp.encode());
        assert_eq!(failed, b"\x08\x00\x00\x00\x01\0\0\0\0\0\0\x80");
    }

    #[test]
    fn a_failure_is_decoded_as_it_was_encoded_and_nothing_else_is_one() {
        for failure in [Failure::GivenUp, Failure::TooLarge { len: u64::MAX, limit: 1 }] {
            assert_eq!(Failure::decode(&failure.encode()), Some(failure));
        }
        for len in (1..16).chain([17]) {
            assert_eq!(Failure::decode(&vec![0; len]), None, "{len} bytes");
        }
    }

    #[tokio::test]
    async fn a_length_is_checked_at_both_limits() {
        async fn header(announced: u32, id: u64) -> Option<u32> {
            let bytes = [&announced.to_le_bytes()[..], &id.to_le_bytes()].concat();
            FrameReader::new(&bytes[..], 100).header().await.ok().map(|header| header.len)
        }
        assert_eq!(header(0, 1).await, None);
        assert_eq!(header(7, 1).await, None);
        assert_eq!(header(8, 1).await, Some(0));
        assert_eq!(header(108, 1).await, Some(100));
        assert_eq!(header(109, 1).await, None);
        assert_eq!(header(u32::MAX, 1).await, None);
        assert_eq!(header(24, 1 | FAILED).await, Some(16));
        assert_eq!(header(25, 1 | FAILED).await, None);
    }

    #[test]
    fn memory_grows_with_what_has_arrived() {
        const STEP: usize = PAYLOAD_STEP_BYTES;
        let announced = PAYLOAD_BYTES_MAX as usize;
        assert_eq!(growth(0, announced), STEP);
        assert_eq!(growth(STEP, announced), STEP);
        assert_eq!(growth(2 * STEP, announced), 2 * STEP);
        assert_eq!(growth(0, 1), 1);
        assert_eq!(growth(STEP, STEP + 1), 1);
    }

    #[tokio::test]
    async fn a_payload_of_several_steps_is_read_whole_and_a_torn_one_not_at_all() {
        let bytes: Vec<u8> = (0_u8..=250).cycle().take(10 * PAYLOAD_STEP_BYTES).collect();
        let len = u32::try_from(bytes.len()).unwrap();
        let mut reader = FrameReader::new(&bytes[..], len);
        assert!(reader.payload(len, || {}).await.unwrap() == bytes);

        let mut reader = FrameReader::new(&bytes[..bytes.len() - 1], len);
        let error = reader.payload(len, || {}).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_small_payload_is_allocated_exactly() {
        let mut reader = FrameReader::new(&[7_u8; 100][..], 100);
        let payload = reader.payload(100, || {}).await.unwrap();
        assert_eq!((payload.len(), payload.capacity()), (100, 100));
    }
}
