//! Directories that go back in time, that are copied, and servers that move: with other servers that
//! remember more.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use triekv::replication::{ClusterStatus, Health, PastStatus, ServerError, ServerId};

use super::*;

/// Servers with a directory each, which is copied and put back.
struct Archive {
    network: ChannelTransport,
    dir: TempDir,
    running: Vec<Option<ChannelServer>>,
}

impl Archive {
    async fn start(count: usize) -> Self {
        let (network, dir) = (ChannelTransport::new(), tempfile::tempdir().unwrap());
        let mut archive = Self { network, dir, running: (0..count).map(|_| None).collect() };
        for number in 0..count {
            archive.restart(number).await;
        }
        archive
    }

    fn path(&self, number: usize) -> std::path::PathBuf {
        self.dir.path().join(name(number))
    }

    /// A server on the directory of server `number`, at address `at`.
    fn server(&self, number: usize, at: &str) -> ServerBuilder<ChannelTransport> {
        let server = Server::builder(self.network.named(at), at).timing(TIMING);
        server.data_dir(self.path(number))
    }

    async fn restart(&mut self, number: usize) {
        self.running[number] = Some(self.server(number, &name(number)).start().await.unwrap());
    }

    async fn stop(&mut self, number: usize) {
        self.running[number].take().unwrap().stop().await;
    }

    /// Copies the directory of a server, running or not, to a place called `to`.
    fn copy(&self, number: usize, to: &str) {
        copy(&self.path(number), &self.dir.path().join(to));
    }

    /// Puts a copy called `from` in the place of the directory of a server that has stopped.
    fn put_back(&self, from: &str, number: usize) {
        fs::remove_dir_all(self.path(number)).unwrap();
        copy(&self.dir.path().join(from), &self.path(number));
    }

    async fn broker(&self) -> ChannelBroker {
        let servers = (0..self.running.len()).map(name);
        let broker = Broker::builder(self.network.named("broker")).servers(servers);
        broker.deadline(DEADLINE).copies(2).connect().await.unwrap()
    }

    fn id(&self, number: usize) -> ServerId {
        self.running[number].as_ref().unwrap().id()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Overwrites the records `0..40` by `n`.
async fn overwrite(broker: &ChannelBroker, n: i64) {
    for key in 0..40 {
        broker.put(&format!("key{key}"), value!({ "n": n })).await.unwrap();
    }
}

async fn assert_overwritten(broker: &ChannelBroker, n: i64) {
    for key in 0..40 {
        let record = broker.get(&format!("key{key}")).await.unwrap();
        assert_eq!(record.unwrap().value, value!({ "n": n }), "key{key}");
    }
}

/// Waits until the status is as it should be.
async fn status_until(
    broker: &ChannelBroker,
    is_so: impl Fn(&ClusterStatus) -> bool,
) -> ClusterStatus {
    let start = std::time::Instant::now();
    loop {
        let status = broker.status().await;
        if is_so(&status) {
            return status;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{status:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_settled(status: &ClusterStatus) -> bool {
    status.health() == Health::Whole && status.moves == 0 && status.servers.len() == 3
}

/// The status of a server at an address.
fn past<'a>(status: &'a ClusterStatus, at: &str) -> Option<&'a PastStatus> {
    status.servers.iter().find(|server| server.address == at && server.is_up())?.past.as_ref()
}

#[tokio::test]
async fn a_directory_from_the_past_does_not_count_and_its_server_is_filled_anew() {
    let mut archive = Archive::start(3).await;
    let broker = archive.broker().await;
    overwrite(&broker, 1).await;
    // One server after the other: each write has only two copies besides, and is there to the end.
    for (number, n) in [(0, 2), (1, 3)] {
        archive.stop(number).await;
        archive.copy(number, "copy");
        archive.restart(number).await;
        status_until(&broker, is_settled).await;
        let old = archive.id(number);
        overwrite(&broker, n).await;
        archive.stop(number).await;
        archive.put_back("copy", number);
        archive.restart(number).await;
        assert_ne!(archive.id(number), old);
        let status = status_until(&broker, is_settled).await;
        let Some(PastStatus::SetAside(before)) = past(&status, &name(number)) else {
            panic!("{status:#?}")
        };
        assert_eq!(before.server, old);
        let aside = fs::read_dir(archive.path(number)).unwrap();
        let is_aside = |name: String| name.starts_with("past-1.");
        assert!(aside.flatten().any(|entry| is_aside(entry.file_name().into_string().unwrap())));
        fs::remove_dir_all(archive.dir.path().join("copy")).unwrap();
    }
    archive.stop(2).await;
    assert_overwritten(&broker, 3).await;
    overwrite(&broker, 4).await;
}

#[tokio::test]
async fn an_image_of_a_running_server_is_noticed_by_what_it_lacks() {
    let mut archive = Archive::start(3).await;
    let broker = archive.broker().await;
    overwrite(&broker, 1).await;
    // No start of the server lies between the image and its return.
    archive.copy(0, "image");
    overwrite(&broker, 2).await;
    let old = archive.id(0);
    archive.stop(0).await;
    archive.put_back("image", 0);
    archive.restart(0).await;
    assert_ne!(archive.id(0), old);
    status_until(&broker, is_settled).await;
    archive.stop(1).await;
    assert_overwritten(&broker, 2).await;
}

#[tokio::test]
async fn a_directory_from_the_past_is_noticed_when_all_servers_were_stopped_meanwhile() {
    let mut archive = Archive::start(3).await;
    let broker = archive.broker().await;
    archive.stop(0).await;
    archive.copy(0, "copy");
    archive.restart(0).await;
    overwrite(&broker, 1).await;
    let old = archive.id(0);
    for number in 0..3 {
        archive.stop(number).await;
    }
    archive.put_back("copy", 0);
    archive.restart(1).await;
    archive.restart(2).await;
    // Somebody has to lead before the others can do without it.
    overwrite(&broker, 2).await;
    archive.restart(0).await;
    assert_ne!(archive.id(0), old);
    status_until(&broker, is_settled).await;
    archive.stop(1).await;
    assert_overwritten(&broker, 2).await;
}

#[tokio::test]
async fn two_directories_from_the_past_at_once_are_told_and_acknowledge_nothing() {
    let mut archive = Archive::start(3).await;
    let broker = archive.broker().await;
    overwrite(&broker, 1).await;
    for number in [0, 1] {
        archive.stop(number).await;
        archive.copy(number, &format!("copy{number}"));
        archive.restart(number).await;
    }
    overwrite(&broker, 2).await;
    for number in [0, 1] {
        archive.stop(number).await;
    }
    for number in [0, 1] {
        archive.put_back(&format!("copy{number}"), number);
        archive.restart(number).await;
    }
    let status = status_until(&broker, |status| {
        let told = [0, 1].iter().all(|number| past(status, &name(*number)).is_some());
        told && status.health() == Health::NoMajority
    })
    .await;
    for number in [0, 1] {
        let found = past(&status, &name(number));
        assert!(matches!(found, Some(PastStatus::Waits(_))), "{found:?}");
    }
    assert!(broker.put("key0", value!({ "n": 3 })).await.is_err());
    // The way out: the last server that knows better, and what its operator has the others go on with.
    for number in [0, 1] {
        archive.stop(number).await;
        let server = archive.server(number, &name(number)).accept_past();
        archive.running[number] = Some(server.start().await.unwrap());
    }
    assert_overwritten(&broker, 2).await;
    overwrite(&broker, 3).await;
    let is_forgotten = |status: &ClusterStatus| status.servers.iter().all(|it| it.past.is_none());
    status_until(&broker, |status| is_settled(status) && is_forgotten(status)).await;
    // From now on they count.
    archive.stop(2).await;
    assert_overwritten(&broker, 3).await;
}

#[tokio::test]
async fn a_copy_that_is_started_beside_its_original_is_refused() {
    let mut archive = Archive::start(3).await;
    let broker = archive.broker().await;
    overwrite(&broker, 1).await;
    archive.copy(0, &name(7));
    let beside = archive.server(7, "elsewhere").start().await.unwrap_err();
    let ServerError::Twin { server, address, directory } = beside else { panic!("{beside}") };
    assert_eq!((server, address), (archive.id(0), name(0)));
    assert!(directory.ends_with("server7"), "{directory}");
    // The original goes on, and the copy is in nobody's way.
    overwrite(&broker, 2).await;
    assert!(status_until(&broker, is_settled).await.servers.iter().all(|it| it.past.is_none()));

    // In the place of the original, it is a server that has moved; the original is from the past then.
    archive.stop(0).await;
    fs::remove_dir_all(archive.path(7)).unwrap();
    archive.copy(0, &name(7));
    let moved = archive.server(7, "elsewhere").start().await.unwrap();
    broker.join("elsewhere").await.unwrap();
    overwrite(&broker, 3).await;
    let original = archive.server(0, &name(0)).start().await.unwrap_err();
    assert!(matches!(original, ServerError::Twin { .. }), "{original}");
    moved.stop().await;
    archive.restart(0).await;
    assert_ne!(archive.id(0), server);
}

#[tokio::test]
async fn a_server_that_has_moved_is_noted_by_the_broker_that_meets_it() {
    let mut archive = Archive::start(3).await;
    let broker = archive.broker().await;
    overwrite(&broker, 1).await;
    let id = archive.id(0);
    archive.stop(0).await;
    archive.running[0] = Some(archive.server(0, "moved").start().await.unwrap());
    let servers = ["moved".to_owned(), name(1), name(2)];
    let late = Broker::builder(archive.network.named("late")).servers(servers);
    let late = late.deadline(DEADLINE).copies(2).connect().await.unwrap();
    let moved: Vec<_> =
        late.moved().iter().map(|it| (&*it.address, &*it.before, it.noted)).collect();
    assert_eq!(moved, [("moved", "server0", true)]);
    // A broker that never heard of the new address learns it.
    let status = status_until(&broker, is_settled).await;
    assert_eq!(status.server(id).unwrap().address, "moved");
    archive.stop(1).await;
    assert_overwritten(&broker, 1).await;
}

#[tokio::test]
async fn servers_that_have_all_moved_are_found_by_a_server_file_alone() {
    let mut archive = Archive::start(3).await;
    let broker = archive.broker().await;
    overwrite(&broker, 1).await;
    let cluster = broker.cluster();
    drop(broker);
    for number in 0..3 {
        archive.stop(number).await;
    }
    // One of them takes the address that another one had.
    let addresses = ["new0", "server0", "new2"];
    for (number, address) in addresses.iter().enumerate() {
        archive.running[number] = Some(archive.server(number, address).start().await.unwrap());
    }
    let broker = Broker::builder(archive.network.named("broker")).servers(addresses);
    let broker = broker.deadline(DEADLINE).copies(2).connect().await.unwrap();
    assert_eq!(broker.cluster(), cluster);
    assert_eq!(broker.moved().iter().filter(|moved| moved.noted).count(), 3);
    assert_overwritten(&broker, 1).await;
    let status = status_until(&broker, is_settled).await;
    for (number, address) in addresses.iter().enumerate() {
        assert_eq!(status.server(archive.id(number)).unwrap().address, *address);
    }
    // It is kept: they find each other by themselves.
    for number in 0..3 {
        archive.stop(number).await;
    }
    for (number, address) in addresses.iter().enumerate() {
        archive.running[number] = Some(archive.server(number, address).start().await.unwrap());
    }
    overwrite(&broker, 2).await;
}

#[tokio::test]
async fn a_server_that_left_while_it_was_down_is_told_when_it_comes_back() {
    let mut archive = Archive::start(3).await;
    let broker = archive.broker().await;
    overwrite(&broker, 1).await;
    archive.stop(0).await;
    broker.leave(&name(0)).await.unwrap();
    status_until(&broker, |status| status.servers.len() == 2 && status.moves == 0).await;
    archive.restart(0).await;
    // It knows by itself: nobody else is named.
    let start = std::time::Instant::now();
    loop {
        let alone = Broker::builder(archive.network.named("alone")).servers([name(0)]);
        let alone = alone.deadline(DEADLINE).connect().await.unwrap();
        if alone.left() == [name(0)] {
            break;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "it was not told");
    }
    assert_overwritten(&broker, 1).await;
}
