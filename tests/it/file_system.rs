//! Real file systems that fail: power cuts on ext4, and a full tmpfs.
//!
//! The power is cut by the file system's shutdown call, which stops all writing at once and leaves
//! on the disk what was synced, and perhaps more. This takes Linux, root and loop devices; where
//! mounts are not allowed the tests say so and pass. `POWER_CUTS` sets how many cuts.

#[cfg(feature = "cluster")]
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use triekv::log::LogError;
use triekv::{Store, StoreError, value};

/// A file system of its own, unmounted when it is dropped.
struct Mount {
    directory: PathBuf,
    image: Option<PathBuf>,
    _scratch: tempfile::TempDir,
}

impl Mount {
    /// An ext4 in a file.
    fn ext4() -> Option<Self> {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("image");
        File::create(&image).unwrap().set_len(192 << 20).unwrap();
        attempt("mkfs.ext4", &["-q", path(&image)])?;
        let directory = scratch.path().join("mount");
        std::fs::create_dir(&directory).unwrap();
        attempt("mount", &["-o", "loop", path(&image), path(&directory)])?;
        Some(Self { directory, image: Some(image), _scratch: scratch })
    }

    /// A file system in memory with this much room.
    fn tmpfs(bytes: u64) -> Option<Self> {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("mount");
        std::fs::create_dir(&directory).unwrap();
        let size = format!("size={bytes}");
        attempt("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", path(&directory)])?;
        Some(Self { directory, image: None, _scratch: scratch })
    }

    /// Cuts the power: nothing reaches the disk from now on, the journal included.
    fn cut_power(&self) {
        let shutdown = "import fcntl, os, struct, sys\n\
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &["-c", shutdown, path(&self.directory)]);
    }

    /// Mounts what is left after a power cut.
    fn restore_power(&self) {
        self.unmount();
        let image = self.image.as_ref().expect("a tmpfs has no power to cut");
        run("mount", &["-o", "loop", path(image), path(&self.directory)]);
    }

    fn unmount(&self) {
        // The last files of the programs before may just be closing.
        for _ in 0..200 {
            match output("umount", &[path(&self.directory)]) {
                Ok(output) if output.status.success() => return,
                _ => thread::sleep(Duration::from_millis(50)),
            }
        }
        panic!("{} is still busy", self.directory.display());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.unmount();
        } else if let Err(error) = output("umount", &["--lazy", path(&self.directory)]) {
            eprintln!("{} stays mounted: {error}", self.directory.display());
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn output(program: &str, arguments: &[&str]) -> io::Result<Output> {
    Command::new(program).args(arguments).output()
}

fn run(program: &str, arguments: &[&str]) {
    let output = output(program, arguments).unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// As [`run`], where it may be that it is not allowed here.
fn attempt(program: &str, arguments: &[&str]) -> Option<()> {
    let failure = match output(program, arguments) {
        Ok(output) if output.status.success() => return Some(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    println!("skipped: {program} does not work here: {failure}");
    None
}

fn cuts(default: u64) -> u64 {
    std::env::var("POWER_CUTS").map_or(default, |cuts| cuts.parse().expect("a number"))
}

/// Numbers that were written under each key: the last that was acknowledged, the last that was tried.
#[derive(Default)]
struct Written {
    acknowledged: AtomicU64,
    tried: AtomicU64,
}

impl Written {
    fn check(&self, key: &str, found: Option<u64>, cut: u64) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let tried = self.tried.load(Ordering::SeqCst);
        let found = found.unwrap_or_default();
        assert!(
            (acknowledged..=tried).contains(&found),
            "power cut {cut}: {key} is {found}, {acknowledged} was acknowledged, {tried} tried"
        );
        // What was in doubt is decided.
        self.acknowledged.store(found, Ordering::SeqCst);
    }
}

const WRITERS: usize = 8;

#[test]
fn a_store_loses_nothing_acknowledged_in_a_power_cut() {
    let Some(mount) = Mount::ext4() else { return };
    let written: [Written; WRITERS] = Default::default();
    let total = AtomicU64::new(0);
    for cut in 0..cuts(10) {
        // Small, so that segments and snapshots come and go.
        let store = Store::builder()
            .segment_bytes(64 << 10)
            .snapshot_bytes(100 << 10)
            .open(mount.directory.join("store"))
            .unwrap_or_else(|error| panic!("power cut {cut}: {error:?}"));
        for (writer, written) in written.iter().enumerate() {
            let key = format!("key{writer}");
            let found = store.query(&format!("{key}.n")).unwrap();
            written.check(&key, found.map(|n| n.as_u64().unwrap()), cut);
        }
        store.verify().unwrap_or_else(|error| panic!("power cut {cut}: {error:?}"));
        let enough = total.load(Ordering::SeqCst) + 100 + 37 * cut;
        thread::scope(|scope| {
            for (writer, written) in written.iter().enumerate() {
                let (store, total) = (&store, &total);
                scope.spawn(move || {
                    for n in written.acknowledged.load(Ordering::SeqCst) + 1.. {
                        written.tried.store(n, Ordering::SeqCst);
                        let padding = "x".repeat(usize::try_from(n % 400).unwrap());
                        let value = value!({ "n": n, "padding": padding });
                        if store.put(&format!("key{writer}"), value).is_err() {
                            break;
                        }
                        written.acknowledged.store(n, Ordering::SeqCst);
                        total.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            while total.load(Ordering::SeqCst) < enough {
                thread::yield_now();
            }
            mount.cut_power();
        });
        drop(store);
        mount.restore_power();
    }
    println!("{} writes were acknowledged", total.into_inner());
}

#[cfg(feature = "cluster")]
#[test]
fn three_servers_lose_nothing_acknowledged_when_all_lose_power_at_once() {
    use triekv::Cluster;

    let Some(mount) = Mount::ext4() else { return };
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut total = 0;
    for cut in 0..cuts(4) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let cluster = Cluster::embedded(3).copies(3).data_dir(mount.directory.join("cluster"));
            let cluster = cluster.start().await.unwrap_or_else(|e| panic!("cut {cut}: {e:?}"));
            let broker = cluster.broker();
            for (key, n) in &acknowledged {
                let found = broker.query(&format!("{key}.n")).await.unwrap();
                let found = found.and_then(|n| n.as_u64());
                assert!(found >= Some(*n), "power cut {cut}: {key} is {found:?}, not {n}");
            }
            let writers = (0..WRITERS).map(|writer| {
                let broker = broker.clone();
                tokio::spawn(async move {
                    let mut last = Vec::new();
                    for n in 1.. {
                        let key = format!("key{cut}-{writer}-{}", n % 16);
                        if broker.put(&key, value!({ "n": n })).await.is_err() {
                            break;
                        }
                        last.push((key, n));
                    }
                    last
                })
            });
            let writers: Vec<_> = writers.collect();
            // The cut comes at whatever point the writers are.
            tokio::time::sleep(Duration::from_millis(150 + 29 * cut)).await;
            mount.cut_power();
            for writer in writers {
                let written = writer.await.unwrap();
                total += written.len();
                acknowledged.extend(written);
            }
            drop(cluster);
        });
        drop(runtime);
        mount.restore_power();
    }
    assert!(total > 100, "only {total} writes were acknowledged");
    println!("{total} writes were acknowledged");
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_reads_until_there_is_room() {
    let Some(mount) = Mount::tmpfs(2 << 20) else { return };
    let ballast = mount.directory.join("ballast");
    std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let store = Store::builder().snapshot_bytes(u64::MAX).open(mount.directory.join("store"));
    let store = store.unwrap();
    let document = || value!({ "text": "x".repeat(10_000) });
    let mut written = 0_u64;
    let refused = loop {
        assert!(written < 300, "the disk does not get full");
        match store.put(&format!("key{written}"), document()) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(written > 10, "{written} were written");
    assert!(matches!(refused, StoreError::Log(LogError::Full { .. })), "{refused:?}");
    assert!(refused.to_string().contains("full"), "{refused}");
    for n in 0..written {
        assert!(store.get(&format!("key{n}")).is_some());
    }
    assert!(store.put("another", document()).is_err());
    assert_eq!(store.get("another"), None);
    std::fs::remove_file(&ballast).unwrap();
    store.put("another", document()).unwrap();
    drop(store);
    let store = Store::open(mount.directory.join("store")).unwrap();
    assert_eq!(store.len() as u64, written + 1);
    drop(store);
}
