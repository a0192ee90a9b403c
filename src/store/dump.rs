//! Dumps: a snapshot in a stream of the caller's, with no log before it.

use std::io::{Read, Write};

use crate::log::{LogError, SnapshotReader, SnapshotWriter};
use crate::store::Documents;
use crate::store::durable::read_documents;
use crate::store::encoding::{decode_head, encode_head};

/// What errors call the stream.
const NAME: &str = "the dump";

/// Writes `documents`, and returns how many they are.
pub(super) fn write(documents: &Documents, out: impl Write) -> Result<u64, LogError> {
    let write = || {
        let mut dump = SnapshotWriter::new(out, &encode_head(0))?;
        documents.write_to(&mut dump)?;
        dump.finish()?.flush()
    };
    write().map_err(|error| LogError::io("write", NAME, error))?;
    Ok(documents.len() as u64)
}

pub(super) fn read(input: impl Read) -> Result<Documents, LogError> {
    let mut dump = SnapshotReader::new(input, NAME)?;
    decode_head(dump.head(), NAME)?;
    read_documents(&mut dump)
}
