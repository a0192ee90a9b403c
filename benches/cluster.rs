//! Commands through a broker of an embedded cluster: three servers, three copies, in this process.
//!
//! `one at a time` awaits each command before the next; `64 callers` keeps 64 commands under way,
//! which is what batching is for.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use std::hint::black_box;
use tokio::runtime::Runtime;
use triekv::generator::keys;
use triekv::{Broker, ChannelTransport, Cluster, Value, value};

const KEYS: u64 = 1000;
const CALLERS: usize = 64;

fn document() -> Value {
    value!({ "name": "Mary", "age": 30, "address": { "city": "Athens", "zip": 11143 } })
}

async fn put_all(broker: &Broker<ChannelTransport>, keys: &[String]) {
    for key in keys {
        broker.put(key, document()).await.expect("the cluster is whole");
    }
}

async fn get_all(broker: &Broker<ChannelTransport>, keys: &[String]) {
    for key in keys {
        black_box(broker.get(key).await.expect("the cluster is whole"));
    }
}

fn commands(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let cluster = runtime.block_on(Cluster::embedded(3).copies(3).start());
    let cluster = cluster.expect("an embedded cluster starts");
    let broker = cluster.broker();
    let keys: Vec<String> = keys::persons(KEYS).collect();
    let shares: Vec<&[String]> = keys.chunks(keys.len().div_ceil(CALLERS)).collect();

    let mut group = c.benchmark_group("cluster");
    group.sample_size(10).throughput(Throughput::Elements(KEYS));
    group.bench_function("put/one at a time", |b| {
        b.iter(|| runtime.block_on(put_all(broker, &keys)));
    });
    group.bench_function("put/64 callers", |b| {
        b.iter(|| {
            runtime.block_on(join_all(shares.iter().map(|share| put_all(broker, share))));
        });
    });
    group.bench_function("get/one at a time", |b| {
        b.iter(|| runtime.block_on(get_all(broker, &keys)));
    });
    group.bench_function("get/64 callers", |b| {
        b.iter(|| {
            runtime.block_on(join_all(shares.iter().map(|share| get_all(broker, share))));
        });
    });
    group.finish();
    runtime.block_on(cluster.stop());
}

criterion_group!(benches, commands);
criterion_main!(benches);
