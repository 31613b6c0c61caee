//! How commands write: data to stdout, words for people to stderr, and reports off the thread that
//! listens to signals.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::signals::Signals;
use super::{CommandError, FAILURE};
use crate::telemetry::{Patient, stderr};

/// How long what is being written may take once a signal has come: the reader may just be slow. Well
/// within the 30 s that Kubernetes gives a pod.
const WRITE_GRACE: Duration = Duration::from_secs(3);

/// Writes data to stdout.
pub fn write_stdout(text: &str) -> Result<(), CommandError> {
    stream_to_stdout(|stdout| stdout.write_all(text.as_bytes()))
}

/// Lets `write` write to stdout. A reader that has seen enough, as in `| head -1`, is no error.
pub fn stream_to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CommandError> {
    // Both may be the same terminal.
    stderr().flush();
    let written = own_stdout().and_then(|stdout| {
        let mut stdout = io::BufWriter::new(Patient(stdout));
        let written = write(&mut stdout).and_then(|()| stdout.flush());
        // What is left in the buffer of one that failed would be tried again.
        drop(stdout.into_parts());
        written
    });
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(CommandError::Output { what: "to stdout".to_owned(), source }),
        Ok(()) => Ok(()),
    }
}

/// Without the standard library's lock and line buffer: a thread that waits for a reader would hold them.
fn own_stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Writes words for people to stderr, which nobody may be reading.
pub fn write_stderr(text: &str) {
    stderr().say(text);
}

/// Does `write` on a thread of its own, so that signals are heard while a reader takes nothing. Once one
/// has come, `write` has a few seconds; then it is left behind.
pub async fn write_aside(
    signals: &Signals,
    write: impl FnOnce() -> Result<(), CommandError> + Send + 'static,
) -> Result<(), CommandError> {
    let (sender, written) = oneshot::channel();
    let thread = std::thread::Builder::new().name("report".to_owned());
    let spawned = thread.spawn(move || sender.send(write()));
    spawned.map_err(|source| CommandError::Output { what: "the report".to_owned(), source })?;
    let given_up = async {
        signals.stop.cancelled().await;
        sleep(WRITE_GRACE).await;
    };
    tokio::select! {
        // The sender is not dropped unused but by a panic, which has been told of.
        written = written => written.unwrap_or(Err(CommandError::Stopped(FAILURE))),
        () = given_up => Err(CommandError::Stopped(signals.exit_code().unwrap_or(FAILURE))),
    }
}
