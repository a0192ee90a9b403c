//! A directory of the operating system as a [`Disk`].
//!
//! The directory is held by an advisory lock on its file `LOCK`, which goes with the process,
//! however it ends. On systems other than Unix a directory cannot be synced: there, whether a new
//! name survives a power cut is up to the file system, and [`Directory::sync_names`] does nothing.
//!
//! On Unix directories are created for their owner alone (0700), and so are files (0600); those that
//! are there keep their permissions. A directory can be removed, moved away or replaced while it is
//! open, or lose its `LOCK`, so that another process may open it too. Files that are open would go on
//! to work there, and what is written to them would be lost. Each operation on names therefore begins
//! with a look at the path of `LOCK`, and each sync of a file ends with one, and with one at the number
//! of the file's names: two calls of the system, 1 to 2 µs in all. What they find is
//! [`LogError::Replaced`].

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::{Disk, DiskFile, LogError};

/// The file whose lock holds the directory. It stays empty, and is never listed.
const LOCK: &str = "LOCK";

/// A directory of the operating system, held by a lock on its file `LOCK` for as long as the value
/// lives.
///
/// The names of its files are flat: those with `/`, `\` or `:`, the empty one, `.`, `..` and `LOCK`
/// are refused with [`io::ErrorKind::InvalidInput`].
///
/// # Examples
///
/// ```
/// use triekv::log::{Directory, Disk, LogError};
///
/// # let temporary = tempfile::tempdir()?;
/// # let path = temporary.path().join("data");
/// let directory = Directory::open(&path)?;
/// directory.create("names")?.write_at(b"Mary", 0)?;
/// assert_eq!(directory.list()?, ["names"]);
/// assert!(matches!(Directory::open(&path), Err(LogError::Locked { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    held: Arc<Held>,
    /// The directory itself, open for as long as the value lives, so that no failure to write
    /// names goes by unseen between two syncs.
    #[cfg(unix)]
    names: File,
    lock: File,
}

impl Directory {
    /// Opens a directory and locks it. Creates it, and its parents, if there is none; they are
    /// there after a power cut too once this returns. On Unix only the owner may use those that are
    /// created, and the files in them.
    ///
    /// # Errors
    ///
    /// [`LogError::Locked`] if another process, or another value in this one, has it;
    /// [`LogError::Io`] if it cannot be created, opened or locked.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LogError> {
        let path = path.as_ref();
        let failed = |operation| move |source| io_error(operation, path, source);
        // A later change of the working directory must not change which directory this is.
        let path_absolute = std::path::absolute(path).map_err(failed("find"))?;
        create(&path_absolute).map_err(failed("create"))?;
        let lock_path = path_absolute.join(LOCK);
        let lock = for_owner(File::options().read(true).write(true).create(true).truncate(false))
            .open(&lock_path)
            .map_err(|source| io_error("open", &lock_path, source))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LogError::Locked { directory: path.display().to_string() },
            TryLockError::Error(source) => io_error("lock", &lock_path, source),
        })?;
        let held = Held::new(&path_absolute, &lock);
        let held = held.map_err(|source| io_error("open", &lock_path, source))?;
        Ok(Self {
            #[cfg(unix)]
            names: File::open(&path_absolute).map_err(failed("open"))?,
            path: path_absolute,
            held: Arc::new(held),
            lock,
        })
    }

    /// The path of a file, in the directory that was opened.
    fn file(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        self.held.check()?;
        Ok(self.path.join(name))
    }

    fn opened(&self, file: File) -> Box<dyn DiskFile> {
        Box::new(OpenFile::new(file, Arc::clone(&self.held)))
    }
}

/// The directory is not, or no longer as a whole, where it was when it was opened.
#[derive(Debug, Error)]
#[error("{directory}, or a file in it, was removed or replaced while it was in use")]
struct Replaced {
    directory: String,
}

/// The directory of which an operation found that it was replaced, if that is why it failed.
pub(super) fn replaced(error: &io::Error) -> Option<&str> {
    let replaced = error.get_ref()?.downcast_ref::<Replaced>()?;
    Some(&replaced.directory)
}

/// Tells the directory that was opened from another one at its path.
#[derive(Debug)]
struct Held {
    directory: PathBuf,
    #[cfg(unix)]
    lock: PathBuf,
    /// Device and number of the lock's file; none where the path and the open file differ in them
    /// from the beginning, as file systems may have it that draw the numbers.
    #[cfg(unix)]
    id: Option<(u64, u64)>,
    /// Whether the file system counts the names of a file.
    #[cfg(unix)]
    counts_names: bool,
}

#[cfg(unix)]
impl Held {
    fn new(directory: &Path, lock: &File) -> io::Result<Self> {
        let lock_path = directory.join(LOCK);
        let (open, there) = (lock.metadata()?, fs::metadata(&lock_path)?);
        let id = Some(id(&open)).filter(|open| *open == id(&there));
        let counts_names = names(&open) > 0;
        Ok(Self { directory: directory.to_owned(), lock: lock_path, id, counts_names })
    }

    /// Fails if another directory is at the path, or none. Errors that prove neither count as none.
    fn check(&self) -> io::Result<()> {
        use io::ErrorKind::{NotADirectory, NotFound, StaleNetworkFileHandle};
        let replaced = match fs::metadata(&self.lock) {
            Ok(found) => self.id.is_some_and(|known| known != id(&found)),
            Err(error) => {
                matches!(error.kind(), NotADirectory | NotFound | StaleNetworkFileHandle)
            }
        };
        if replaced { Err(self.replaced()) } else { Ok(()) }
    }

    /// Fails if the file is in no directory any more, or the directory is replaced.
    fn check_with(&self, file: &File) -> io::Result<()> {
        if self.counts_names && names(&file.metadata()?) == 0 {
            return Err(self.replaced());
        }
        self.check()
    }

    fn replaced(&self) -> io::Error {
        io::Error::other(Replaced { directory: self.directory.display().to_string() })
    }
}

#[cfg(unix)]
fn id(file: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

#[cfg(unix)]
fn names(file: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(file)
}

/// Elsewhere the system refuses to remove a directory whose files are open.
#[cfg(not(unix))]
impl Held {
    fn new(directory: &Path, _lock: &File) -> io::Result<Self> {
        Ok(Self { directory: directory.to_owned() })
    }

    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    fn check_with(&self, _file: &File) -> io::Result<()> {
        self.check()
    }
}

impl Drop for Directory {
    /// Unlocks the directory. Closing the file doesn't do it at once where this program is starting
    /// another one: until that runs, it has a copy of each open file, and the lock is held with it.
    fn drop(&mut self) {
        // The file is closed in any case, and the directory free a moment later.
        let _ = self.lock.unlock();
    }
}

impl Disk for Directory {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    /// Gives regular files only, without `LOCK` and without names that are not UTF-8.
    fn list(&self) -> io::Result<Vec<String>> {
        self.held.check()?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            if let Ok(name) = entry.file_name().into_string()
                && check_name(&name).is_ok()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.file(name)?;
        let mut options = File::options();
        let file = for_owner(options.read(true).write(true).create(true).truncate(true));
        Ok(self.opened(file.open(path)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = File::options().read(true).write(true).open(self.file(name)?)?;
        Ok(self.opened(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from)?, self.file(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name)?)
    }

    #[cfg(unix)]
    fn sync_names(&self) -> io::Result<()> {
        self.names.sync_all()?;
        self.held.check()
    }

    #[cfg(not(unix))]
    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An open file. Calls with an offset leave no position behind, so that several threads may read.
#[cfg(unix)]
#[derive(Debug)]
struct OpenFile {
    file: File,
    held: Arc<Held>,
}

#[cfg(unix)]
impl OpenFile {
    fn new(file: File, held: Arc<Held>) -> Self {
        Self { file, held }
    }
}

#[cfg(unix)]
impl DiskFile for OpenFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.held.check_with(&self.file)
    }
}

/// An open file, whose position is one for all: the lock keeps it from moving between a seek and
/// what follows it.
#[cfg(not(unix))]
#[derive(Debug)]
struct OpenFile {
    file: std::sync::Mutex<File>,
    held: Arc<Held>,
}

#[cfg(not(unix))]
impl OpenFile {
    fn new(file: File, held: Arc<Held>) -> Self {
        Self { file: std::sync::Mutex::new(file), held }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(not(unix))]
impl DiskFile for OpenFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.lock().metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read as _, Seek as _};
        let mut file = self.lock();
        file.seek(io::SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        use std::io::{Seek as _, Write as _};
        let mut file = self.lock();
        file.seek(io::SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.lock().set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        let file = self.lock();
        file.sync_data()?;
        self.held.check_with(&file)
    }
}

/// Refuses what is not the name of a file in a flat folder, on any system, so that a directory
/// that was written on one can be read on another.
pub(super) fn check_name(name: &str) -> io::Result<()> {
    let special = matches!(name, "" | "." | "..") || name.eq_ignore_ascii_case(LOCK);
    if special || name.contains(['/', '\\', ':', '\0']) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(())
}

/// Has files that are created so be the owner's alone.
#[cfg(unix)]
fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

#[cfg(not(unix))]
fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Creates a directory and its parents where they are missing, for their owner alone, and syncs what
/// they are in.
fn create(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)?;
    // A link leads to a directory whose name is elsewhere than the link's.
    let path = path.canonicalize()?;
    for parent in path.ancestors().skip(1).take(missing) {
        sync_directory(parent)?;
    }
    // One that is there may come from an opening that ended before it synced. Whoever may not read
    // the parent cannot sync it, and did not create this directory either.
    match path.parent() {
        Some(parent) if missing == 0 => match sync_directory(parent) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            outcome => outcome,
        },
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

fn io_error(operation: &'static str, file: &Path, source: io::Error) -> LogError {
    LogError::io(operation, file.display().to_string(), source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_refused_until_the_first_is_gone() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b/c");
        let first = Directory::open(&path).unwrap();
        assert!(matches!(Directory::open(&path), Err(LogError::Locked { .. })));
        drop(first);
        Directory::open(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_an_error() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("file");
        fs::write(&path, b"").unwrap();
        assert!(matches!(Directory::open(&path), Err(LogError::Io { operation: "create", .. })));
    }

    #[test]
    fn files_are_written_read_renamed_and_removed() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        super::super::memory_disk::exercise(&directory);
    }

    #[test]
    fn only_regular_files_are_listed() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        fs::create_dir(temporary.path().join("folder")).unwrap();
        assert!(directory.list().unwrap().is_empty());
        directory.create("file").unwrap();
        assert_eq!(directory.list().unwrap(), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_directory_is_one() {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir(temporary.path().join("real")).unwrap();
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink("real", &link).unwrap();
        Directory::open(&link).unwrap().create("file").unwrap();
        assert!(temporary.path().join("real/file").exists());
    }
}
