//! Directories of a store and of a server: who may use them, what else is in them, and that they stay
//! where they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use triekv::{Store, value};

/// Names that are like ours, and are not.
const FOREIGN: [&str; 24] = [
    "x.new",
    "notes.log.new",
    "server.log",
    "nohup.out",
    "1.log",
    "0000001.log",
    "0000000G.log",
    "000000001.log",
    "0000000A.log",
    "00000001.log.old",
    "00000001.log.new.new",
    ".new",
    ".log",
    "my.identity.new",
    "identity.bak",
    "map.txt",
    "map.new.1",
    "photo.snapshot",
    "group.snapshot.new",
    "group-x.snapshot.new",
    "group-01.snapshot.new",
    "group-1.snapshot.new.gz",
    "group-1.arriving",
    "people.snapshot.new",
];

/// What is unfinished of ours, besides the names that only a store or only a server has.
const UNFINISHED: &str = "0000000f.log.new";

fn put_foreign(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    for name in FOREIGN {
        fs::write(directory.join(name), format!("of {name}")).unwrap();
    }
    fs::create_dir_all(directory.join("folder.new/00000001.log")).unwrap();
}

fn assert_foreign(directory: &Path) {
    for name in FOREIGN {
        let found = fs::read_to_string(directory.join(name));
        assert_eq!(found.unwrap_or_else(|error| panic!("{name}: {error}")), format!("of {name}"));
    }
    assert!(directory.join("folder.new/00000001.log").is_dir());
}

fn files(directory: &Path) -> BTreeMap<String, fs::Metadata> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap()))
        .collect()
}

#[test]
fn a_store_leaves_files_that_it_does_not_write_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("store");
    put_foreign(&directory);
    for round in 0..3 {
        let store = Store::open(&directory).unwrap();
        assert_eq!(store.len(), round);
        store.put(&format!("key{round}"), value!({ "round": round })).unwrap();
        store.checkpoint().unwrap();
        drop(store);
        assert_foreign(&directory);
        for unfinished in [UNFINISHED, "store.snapshot.new"] {
            fs::write(directory.join(unfinished), "a part").unwrap();
        }
    }
    drop(Store::open(&directory).unwrap());
    let ours = files(&directory).into_keys().filter(|name| !FOREIGN.contains(&&**name));
    let ours: Vec<_> = ours.collect();
    assert_eq!(ours, ["00000001.log", "LOCK", "folder.new", "store.snapshot"]);
}

#[cfg(unix)]
#[test]
fn directories_and_files_are_created_for_their_owner_alone() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let temporary = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    let directory = temporary.path().join("parent/store");
    let store = Store::open(&directory).unwrap();
    store.put("key", value!({})).unwrap();
    store.checkpoint().unwrap();
    assert_eq!((mode(directory.parent().unwrap()), mode(&directory)), (0o700, 0o700));
    for (name, file) in files(&directory) {
        assert_eq!(file.mode() & 0o777, 0o600, "{name}");
    }
    drop(store);
    // What is there keeps what it has.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).unwrap();
    let log = directory.join("00000001.log");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o640)).unwrap();
    Store::open(&directory).unwrap().put("key", value!({ "x": 1 })).unwrap();
    assert_eq!((mode(&directory), mode(&log)), (0o750, 0o640));
}

/// Has a directory no longer be what was opened; it is given a free path, too.
#[cfg(unix)]
type Replace = fn(&Path, &Path);

#[cfg(unix)]
const REPLACED: [(&str, Replace); 5] = [
    ("removed", |directory, _| fs::remove_dir_all(directory).unwrap()),
    ("moved away", |directory, free| fs::rename(directory, free).unwrap()),
    ("replaced by an empty one", |directory, free| {
        fs::rename(directory, free).unwrap();
        fs::create_dir(directory).unwrap();
    }),
    ("opened by another process, since its lock was removed", |directory, _| {
        fs::remove_file(directory.join("LOCK")).unwrap();
        drop(triekv::log::Directory::open(directory).unwrap());
    }),
    ("without the log that is written", |directory, _| {
        fs::remove_file(directory.join("00000001.log")).unwrap();
    }),
];

#[cfg(unix)]
#[test]
fn a_store_whose_directory_is_replaced_acknowledges_nothing_more() {
    use triekv::StoreError;
    use triekv::log::LogError;

    for (how, replace) in REPLACED {
        let temporary = tempfile::tempdir().unwrap();
        let (directory, free) = (temporary.path().join("store"), temporary.path().join("free"));
        let store = Store::open(&directory).unwrap();
        store.put("before", value!({})).unwrap();
        replace(&directory, &free);
        let error = store.put("after", value!({})).unwrap_err();
        let StoreError::Log(LogError::Replaced { directory: named }) = &error else {
            panic!("{how}: {error:?}")
        };
        assert_eq!(Path::new(named), directory, "{how}");
        assert!(error.to_string().ends_with(": put it back and open it again"), "{error}");
        assert!(error.is_ambiguous(), "{how}");
        let later = store.put("later", value!({})).unwrap_err();
        assert!(matches!(later, StoreError::Log(LogError::Stopped(_))), "{how}: {later:?}");
        assert!(store.get("before").is_some() && store.get("after").is_none(), "{how}");
        let checkpoint = store.checkpoint();
        drop(store);
        // Nothing of it was written into what is there now.
        if how == "replaced by an empty one" {
            assert!(checkpoint.is_err(), "{how}");
            assert_eq!(files(&directory).len(), 0, "{how}");
        }
        if free.exists() {
            assert!(Store::open(&free).unwrap().get("before").is_some(), "{how}");
        }
    }
}

#[cfg(feature = "cluster")]
mod servers {
    use triekv::replication::{Broker, Server, ServerFailure};
    use triekv::transport::ChannelTransport;

    use super::*;

    async fn start(network: &ChannelTransport, directory: &Path) -> Server<ChannelTransport> {
        let server = Server::builder(network.named("server"), "server").data_dir(directory);
        server.snapshot_entries(5).start().await.unwrap()
    }

    async fn connect(network: &ChannelTransport) -> Broker<ChannelTransport> {
        Broker::builder(network.named("broker")).servers(["server"]).connect().await.unwrap()
    }

    #[tokio::test]
    async fn a_server_leaves_files_that_it_does_not_write_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("server");
        put_foreign(&directory);
        let unfinished =
            ["identity.new", "map.new", "group-1.snapshot.new", "group-9.arriving.new", UNFINISHED];
        let mut id = None;
        for round in 0..2 {
            for name in unfinished {
                fs::write(directory.join(name), "a part").unwrap();
            }
            let network = ChannelTransport::new();
            let server = start(&network, &directory).await;
            for name in unfinished {
                assert!(!directory.join(name).exists(), "{name}");
            }
            assert_eq!(*id.get_or_insert(server.id()), server.id(), "round {round}");
            let broker = connect(&network).await;
            for n in 0..40 {
                broker.put(&format!("key{n}"), value!({ "round": round })).await.unwrap();
            }
            drop(broker);
            server.stop().await;
            assert_foreign(&directory);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_server_whose_directory_is_replaced_stops_with_a_reason() {
        use triekv::log::LogError;

        for (how, replace) in REPLACED {
            let temporary = tempfile::tempdir().unwrap();
            let (directory, free) =
                (temporary.path().join("server"), temporary.path().join("free"));
            let network = ChannelTransport::new();
            let server = start(&network, &directory).await;
            let broker = connect(&network).await;
            broker.put("before", value!({})).await.unwrap();
            replace(&directory, &free);
            let put = broker.put("after", value!({}));
            let error = tokio::select! {
                error = server.failed() => error,
                put = put => {
                    assert!(put.is_err(), "{how}: it was acknowledged");
                    server.failed().await
                }
            };
            let ServerFailure::Data(LogError::Replaced { directory: named }) = &error else {
                panic!("{how}: {error:?}")
            };
            assert_eq!(Path::new(named), directory, "{how}");
        }
    }
}
