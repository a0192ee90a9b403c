//! A directory of the operating system as a [`Disk`].
//!
//! The directory is held by an advisory lock on its file `LOCK`, which goes with the process,
//! however it ends. On systems other than Unix a directory cannot be synced: there, whether a new
//! name survives a power cut is up to the file system, and [`Directory::sync_names`] does nothing.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

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
    /// The directory itself, open for as long as the value lives, so that no failure to write
    /// names goes by unseen between two syncs.
    #[cfg(unix)]
    names: File,
    lock: File,
}

impl Directory {
    /// Opens a directory and locks it. Creates it, and its parents, if there is none; they are
    /// there after a power cut too once this returns.
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
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|source| io_error("open", &lock_path, source))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LogError::Locked { directory: path.display().to_string() },
            TryLockError::Error(source) => io_error("lock", &lock_path, source),
        })?;
        Ok(Self {
            #[cfg(unix)]
            names: File::open(&path_absolute).map_err(failed("open"))?,
            path: path_absolute,
            lock,
        })
    }

    fn file(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.path.join(name))
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
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.file(name)?)?;
        Ok(Box::new(OpenFile::new(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = File::options().read(true).write(true).open(self.file(name)?)?;
        Ok(Box::new(OpenFile::new(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from)?, self.file(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name)?)
    }

    #[cfg(unix)]
    fn sync_names(&self) -> io::Result<()> {
        self.names.sync_all()
    }

    #[cfg(not(unix))]
    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An open file. Calls with an offset leave no position behind, so that several threads may read.
#[cfg(unix)]
#[derive(Debug)]
struct OpenFile(File);

#[cfg(unix)]
impl OpenFile {
    fn new(file: File) -> Self {
        Self(file)
    }
}

#[cfg(unix)]
impl DiskFile for OpenFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// An open file, whose position is one for all: the lock keeps it from moving between a seek and
/// what follows it.
#[cfg(not(unix))]
#[derive(Debug)]
struct OpenFile(std::sync::Mutex<File>);

#[cfg(not(unix))]
impl OpenFile {
    fn new(file: File) -> Self {
        Self(std::sync::Mutex::new(file))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
        self.lock().sync_data()
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

/// Creates a directory and its parents where they are missing, and syncs what they are in.
fn create(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    fs::create_dir_all(path)?;
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
