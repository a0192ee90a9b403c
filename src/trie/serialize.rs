//! Tries to and from other formats: a map, whose keys are strings in a human-readable format and
//! bytes in another.

use super::Trie;
use super::build::Builder;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use std::fmt;
use std::marker::PhantomData;

impl<V: Serialize> Serialize for Trie<V> {
    /// # Errors
    ///
    /// A human-readable format has no notation for a key that isn't UTF-8; the error names the key.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys_are_text = serializer.is_human_readable();
        let mut map = serializer.serialize_map(Some(self.len()))?;
        let mut cursor = self.cursor();
        while let Some((key, value)) = cursor.next() {
            if keys_are_text {
                let text = str::from_utf8(key).map_err(|_| {
                    S::Error::custom(format_args!("key b\"{}\" is not UTF-8", key.escape_ascii()))
                })?;
                map.serialize_entry(text, value)?;
            } else {
                map.serialize_entry(&Bytes(key), value)?;
            }
        }
        map.end()
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Trie<V> {
    /// Reads a map whose keys are strings or bytes; of entries with the same key the last wins.
    /// Memory is allocated as entries arrive, however many the input promises.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TrieVisitor(PhantomData))
    }
}

struct TrieVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for TrieVisitor<V> {
    type Value = Trie<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with strings or bytes as keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Trie<V>, A::Error> {
        // Entries that come in order, as they are written, make the trie in one pass.
        let mut builder = Builder::new();
        let mut key = Vec::new();
        let mut unsorted = None;
        while unsorted.is_none() && map.next_key_seed(KeyInto(&mut key))?.is_some() {
            unsorted = builder.push(&key, map.next_value()?).err();
        }
        let mut trie = Trie { root: builder.finish() };
        if let Some(value) = unsorted {
            trie.insert(&key, value);
            while map.next_key_seed(KeyInto(&mut key))?.is_some() {
                trie.insert(&key, map.next_value()?);
            }
        }
        Ok(trie)
    }
}

/// Reads a key into a buffer that serves for all keys of the map.
struct KeyInto<'a>(&'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for KeyInto<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.clear();
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(self)
        } else {
            deserializer.deserialize_bytes(self)
        }
    }
}

impl<'de> Visitor<'de> for KeyInto<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or bytes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.visit_bytes(text.as_bytes())
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<(), E> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// Some formats have no type for bytes and write a list of numbers.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(byte) = seq.next_element()? {
            self.0.push(byte);
        }
        Ok(())
    }
}
