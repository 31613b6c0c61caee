//! Reads a config and the files beside it from one version of their folder.
//!
//! A mounted ConfigMap is a folder of links into `..data`, itself a link to the folder of the version in
//! force. The kubelet writes a new version beside the old one, under a name that was not used before, turns
//! `..data` to it and removes the old one. So the folder's real path is looked up once, and all is read by
//! that path: it leads to one version, or to nothing any more.
//!
//! May touch the file system, to read. Never waits for a change: that is `watch`'s work.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::input::{Input, open_file};
use crate::config::sha256_hex;

/// The link that the kubelet turns to the version in force.
const DATA: &str = "..data";

/// What one load reads, and what it has read.
#[derive(Debug, Default)]
pub struct ConfigSnapshot {
    dir: Option<ConfigDir>,
    /// A line for each file that was asked for: its name, and the hash of its bytes or why there are none.
    seen: String,
    has_failed: bool,
}

/// The folder of a config.
#[derive(Debug)]
struct ConfigDir {
    /// What led to it then, and may lead to another version by now.
    link: PathBuf,
    /// Without links; an error where there was nothing.
    real: io::Result<PathBuf>,
}

impl ConfigSnapshot {
    /// The bytes of the config, of at most `bytes_max` and one more. What is read beside it comes from
    /// the same version of its folder.
    pub fn config(&mut self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let opened = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => self
                .dir
                .insert(ConfigDir::of(parent, name.as_ref()))
                .path_of(name.as_ref())
                .and_then(|path| open_file(&path)),
            _ => open_file(path),
        };
        self.read(path, opened.and_then(Input::new), bytes_max)
    }

    /// The same of a file that is named relative to the config, and that no link leads out of its folder.
    pub fn sibling(&mut self, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let opened = match &self.dir {
            Some(dir) => dir.open_within(file),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        self.read(file, opened.and_then(Input::of_file), bytes_max)
    }

    /// Whether the version was removed while it was read, so that what was missing is not missing.
    pub fn changed_during_read(&self) -> bool {
        self.has_failed && self.dir.as_ref().is_some_and(ConfigDir::is_replaced)
    }

    /// Tells what was read, and what was missing, from any other state of the files.
    pub fn fingerprint(&self) -> String {
        sha256_hex(self.seen.as_bytes())
    }

    fn read(&mut self, name: &Path, opened: io::Result<Input>, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = opened.and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
        let state = match &read {
            Ok(_) => sha256_hex(&bytes),
            Err(error) => error.to_string(),
        };
        self.seen.push_str(&format!("{name:?} {state}\n"));
        self.has_failed |= read.is_err();
        read.map(|_| bytes)
    }
}

/// Whether `path` can be read only once, as a pipe.
pub fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

impl ConfigDir {
    /// The version in force where `config` is mounted in `parent`, else `parent` itself.
    fn of(parent: &Path, config: &Path) -> ConfigDir {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let link = if is_mounted(parent, config) { parent.join(DATA) } else { parent.to_owned() };
        ConfigDir { real: link.canonicalize(), link }
    }

    fn path_of(&self, name: &Path) -> io::Result<PathBuf> {
        match &self.real {
            Ok(real) => Ok(real.join(name)),
            Err(error) => Err(error.kind().into()),
        }
    }

    /// Opens `name`, but not through a link that leads out of the folder: whoever may write a file into it
    /// would choose what is read in our name. The kubelet's own links stay within.
    fn open_within(&self, name: &Path) -> io::Result<File> {
        let file = open_file(&self.path_of(name)?)?;
        // Of the file that is open, as links may be turned between a look at them and the opening.
        let opened = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        match &self.real {
            Ok(real) if opened.starts_with(real) => Ok(file),
            _ => {
                let message = "it is a link that leads out of the config's folder; put the file itself there";
                Err(io::Error::other(message))
            }
        }
    }

    fn is_replaced(&self) -> bool {
        self.link.canonicalize().ok() != self.real.as_ref().ok().cloned()
    }
}

/// Whether the kubelet has put `config` into this folder, or would: it puts nothing but links there.
fn is_mounted(folder: &Path, config: &Path) -> bool {
    match folder.join(config).read_link() {
        Ok(target) => target.starts_with(DATA),
        Err(error) => error.kind() == io::ErrorKind::NotFound && folder.join(DATA).is_symlink(),
    }
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
        let mut snapshot = ConfigSnapshot::default();
        assert_eq!(text(snapshot.config(&config, 99)), "one");
        assert!(!snapshot.changed_during_read());
        swap(mount.path(), &[("quayctl.toml", "two"), ("a.hbs", "two")]);
        assert_eq!(text(snapshot.sibling(Path::new("a.hbs"), 99)), "entity not found");
        assert!(snapshot.changed_during_read());

        let mut snapshot = ConfigSnapshot::default();
        assert_eq!(text(snapshot.config(&config, 99)), "two");
        assert_eq!(text(snapshot.sibling(Path::new("a.hbs"), 99)), "two");
        // What no version has is missing for good.
        assert_eq!(text(snapshot.sibling(Path::new("b.hbs"), 99)), "entity not found");
        assert!(!snapshot.changed_during_read());
    }

    #[test]
    fn folders_of_every_kind_are_read() {
        let plain = tempfile::tempdir().unwrap();
        fs::create_dir(plain.path().join("sub")).unwrap();
        fs::write(plain.path().join("quayctl.toml"), "plain").unwrap();
        fs::write(plain.path().join("sub/a.hbs"), "below").unwrap();
        // A `..data` that the config is no link into is somebody else's.
        fs::create_dir(plain.path().join(DATA)).unwrap();
        let mut snapshot = ConfigSnapshot::default();
        assert_eq!(text(snapshot.config(&plain.path().join("quayctl.toml"), 99)), "plain");
        assert_eq!(text(snapshot.sibling(Path::new("sub/a.hbs"), 99)), "below");
        assert_eq!(text(snapshot.sibling(Path::new("sub/a.hbs"), 3)), "belo");

        let mut snapshot = ConfigSnapshot::default();
        assert_eq!(text(snapshot.config(&plain.path().join("gone/quayctl.toml"), 99)), "entity not found");
        assert!(!snapshot.changed_during_read());

        // A mount without the config is not left for the paths in it: those may lead to the next version.
        let mount = tempfile::tempdir().unwrap();
        swap(mount.path(), &[("a.hbs", "one")]);
        let mut snapshot = ConfigSnapshot::default();
        assert_eq!(text(snapshot.config(&mount.path().join("quayctl.toml"), 99)), "entity not found");
        assert!(!snapshot.changed_during_read());
        swap(mount.path(), &[("quayctl.toml", "two"), ("a.hbs", "two")]);
        assert!(snapshot.changed_during_read());
        assert_eq!(text(snapshot.sibling(Path::new("a.hbs"), 99)), "entity not found");
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
        let mut snapshot = ConfigSnapshot::default();
        assert_eq!(text(snapshot.config(&folder.path().join("quayctl.toml"), 99)), "config");
        assert_eq!(text(snapshot.sibling(Path::new("within.hbs"), 99)), "plain");
        for name in ["absolute.hbs", "out/secret"] {
            let error = snapshot.sibling(Path::new(name), 99).unwrap_err();
            assert!(error.to_string().contains("leads out of the config's folder"), "{error}");
        }
    }

    #[test]
    fn a_fingerprint_follows_names_bytes_and_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("quayctl.toml"), "a").unwrap();
        let config = folder.path().join("quayctl.toml");
        let fingerprint = |siblings: &[&str]| {
            let mut snapshot = ConfigSnapshot::default();
            let _ = snapshot.config(&config, 99);
            siblings.iter().for_each(|name| drop(snapshot.sibling(Path::new(name), 99)));
            snapshot.fingerprint()
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
