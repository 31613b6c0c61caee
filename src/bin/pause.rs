//! The static helper that carries image volumes and the template `helper`; `/pause` in our image.
//!
//! It has the interface of registry.k8s.io/pause and one word more, so that the same command works
//! with either image: `-v` says its version, no argument waits to be ended, `--install DEST` copies
//! this program to where containers of other images can run it. It writes that one file and reads
//! itself; it never talks to a network, and links nothing but the standard library, because every
//! node gets it.
#![expect(clippy::disallowed_methods, reason = "a program of its own reads its own arguments")]

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, process, thread};

const VERSION: &str = concat!("pause (quayctl-controller) ", env!("CARGO_PKG_VERSION"));
const USAGE: &str = "usage: pause [-v | --install DEST]";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.iter().map(OsString::as_os_str).collect::<Vec<&OsStr>>().as_slice() {
        [] => wait(),
        [flag] if *flag == "-v" => {
            // Whether anybody reads it is no matter: the container has been started, so its image is there.
            let _ = writeln!(io::stdout(), "{VERSION}");
            ExitCode::SUCCESS
        }
        [flag, destination] if *flag == "--install" && !destination.is_empty() => {
            match install(Path::new(destination)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    let shown = Path::new(destination).display();
                    let _ = writeln!(io::stderr(), "pause: failed to install {shown}: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => {
            let _ = writeln!(io::stderr(), "{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Waits for SIGTERM or SIGINT, whose default is to end the process. As process 1 of a container it
/// would not get them and so last until it is killed; the templates never start it that way.
fn wait() -> ! {
    loop {
        thread::park();
    }
}

/// Copies this program to `destination`, executable for every user: the containers that run it may
/// have another. The rename makes it whole or absent, and lets an init container run twice.
fn install(destination: &Path) -> io::Result<()> {
    let mut name = destination.as_os_str().to_owned();
    name.push(format!(".{}", process::id()));
    let copy = Path::new(&name);
    // Not the path that it was started by, which may be relative, gone or another program by now.
    let installed = fs::copy("/proc/self/exe", copy)
        .and_then(|_| fs::set_permissions(copy, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(copy, destination));
    if installed.is_err() {
        let _ = fs::remove_file(copy);
    }
    installed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installs_itself_twice_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("pause");
        for _ in 0..2 {
            install(&destination).unwrap();
        }
        let mode = fs::metadata(&destination).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert_eq!(fs::read(&destination).unwrap(), fs::read("/proc/self/exe").unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_in_the_way_is_an_error_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pause")).unwrap();
        install(&folder.path().join("pause")).unwrap_err();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
