//! Documents as text: parsing and printing, against `serde_json` over the same documents.
//!
//! The documents are those of createData, a thousand of them; a pass goes over all. `serde_json`
//! reads and writes the same documents as JSON, so its text is a little different.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use triekv::Value;
use triekv::generator::{KeyFile, Records, Shape};
use triekv::parser::parse_record;

/// Fixed, so that two runs see the same documents.
const SEED: u64 = 42;

const KEYS: &str = "name string\nage int\nheight float\nmarried bool\nstreet string\nzip int\n";

fn lines() -> Vec<String> {
    let keys: KeyFile = KEYS.parse().expect("the key file is well formed");
    let shape = Shape::new(1000, 2, 5, 12).expect("the shape is within its bounds");
    let records = Records::new(keys, shape, SEED).expect("there are names enough");
    records.map(|line| line.trim().to_owned()).collect()
}

fn documents(c: &mut Criterion) {
    let lines = lines();
    let values: Vec<Value> =
        lines.iter().map(|line| parse_record(line).expect("generated lines parse").1).collect();
    let json_values: Vec<serde_json::Value> = values
        .iter()
        .map(|value| serde_json::to_value(value).expect("every document is JSON"))
        .collect();
    let texts: Vec<String> = values.iter().map(Value::to_string).collect();
    let json_texts: Vec<String> = json_values.iter().map(serde_json::Value::to_string).collect();
    let bytes = texts.iter().map(String::len).sum::<usize>() as u64;

    let mut group = c.benchmark_group("documents");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("parse/triekv", |b| {
        b.iter(|| {
            for text in &texts {
                black_box(text.parse::<Value>().expect("printed text parses"));
            }
        });
    });
    group.bench_function("parse/serde_json", |b| {
        b.iter(|| {
            for text in &json_texts {
                let value: serde_json::Value = serde_json::from_str(text).expect("JSON parses");
                black_box(value);
            }
        });
    });
    group.bench_function("print/triekv", |b| {
        b.iter(|| {
            for value in &values {
                black_box(value.to_string());
            }
        });
    });
    group.bench_function("print/serde_json", |b| {
        b.iter(|| {
            for value in &json_values {
                black_box(serde_json::to_string(value).expect("JSON prints"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, documents);
criterion_main!(benches);
