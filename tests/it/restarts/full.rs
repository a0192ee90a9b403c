//! STATUS of a server whose disk is full.

use triekv::log::MemoryDisk;
use triekv::replication::ServerState;

use super::*;

/// A server on this disk, and a broker with twenty records, whose commands may take `deadline`.
pub(super) async fn start_with(
    disk: Arc<dyn Disk>,
    deadline: Duration,
) -> (ChannelServer, ChannelBroker) {
    let servers = Servers::blank(1, 5_000);
    let server = builder(&servers.network.named(&name(0)), 0).disk(disk).start().await.unwrap();
    put_many(&servers.broker(1).await, 0..20).await;
    (server, servers.connect(deadline, 1).await.unwrap())
}

#[tokio::test]
async fn status_tells_of_a_full_disk_until_there_is_room() {
    let disk = MemoryDisk::new();
    let (_server, broker) = start_with(Arc::new(disk.clone()), DEADLINE).await;
    let is_full = async || match broker.status().await.servers[0].state {
        ServerState::Up { disk_full, .. } => disk_full,
        ref down => panic!("{down:?}"),
    };
    assert!(!is_full().await);
    disk.set_capacity(Some(0));
    let filling = "x".repeat(20 << 10);
    for n in 0.. {
        assert!(n < 100, "the disk does not get full");
        let large = value!({ "filling": filling.as_str() });
        match broker.put("large", large).await {
            Ok(_) => {}
            Err(BrokerError::Refused { source: Refusal::DiskFull, .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(is_full().await);
    disk.set_capacity(None);
    let began = tokio::time::Instant::now();
    while is_full().await {
        assert!(began.elapsed() < DEADLINE, "there is room again");
        tokio::task::yield_now().await;
    }
}
