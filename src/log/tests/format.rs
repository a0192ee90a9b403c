//! The format, byte by byte, as `docs/log-format.md` draws it.

use super::*;
use crate::log::frame::{self, HEADER_BYTES, Place};
use crate::log::{record, sector, segment};

#[test]
fn a_segment_begins_with_its_header() {
    let header = segment::header(Place { log: 0x0102_0304_0506_0708, segment: 3 });
    assert_eq!(header.len(), 512);
    let expected = [
        b't', b'r', b'i', b'e', b'k', b'v', 0, b'L', 1, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 3, 0, 0,
        0, 0, 0, 0, 0,
    ];
    assert_eq!(header[..28], expected);
    assert!(header[28..508].iter().all(|byte| *byte == 0));
    assert_eq!(header[508..], crc32c::crc32c(&header[..508]).to_le_bytes());
    assert_eq!(segment::name(0x1f), "0000001f.log");
    assert_eq!(segment::number("0000001f.log"), Some(0x1f));
    for other in ["1f.log", "0000001F.log", "0000001f.log.new", "group-1.snapshot", "+000001f.log"]
    {
        assert_eq!(segment::number(other), None, "{other}");
    }
}

#[test]
fn a_frame_has_its_header_its_records_and_its_end() {
    let place = Place { log: 7, segment: 1 };
    let mut bytes = vec![0; HEADER_BYTES];
    record::write(&mut bytes, Kind::Append, 3, 300, b"ab");
    record::write(&mut bytes, Kind::Purge, 3, 2, b"");
    frame::seal(place, 1000, &mut bytes);
    let body = [1, 3, 0xac, 2, 2, b'a', b'b', 3, 3, 2, 0];
    assert_eq!(bytes[0], 0xf5);
    assert_eq!(bytes[1..5], [11, 0, 0, 0]);
    assert_eq!(bytes[5..9], crc32c::crc32c(&body).to_le_bytes());
    let mut covered =
        vec![7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xe8, 3, 0, 0, 0, 0, 0, 0];
    covered.extend_from_slice(&bytes[..9]);
    assert_eq!(bytes[9..13], crc32c::crc32c(&covered).to_le_bytes());
    assert_eq!(bytes[13..24], body);
    assert_eq!(bytes[24..], [0x5a]);
}

#[test]
fn each_sector_begins_with_a_mark() {
    let mut marked = Vec::new();
    sector::mark(510, b"abc", &mut marked);
    assert_eq!(marked, [b'a', 0xa7, b'b', b'c']);
    assert_eq!((sector::write_offset(510), sector::write_offset(511)), (1023, 1024));
    assert_eq!((sector::file_offset(0), sector::file_offset(511)), (513, 1025));
}
