//! Reading many records in order, a page at a time.

use std::ops::Bound;
use std::vec;

use serde::{Deserialize, Serialize};

use crate::store::{Documents, Record};
use crate::value::Value;

/// Bytes of records after which a page ends, unless [`Page::bytes_max`] says otherwise: 1 MiB.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// Records that [`Prefix`] reads at a time.
const PREFIX_PAGE_RECORDS: usize = 256;

/// How much of a scan to read, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    limit: usize,
    bytes_max: usize,
    after: Option<PageToken>,
}

impl Page {
    /// The first page, of at most `limit` records (at least one is read, so that a scan moves on)
    /// and about 1 MiB.
    pub fn first(limit: usize) -> Self {
        Self { limit: limit.max(1), bytes_max: PAGE_BYTES_MAX, after: None }
    }

    /// The same page with another bound on its size: it ends with the record that passes
    /// `bytes_max` bytes, about as counted in the text of the records.
    #[must_use]
    pub fn bytes_max(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// The page of the same size that begins where the one with this token ended.
    #[must_use]
    pub fn after(mut self, token: PageToken) -> Self {
        self.after = Some(token);
        self
    }

    /// The most records on a page.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

/// Where the next page of a scan begins. Opaque; holds as long as the data do, and also when the
/// record it was made from is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    last_key: String,
}

/// A record with its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The record's key.
    pub key: String,
    /// The record.
    pub record: Record,
}

/// One page of a scan, in byte order of the keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanPage {
    /// The records of this page.
    pub entries: Vec<Entry>,
    /// Where the next page begins, or `None` if this is the last.
    pub next: Option<PageToken>,
}

impl ScanPage {
    /// The first page of the scan over disjoint stores, from the pages that each of them gave for
    /// the same request. Takes **O(n log n)** for n records in all.
    ///
    /// A store whose page was cut may hold keys between the end of its page and that of another,
    /// so the merged page ends at the first end of a cut page.
    pub fn merge(pages: Vec<Self>, limit: usize) -> Self {
        let ends = pages.iter().filter_map(|page| page.next.as_ref().map(|next| &next.last_key));
        let end = ends.min().cloned();
        let mut entries: Vec<Entry> = pages.into_iter().flat_map(|page| page.entries).collect();
        let read = entries.len();
        entries.retain(|entry| end.as_ref().is_none_or(|end| entry.key <= *end));
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        entries.truncate(limit);
        let cut = end.is_some() || entries.len() < read;
        let next = entries.last().filter(|_| cut);
        let next = next.map(|entry| PageToken { last_key: entry.key.clone() });
        Self { entries, next }
    }
}

impl Documents {
    /// One page of the records whose key starts with `prefix`, in byte order of the keys. Takes
    /// **O(k + n)** for keys of k bytes and a page of n values, which are copied.
    pub fn scan(&self, prefix: &str, page: &Page) -> ScanPage {
        let prefix = prefix.as_bytes();
        let after = page.after.as_ref().map(|token| token.last_key.as_bytes());
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut result = ScanPage::default();
        let mut bytes = 0;
        let range = self.records.range((start, Bound::Unbounded));
        for (key, record) in range.take_while(|(key, _)| key.starts_with(prefix)) {
            if result.entries.len() == page.limit || bytes > page.bytes_max {
                let last = result.entries.last();
                result.next = last.map(|entry| PageToken { last_key: entry.key.clone() });
                break;
            }
            bytes += key.len() + weight(&record.value);
            // Keys come in as `str` only.
            let key = String::from_utf8_lossy(&key).into_owned();
            result.entries.push(Entry { key, record: record.clone() });
        }
        result
    }
}

/// About the number of bytes that a value takes as text.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => 8,
        Value::Str(text) => text.len() + 2,
        Value::List(items) => items.iter().map(|item| weight(item) + 2).sum::<usize>() + 2,
        Value::Map(map) => {
            let mut fields = map.cursor();
            let mut sum = 2;
            while let Some((name, value)) = fields.next() {
                sum += name.len() + weight(value) + 6;
            }
            sum
        }
    }
}

/// Iterator over the records with a common prefix: see [`Store::prefix`](super::Store::prefix).
#[derive(Debug)]
pub struct Prefix {
    /// The store as it was when the iterator was made.
    documents: Documents,
    of: String,
    page: vec::IntoIter<Entry>,
    /// The request for the page after this one; `None` once there is none.
    next: Option<Page>,
}

impl Prefix {
    pub(super) fn new(documents: Documents, prefix: &str) -> Self {
        let next = Some(Page::first(PREFIX_PAGE_RECORDS));
        Self { documents, of: prefix.to_owned(), page: Vec::new().into_iter(), next }
    }
}

impl Iterator for Prefix {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.page.next() {
                return Some(entry);
            }
            let request = self.next.take()?;
            let page = self.documents.scan(&self.of, &request);
            self.next = page.next.map(|token| request.after(token));
            self.page = page.entries.into_iter();
        }
    }
}

impl std::iter::FusedIterator for Prefix {}
