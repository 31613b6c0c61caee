//! Turns signals into a wish to stop: the first one lets the run report, the second ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Exit codes of a process that a signal has ended, by the shell's convention of 128 + number.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Listens for SIGINT and SIGTERM until dropped with its runtime.
#[derive(Debug)]
pub struct Signals {
    /// Cancelled by the first signal.
    pub stop: CancellationToken,
    received: watch::Receiver<Option<u8>>,
}

impl Signals {
    /// Must be called within a tokio runtime.
    pub fn listen() -> std::io::Result<Signals> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let stop = CancellationToken::new();
        let (sender, received) = watch::channel(None);
        tokio::spawn(follow(interrupt, terminate, stop.clone(), sender));
        Ok(Signals { stop, received })
    }

    /// The exit code that the first signal asks for.
    pub fn exit_code(&self) -> Option<u8> {
        *self.received.borrow()
    }
}

async fn follow(
    mut interrupt: Signal,
    mut terminate: Signal,
    stop: CancellationToken,
    sender: watch::Sender<Option<u8>>,
) {
    let code = next(&mut interrupt, &mut terminate).await;
    sender.send_replace(Some(code));
    stop.cancel();
    tracing::info!("stopping: no further Jobs are created; press Ctrl-C again to leave without a report");
    let code = next(&mut interrupt, &mut terminate).await;
    end_at_once(code);
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupt.recv() => INTERRUPTED,
        _ = terminate.recv() => TERMINATED,
    }
}

#[expect(clippy::disallowed_methods, reason = "a second signal means: leave, whatever is under way")]
fn end_at_once(code: u8) {
    std::process::exit(code.into());
}
