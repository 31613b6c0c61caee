//! Turns signals into a wish to stop: the first one lets the run report, the second ends at once.
//!
//! They are heard on a thread of their own, whatever the one that works is doing.

use std::io::{self, IsTerminal};
use std::sync::mpsc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::telemetry::stderr;

/// Exit codes of a process that a signal has ended, by the shell's convention of 128 + number.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Listens for SIGINT and SIGTERM until the process ends.
#[derive(Debug)]
pub struct Signals {
    /// Cancelled by the first signal.
    pub stop: CancellationToken,
    received: watch::Receiver<Option<u8>>,
}

impl Signals {
    /// From now on signals do not end the process by themselves, so no reader of stderr may hold up its end
    /// either.
    pub fn listen() -> io::Result<Signals> {
        let stop = CancellationToken::new();
        let (sender, received) = watch::channel(None);
        let (ready, is_ready) = mpsc::sync_channel(1);
        let token = stop.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let followed = runtime.and_then(|runtime| runtime.block_on(follow(token, sender, &ready)));
            if let Err(error) = followed {
                let _ = ready.send(Err(error));
            }
        })?;
        is_ready.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that listens has ended")))?;
        stderr().bound_flush();
        Ok(Signals { stop, received })
    }

    /// The exit code that the first signal asks for.
    pub fn exit_code(&self) -> Option<u8> {
        *self.received.borrow()
    }
}

async fn follow(
    stop: CancellationToken,
    sender: watch::Sender<Option<u8>>,
    ready: &mpsc::SyncSender<io::Result<()>>,
) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let _ = ready.send(Ok(()));
    let code = next(&mut interrupt, &mut terminate).await;
    // Said before it is done: a run that has nothing to wait for ends at once. Whoever sends SIGTERM has no
    // keys, and will not send it to have no report.
    match code == INTERRUPTED && io::stdin().is_terminal() {
        true => tracing::info!("stopping: no further Jobs are created; press Ctrl-C again to exit at once"),
        false => tracing::info!("stopping: no further Jobs are created"),
    }
    sender.send_replace(Some(code));
    stop.cancel();
    let code = next(&mut interrupt, &mut terminate).await;
    end_at_once(code)
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupt.recv() => INTERRUPTED,
        _ = terminate.recv() => TERMINATED,
    }
}

#[expect(clippy::disallowed_methods, reason = "a second signal means: leave, whatever is under way")]
fn end_at_once(code: u8) -> ! {
    std::process::exit(code.into())
}
