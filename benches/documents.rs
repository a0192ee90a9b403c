//! Documents and their text beside `serde_json`: parsing, printing, and the memory that they take.
//!
//! Both read and write the same documents, each in its own text, so the bytes differ a little. A pass
//! goes over a whole corpus; what it makes is dropped outside the measurement, but what it allocates
//! and frees on the way is not. The table of memory is printed before the times.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use triekv::Value;
use triekv::generator::{KeyFile, Records, Shape};
use triekv::parser::parse_record;
use triekv::value::{from_value, to_value};

#[path = "peers/src/alloc.rs"]
mod alloc;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// Fixed, so that two runs see the same documents.
const SEED: u64 = 42;

const KEYS: &str = "name string\nage int\nheight float\nmarried bool\nstreet string\nzip int\n";

/// The same documents in all forms.
struct Corpus {
    name: &'static str,
    values: Vec<Value>,
    json_values: Vec<serde_json::Value>,
    texts: Vec<String>,
    json_texts: Vec<String>,
}

impl Corpus {
    fn new(name: &'static str, values: Vec<Value>) -> Self {
        let texts: Vec<String> = values.iter().map(Value::to_string).collect();
        let to_json = |value| serde_json::to_value(value).expect("every document is JSON");
        let json_values: Vec<serde_json::Value> = values.iter().map(to_json).collect();
        let json_texts = json_values.iter().map(serde_json::Value::to_string).collect();
        Corpus { name, values, json_values, texts, json_texts }
    }

    fn bytes(&self) -> Throughput {
        Throughput::Bytes(self.texts.iter().map(String::len).sum::<usize>() as u64)
    }
}

fn records(count: i64, nesting: i64) -> Vec<Value> {
    let keys: KeyFile = KEYS.parse().expect("the key file is well formed");
    let shape = Shape::new(count, nesting, 5, 12).expect("the shape is within its bounds");
    let records = Records::new(keys, shape, SEED).expect("there are names enough");
    records.map(|line| parse_record(line.trim()).expect("generated lines parse").1).collect()
}

/// One document of a MiB of text: records under their numbers.
fn large() -> Value {
    let mut bytes = 0;
    let fits = |value: &Value| {
        bytes += value.to_string().len() + r#""person1000": ; "#.len();
        bytes < 1 << 20
    };
    let records = records(20_000, 2).into_iter().take_while(fits);
    records.enumerate().map(|(number, record)| (format!("person{number}"), record)).collect()
}

/// One document with a string of a MiB, as prose is: lines, quotes, some letters beyond ASCII.
fn long_string() -> Value {
    let mut text = String::new();
    for line in 0.. {
        let _ = writeln!(text, "{line}: \"All happy families are alike\", wrote Лев Толстой.");
        if text.len() >= 1 << 20 {
            break;
        }
    }
    [("text", text)].into_iter().collect()
}

fn corpora() -> [Corpus; 4] {
    [
        Corpus::new("1000 records", records(1000, 2)),
        Corpus::new("10000 deeper", records(10_000, 8)),
        Corpus::new("1 MiB", vec![large()]),
        Corpus::new("long string", vec![long_string()]),
    ]
}

fn parse(text: &str) -> Value {
    text.parse().expect("printed text parses")
}

fn parse_json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("printed JSON parses")
}

fn print_json(value: &serde_json::Value) -> String {
    serde_json::to_string(value).expect("every document is JSON")
}

/// Times `pass` over all of `inputs`.
fn time<I, O>(
    c: &mut Criterion,
    corpus: &Corpus,
    what: &str,
    inputs: &[I],
    pass: impl Fn(&I) -> O,
) {
    let (group, side) = what.split_once(' ').expect("a group and a side");
    let mut group = c.benchmark_group(group);
    group.throughput(corpus.bytes());
    group.bench_function(BenchmarkId::new(side, corpus.name), |b| {
        b.iter_batched(
            || Vec::with_capacity(inputs.len()),
            |mut outputs| {
                outputs.extend(inputs.iter().map(|input| pass(black_box(input))));
                outputs
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The bytes of heap that `make` leaves allocated for each of `inputs`, the handle itself included.
fn heap<O>(inputs: &[String], make: fn(&str) -> O) -> usize {
    let mut outputs = Vec::with_capacity(inputs.len());
    let before = alloc::live();
    outputs.extend(inputs.iter().map(|input| make(input)));
    let net = alloc::live().wrapping_sub(before);
    black_box(outputs);
    net / inputs.len() + size_of::<O>()
}

fn documents(c: &mut Criterion) {
    let corpora = corpora();
    println!("bytes of memory a parsed document | triekv | serde_json | ratio");
    for corpus in &corpora {
        let ours = heap(&corpus.texts, parse);
        let theirs = heap(&corpus.json_texts, parse_json);
        let percent = 100 * ours / theirs;
        println!("{} | {ours} | {theirs} | {percent} %", corpus.name);
    }
    for corpus in &corpora {
        time(c, corpus, "parse triekv", &corpus.texts, |text| parse(text));
        time(c, corpus, "parse serde_json", &corpus.json_texts, |text| parse_json(text));
        time(c, corpus, "print triekv", &corpus.values, Value::to_text);
        time(c, corpus, "print serde_json", &corpus.json_values, print_json);
    }
}

/// A record without nesting.
#[derive(Deserialize)]
#[expect(dead_code, reason = "they are read, not looked at")]
struct Person {
    name: Option<String>,
    age: Option<u16>,
    height: Option<f64>,
    married: Option<bool>,
    street: Option<String>,
    zip: Option<u32>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: Customer,
    lines: Vec<OrderLine>,
    state: State,
    note: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Customer {
    name: String,
    email: String,
    address: (String, u32),
}

#[derive(Clone, Serialize, Deserialize)]
struct OrderLine {
    article: String,
    count: u8,
    price: f64,
}

#[derive(Clone, Serialize, Deserialize)]
enum State {
    Open,
    Sent { carrier: String, parcels: Vec<u32> },
}

fn order(id: u64) -> Order {
    let line = |article: &str, price| OrderLine { article: article.to_owned(), count: 2, price };
    Order {
        id,
        customer: Customer {
            name: "Mary Papadopoulou".to_owned(),
            email: "mary@example.com".to_owned(),
            address: ("Odos Ermou 12, Athens".to_owned(), 10563),
        },
        lines: vec![line("pencil", 0.5), line("paper, a ream of 500 sheets", 4.95)],
        state: match id % 2 {
            0 => State::Open,
            _ => State::Sent { carrier: "by ship".to_owned(), parcels: vec![1, 2, 3] },
        },
        note: None,
    }
}

/// Times reading `values` as a `T`, by value as both crates can, and by reference.
fn time_rust_type<T: DeserializeOwned>(c: &mut Criterion, name: &str, values: &[Value]) {
    let json = |value| serde_json::to_value(value).expect("every document is JSON");
    let json_values: Vec<serde_json::Value> = values.iter().map(json).collect();
    let mut group = c.benchmark_group("from_value");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function(BenchmarkId::new("triekv", name), |b| {
        let read = |value| from_value::<T>(value).expect("the value fits the type");
        let pass = |values: Vec<Value>| values.into_iter().map(read).collect::<Vec<T>>();
        b.iter_batched(|| values.to_vec(), pass, BatchSize::LargeInput);
    });
    group.bench_function(BenchmarkId::new("triekv by reference", name), |b| {
        let read = |value| T::deserialize(value).expect("the value fits the type");
        let pass = |()| values.iter().map(read).collect::<Vec<T>>();
        b.iter_batched(|| (), pass, BatchSize::LargeInput);
    });
    group.bench_function(BenchmarkId::new("serde_json", name), |b| {
        let read = |value| serde_json::from_value::<T>(value).expect("the value fits the type");
        let pass = |values: Vec<_>| values.into_iter().map(read).collect::<Vec<T>>();
        b.iter_batched(|| json_values.clone(), pass, BatchSize::LargeInput);
    });
    group.bench_function(BenchmarkId::new("serde_json by reference", name), |b| {
        let read = |value| T::deserialize(value).expect("the value fits the type");
        let pass = |()| json_values.iter().map(read).collect::<Vec<T>>();
        b.iter_batched(|| (), pass, BatchSize::LargeInput);
    });
    group.finish();
}

fn rust_types(c: &mut Criterion) {
    time_rust_type::<Person>(c, "1000 records", &records(1000, 0));
    let orders = (0..1000).map(|id| to_value(&order(id)).expect("an order is a value"));
    time_rust_type::<Order>(c, "1000 orders", &orders.collect::<Vec<_>>());
}

criterion_group!(benches, documents, rust_types);
criterion_main!(benches);
