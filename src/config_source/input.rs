//! Opens a file that somebody named, and never waits for ever to do so.
//!
//! Opening a named pipe waits until somebody writes into it. So files are opened without waiting, and what
//! turns out to be a pipe is looked at: `<(kubectl get nodes)` has a writer from the beginning, and one
//! without is refused. May touch the file system, to read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, openat};
use rustix::io::retry_on_intr;

/// A writer that is started beside us, as by a script, opens its end within this.
const WRITER_PAUSE: Duration = Duration::from_millis(50);
const WRITER_TRIES: usize = 40;

/// A file, or a pipe that somebody writes into.
#[derive(Debug)]
pub struct Input {
    /// What was read to see whether there is a writer.
    first: Option<u8>,
    file: File,
}

/// Opens `path`, whatever it is.
pub fn open(path: &Path) -> io::Result<Input> {
    Input::new(open_file(path)?)
}

/// Opens `path` without waiting for anything.
pub fn open_file(path: &Path) -> io::Result<File> {
    let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(retry_on_intr(|| openat(CWD, path, how, Mode::empty()))?))
}

impl Input {
    /// Takes a file from [`open_file`] for what it is.
    pub fn new(file: File) -> io::Result<Input> {
        let mut input = Input { first: None, file };
        if kind(&input.file)? == FileType::Fifo {
            input.find_writer()?;
        }
        fcntl_setfl(&input.file, fcntl_getfl(&input.file)? - OFlags::NONBLOCK)?;
        Ok(input)
    }

    /// The same, and refuses pipes, sockets and devices: what is read again when it changes must be there
    /// to be read again.
    pub fn of_file(file: File) -> io::Result<Input> {
        match kind(&file)? {
            FileType::RegularFile | FileType::Directory => Input::new(file),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe or a device, not a file")),
        }
    }

    fn find_writer(&mut self) -> io::Result<()> {
        for _ in 0..WRITER_TRIES {
            let mut byte = [0];
            match self.file.read(&mut byte) {
                Ok(0) => sleep(WRITER_PAUSE),
                Ok(_) => {
                    self.first = Some(byte[0]);
                    return Ok(());
                }
                // Somebody holds the other end, and has not written yet.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe, and nobody writes into it"))
    }
}

impl Read for Input {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match (self.first, to.first_mut()) {
            (Some(byte), Some(place)) => {
                *place = byte;
                self.first = None;
                Ok(1)
            }
            _ => self.file.read(to),
        }
    }
}

fn kind(file: &File) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write what is read")]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn pipe() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        (folder, path)
    }

    fn text(mut input: Input) -> String {
        let mut text = String::new();
        input.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_pipe_without_a_writer_is_refused() {
        let (_folder, path) = pipe();
        assert!(open(&path).unwrap_err().to_string().contains("nobody writes"));
        let refused = Input::of_file(open_file(&path).unwrap()).unwrap_err();
        assert!(refused.to_string().contains("not a file"));
    }

    #[test]
    fn a_pipe_with_a_writer_is_read_to_its_end() {
        let (_folder, path) = pipe();
        let script = format!("exec >{}; sleep 0.3; echo one; sleep 0.3; echo two", path.display());
        let mut writer = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap();
        assert_eq!(text(open(&path).unwrap()), "one\ntwo\n");
        assert!(writer.wait().unwrap().success());
    }

    #[test]
    fn files_and_devices_are_read_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(text(open(&path).unwrap()), "text");
        assert_eq!(text(Input::of_file(open_file(&path).unwrap()).unwrap()), "text");
        assert_eq!(text(open(Path::new("/dev/null")).unwrap()), "");
        assert_eq!(open(&folder.path().join("gone")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
