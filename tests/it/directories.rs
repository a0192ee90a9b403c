//! Directories of a store and of a server: who may use them, and that they stay where they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use triekv::{Store, value};

fn files(directory: &Path) -> BTreeMap<String, fs::Metadata> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap()))
        .collect()
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
    use triekv::replication::{Broker, Server};
    use triekv::transport::ChannelTransport;

    use super::*;

    async fn start(network: &ChannelTransport, directory: &Path) -> Server<ChannelTransport> {
        let server = Server::builder(network.named("server"), "server").data_dir(directory);
        server.snapshot_entries(5).start().await.unwrap()
    }

    async fn connect(network: &ChannelTransport) -> Broker<ChannelTransport> {
        Broker::builder(network.named("broker")).servers(["server"]).connect().await.unwrap()
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
            let LogError::Replaced { directory: named } = &error else {
                panic!("{how}: {error:?}")
            };
            assert_eq!(Path::new(named), directory, "{how}");
        }
    }
}
