//! Reads a config and the files beside it through one handle of their folder, so that all of them are of
//! one version.
//!
//! A mounted ConfigMap is a folder of links into `..data`, itself a link to the folder of the version in
//! force. The kubelet writes a new version beside the old one, turns `..data` to it and removes the old
//! one. Who goes by paths may read the config of one version and a template of the next; who holds a
//! handle of the version's folder reads on in that one, or finds it gone.
//!
//! May touch the file system, to read. Never waits for a change: that is `watch`'s work.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2, stat};
use rustix::io::{Errno, retry_on_intr};

use super::input::{Input, open_at};
use crate::config::sha256_hex;

/// The link that the kubelet turns to the version in force.
const DATA: &str = "..data";
const LEADS_OUT: &str = "it is a link that leads out of the config's folder; put the file itself there";
/// The kubelet swaps once a minute at most; who meets that many swaps in a row meets something else.
const OPENS_MAX: usize = 5;

/// What one load reads, and what it has read.
#[derive(Debug, Default)]
pub struct Reading {
    folder: Option<Folder>,
    /// A line for each file that was asked for: its name, and the hash of its bytes or why there are none.
    seen: String,
    failed: bool,
}

impl Reading {
    /// The bytes of the config, of at most `bytes_max` and one more. What is read beside it comes from
    /// the same version of its folder.
    pub fn config(&mut self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let opened = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                let folder = self.folder.insert(Folder::open(parent, Path::new(name)));
                folder.file(Path::new(name))
            }
            _ => open_at(CWD, path),
        };
        self.bytes(path, opened.and_then(Input::new), bytes_max)
    }

    /// The same of a file that is named relative to the config, and that no link leads out of its folder.
    pub fn beside(&mut self, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let opened = match &self.folder {
            Some(folder) => folder.file_within(file),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        self.bytes(file, opened.and_then(Input::of_file), bytes_max)
    }

    /// Whether the version was removed while it was read, so that what was missing is not missing.
    pub fn is_torn(&self) -> bool {
        self.failed && self.folder.as_ref().is_some_and(Folder::was_replaced)
    }

    /// Tells what was read, and what was missing, from any other state of the files.
    pub fn fingerprint(&self) -> String {
        sha256_hex(self.seen.as_bytes())
    }

    fn bytes(&mut self, name: &Path, opened: io::Result<Input>, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = opened.and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
        let state = match &read {
            Ok(_) => sha256_hex(&bytes),
            Err(error) => error.to_string(),
        };
        self.seen.push_str(&format!("{name:?} {state}\n"));
        self.failed |= read.is_err();
        read.map(|_| bytes)
    }
}

/// Whether `path` can be read only once, as a pipe.
pub fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// One version of a folder.
#[derive(Debug)]
struct Folder {
    /// What led to it then, and may lead to another by now.
    path: PathBuf,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Open(OwnedFd),
    /// A folder that may be passed through but not opened: its files are reached by their paths.
    ByPath,
    /// A mount whose version was gone each time. Going by paths would find files of several.
    Lost(Errno),
}

impl Folder {
    /// The version in force where `config` is mounted in `path`, else `path` itself.
    fn open(path: &Path, config: &Path) -> Folder {
        if !is_mounted(path, config) {
            let handle = directory(path).map_or(Handle::ByPath, Handle::Open);
            return Folder { path: path.to_owned(), handle };
        }
        let path = path.join(DATA);
        let mut handle = Handle::Lost(Errno::NOENT);
        for _ in 0..OPENS_MAX {
            let led_to = path.read_link().ok();
            handle = directory(&path).map_or_else(Handle::Lost, Handle::Open);
            // A version may go between following the link and opening what it leads to.
            let was_turned = path.read_link().ok() != led_to;
            if matches!(handle, Handle::Open(_)) || !was_turned {
                break;
            }
        }
        Folder { path, handle }
    }

    fn file(&self, name: &Path) -> io::Result<File> {
        match &self.handle {
            Handle::Open(handle) => open_at(handle, name),
            Handle::ByPath => open_at(CWD, &self.path.join(name)),
            Handle::Lost(error) => Err((*error).into()),
        }
    }

    /// The same, but not through a link that leads out of the folder: whoever may write a file into it
    /// would choose what is read in our name. The kubelet's own links stay within.
    fn file_within(&self, name: &Path) -> io::Result<File> {
        if let Handle::Open(handle) = &self.handle {
            // As `input::open_at`: nothing is waited for.
            let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            match retry_on_intr(|| openat2(handle, name, how, Mode::empty(), ResolveFlags::BENEATH)) {
                Err(Errno::XDEV) => return Err(io::Error::other(LEADS_OUT)),
                // Before Linux 5.6, and where a seccomp profile does not know it.
                Err(Errno::NOSYS | Errno::PERM) => {}
                opened => return Ok(File::from(opened?)),
            }
        }
        match self.path.join(name).canonicalize()?.starts_with(self.path.canonicalize()?) {
            true => self.file(name),
            false => Err(io::Error::other(LEADS_OUT)),
        }
    }

    fn was_replaced(&self) -> bool {
        match &self.handle {
            // Its number cannot be given to another folder as long as the handle is open.
            Handle::Open(handle) => match (fstat(handle), stat(&self.path)) {
                (Ok(ours), Ok(now)) => (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino),
                _ => true,
            },
            Handle::ByPath => false,
            Handle::Lost(_) => true,
        }
    }
}

/// Whether the kubelet has put `config` into this folder, or would: it puts nothing but links there.
fn is_mounted(path: &Path, config: &Path) -> bool {
    match path.join(config).read_link() {
        Ok(target) => target.starts_with(DATA),
        Err(error) => error.kind() == io::ErrorKind::NotFound && path.join(DATA).is_symlink(),
    }
}

fn directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| openat(CWD, path, how, Mode::empty()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write what is read")]
pub mod tests {
    use super::*;
    use std::fs;

    /// Writes a new version as the kubelet does: a folder of its own, a link turned to it by a rename,
    /// links for new files, and the version before removed.
    pub fn swap(mount: &Path, files: &[(&str, &str)]) {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static VERSIONS: AtomicUsize = AtomicUsize::new(0);
        let version = format!("..2026_11_25_04_00_00.{}", VERSIONS.fetch_add(1, Ordering::Relaxed));
        let before = fs::read_link(mount.join(DATA)).ok();
        fs::create_dir(mount.join(&version)).unwrap();
        for (name, text) in files {
            fs::write(mount.join(&version).join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(&version, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join(DATA)).unwrap();
        for (name, _) in files {
            let link = mount.join(name);
            if fs::symlink_metadata(&link).is_err() {
                std::os::unix::fs::symlink(Path::new(DATA).join(name), link).unwrap();
            }
        }
        for entry in fs::read_dir(mount).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.starts_with("..") && !files.iter().any(|(file, _)| *file == name) {
                fs::remove_file(mount.join(name)).unwrap();
            }
        }
        if let Some(before) = before {
            fs::remove_dir_all(mount.join(before)).unwrap();
        }
    }

    fn text(bytes: io::Result<Vec<u8>>) -> String {
        bytes.map_or_else(|error| error.kind().to_string(), |bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_version_that_is_replaced_is_not_mixed_with_the_next() {
        let mount = tempfile::tempdir().unwrap();
        let config = mount.path().join("quayctl.toml");
        swap(mount.path(), &[("quayctl.toml", "one"), ("a.hbs", "one")]);
        let mut reading = Reading::default();
        assert_eq!(text(reading.config(&config, 99)), "one");
        assert!(!reading.is_torn());
        swap(mount.path(), &[("quayctl.toml", "two"), ("a.hbs", "two")]);
        assert_eq!(text(reading.beside(Path::new("a.hbs"), 99)), "entity not found");
        assert!(reading.is_torn());

        let mut reading = Reading::default();
        assert_eq!(text(reading.config(&config, 99)), "two");
        assert_eq!(text(reading.beside(Path::new("a.hbs"), 99)), "two");
        // What no version has is missing for good.
        assert_eq!(text(reading.beside(Path::new("b.hbs"), 99)), "entity not found");
        assert!(!reading.is_torn());
    }

    #[test]
    fn folders_of_every_kind_are_read() {
        let plain = tempfile::tempdir().unwrap();
        fs::create_dir(plain.path().join("sub")).unwrap();
        fs::write(plain.path().join("quayctl.toml"), "plain").unwrap();
        fs::write(plain.path().join("sub/a.hbs"), "below").unwrap();
        // A `..data` that the config is no link into is somebody else's.
        fs::create_dir(plain.path().join(DATA)).unwrap();
        let mut reading = Reading::default();
        assert_eq!(text(reading.config(&plain.path().join("quayctl.toml"), 99)), "plain");
        assert_eq!(text(reading.beside(Path::new("sub/a.hbs"), 99)), "below");
        assert_eq!(text(reading.beside(Path::new("sub/a.hbs"), 3)), "belo");

        let mut reading = Reading::default();
        assert_eq!(text(reading.config(&plain.path().join("gone/quayctl.toml"), 99)), "entity not found");
        assert!(!reading.is_torn());

        // A mount without the config is not left for the paths in it: those may lead to the next version.
        let mount = tempfile::tempdir().unwrap();
        swap(mount.path(), &[("a.hbs", "one")]);
        let mut reading = Reading::default();
        assert_eq!(text(reading.config(&mount.path().join("quayctl.toml"), 99)), "entity not found");
        assert!(!reading.is_torn());
        swap(mount.path(), &[("quayctl.toml", "two"), ("a.hbs", "two")]);
        assert!(reading.is_torn());
        assert_eq!(text(reading.beside(Path::new("a.hbs"), 99)), "entity not found");
    }

    #[test]
    fn no_link_leads_out_of_the_folder_but_the_config_itself() {
        use std::os::unix::fs::symlink;
        let (elsewhere, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("quayctl.toml"), "config").unwrap();
        fs::write(elsewhere.path().join("secret"), "secret").unwrap();
        fs::write(folder.path().join("plain.hbs"), "plain").unwrap();
        symlink(elsewhere.path().join("quayctl.toml"), folder.path().join("quayctl.toml")).unwrap();
        symlink(elsewhere.path().join("secret"), folder.path().join("absolute.hbs")).unwrap();
        symlink(Path::new("..").join(elsewhere.path().file_name().unwrap()), folder.path().join("out"))
            .unwrap();
        symlink("plain.hbs", folder.path().join("within.hbs")).unwrap();
        let mut reading = Reading::default();
        assert_eq!(text(reading.config(&folder.path().join("quayctl.toml"), 99)), "config");
        assert_eq!(text(reading.beside(Path::new("within.hbs"), 99)), "plain");
        for name in ["absolute.hbs", "out/secret"] {
            let error = reading.beside(Path::new(name), 99).unwrap_err();
            assert!(error.to_string().contains("leads out of the config's folder"), "{error}");
        }
    }

    #[test]
    fn a_fingerprint_follows_names_bytes_and_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("quayctl.toml"), "a").unwrap();
        let config = folder.path().join("quayctl.toml");
        let fingerprint = |beside: &[&str]| {
            let mut reading = Reading::default();
            let _ = reading.config(&config, 99);
            beside.iter().for_each(|name| drop(reading.beside(Path::new(name), 99)));
            reading.fingerprint()
        };
        let mut states = vec![fingerprint(&[]), fingerprint(&["a.hbs"]), fingerprint(&["b.hbs"])];
        assert_eq!(fingerprint(&["a.hbs"]), states[1]);
        fs::write(folder.path().join("a.hbs"), "").unwrap();
        states.push(fingerprint(&["a.hbs"]));
        fs::write(folder.path().join("a.hbs"), "b").unwrap();
        states.push(fingerprint(&["a.hbs"]));
        fs::write(&config, "b").unwrap();
        states.push(fingerprint(&["a.hbs"]));
        fs::remove_file(&config).unwrap();
        states.push(fingerprint(&["a.hbs"]));
        states.sort();
        states.dedup();
        assert_eq!(states.len(), 7);
    }
}
