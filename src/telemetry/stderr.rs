//! Standard error, which nobody may be reading: a pipe that is full, a terminal that is held, a disk
//! without space.
//!
//! What is written is queued, and one thread of its own writes it. So no reader ever stops the thread that
//! works and listens to signals. The queue is bounded: what does not fit is left out and counted, and the
//! count is written as soon as there is room. An error ends nothing.
//!
//! `tracing-appender` has such a queue for log lines, but its guard prints to stdout where the queue is
//! full, and the progress bar and the last word of an error must go the same way as the log.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;

/// Log lines and bars that wait for a reader. A line has some 150 bytes, so these are thousands.
const QUEUED_BYTES_MAX: usize = 512 << 10;
/// How long a reader may take none of it at the end of a process that signals do not end by themselves.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// A stream that somebody has made non-blocking is asked again after this.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// The standard error of this process.
pub fn stderr() -> &'static Stderr {
    static STDERR: OnceLock<Stderr> = OnceLock::new();
    STDERR.get_or_init(Stderr::default)
}

/// A bounded queue before a stream, and the thread that writes it.
#[derive(Debug, Default)]
pub struct Stderr {
    state: Mutex<State>,
    /// Something was queued.
    queued: Condvar,
    /// Something was written.
    written: Condvar,
    /// Is taken off the terminal while a line is written.
    bar: Mutex<Option<ProgressBar>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// Lines that did not fit since the last one that did.
    dropped: u64,
    /// The thread has taken one and writes it.
    is_writing: bool,
    written_bytes: u64,
    writer: Writer,
    /// Signals are handled, so nobody but us ends a wait.
    flush_is_bounded: bool,
}

#[derive(Debug, Default)]
enum Writer {
    #[default]
    None,
    Running,
    /// There is no thread to be had: lines are left out, words for people are written directly.
    Failed,
}

impl Stderr {
    /// Queues log lines; never waits.
    pub fn log(&'static self, line: &[u8]) {
        self.beside_the_bar(|| self.push(line.to_vec(), QUEUED_BYTES_MAX));
    }

    /// Queues what is drawn on a terminal.
    pub fn draw(&'static self, frame: Vec<u8>) {
        self.push(frame, QUEUED_BYTES_MAX);
    }

    /// Queues words that are said once and must not be lost, whatever waits already.
    pub fn say(&'static self, text: &str) {
        self.beside_the_bar(|| self.push(text.as_bytes().to_vec(), usize::MAX));
    }

    /// Sets the bar that stands below all lines.
    pub fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// From now on a flush gives up where the reader takes nothing: signals do not end the process.
    pub fn bound_flush(&self) {
        self.state().flush_is_bounded = true;
    }

    /// Waits until all is written that was queued.
    pub fn flush(&self) {
        let limit = self.state().flush_is_bounded.then_some(FLUSH_TIMEOUT);
        self.flush_within(limit);
    }

    /// False where nothing was written for as long as `limit`.
    fn flush_within(&self, limit: Option<Duration>) -> bool {
        let mut state = self.state();
        loop {
            if matches!(state.writer, Writer::None | Writer::Failed) {
                return true;
            }
            if state.waiting.is_empty() && !state.is_writing && state.dropped == 0 {
                return true;
            }
            let before = state.written_bytes;
            let timed_out;
            (state, timed_out) = match limit {
                Some(limit) => {
                    let waited = self.written.wait_timeout(state, limit);
                    let (state, result) = waited.unwrap_or_else(PoisonError::into_inner);
                    (state, result.timed_out())
                }
                None => (self.written.wait(state).unwrap_or_else(PoisonError::into_inner), false),
            };
            if timed_out && state.written_bytes == before {
                return false;
            }
        }
    }

    fn push(&'static self, text: Vec<u8>, bytes_max: usize) {
        let mut state = self.state();
        if let Writer::None = state.writer {
            let thread = std::thread::Builder::new().name("stderr".to_owned());
            let spawned = thread.spawn(|| self.write_all_that_comes(&mut own_stderr()));
            state.writer = if spawned.is_ok() { Writer::Running } else { Writer::Failed };
        }
        if let Writer::Failed = state.writer {
            drop(state);
            if bytes_max == usize::MAX {
                let _ = io::stderr().write_all(&text);
            }
            return;
        }
        if state.waiting_bytes + text.len() > bytes_max && !state.waiting.is_empty() {
            state.dropped += 1;
            return;
        }
        state.waiting_bytes += text.len();
        state.waiting.push_back(text);
        self.queued.notify_all();
    }

    /// The thread's loop.
    fn write_all_that_comes(&self, stream: &mut dyn Write) {
        loop {
            let text = self.take();
            self.write(stream, &text);
            self.state().is_writing = false;
            self.written.notify_all();
        }
    }

    fn take(&self) -> Vec<u8> {
        let mut state = self.state();
        loop {
            if let Some(text) = state.waiting.pop_front() {
                state.waiting_bytes -= text.len();
                state.is_writing = true;
                return text;
            }
            if state.dropped > 0 {
                let dropped = std::mem::take(&mut state.dropped);
                state.is_writing = true;
                let lines = if dropped == 1 { "line was" } else { "lines were" };
                return format!("… {dropped} log {lines} left out: stderr was not read fast enough\n").into();
            }
            state = self.queued.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What cannot be written is lost: there is nobody to tell.
    fn write(&self, stream: &mut dyn Write, mut text: &[u8]) {
        while !text.is_empty() {
            match stream.write(text) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    text = text.get(count..).unwrap_or_default();
                    self.state().written_bytes += count as u64;
                    self.written.notify_all();
                }
            }
        }
    }

    /// Takes the bar off the terminal for as long as `write` takes, and puts it below.
    fn beside_the_bar(&self, write: impl FnOnce()) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the log: one event is one call of `write`.
#[derive(Debug)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        stderr().log(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Without the standard library's lock, which the thread would hold while it waits for a reader, and a
/// panic's message needs.
fn own_stderr() -> Box<dyn Write> {
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(stderr) => Box::new(Patient(File::from(stderr))),
        Err(_) => Box::new(Patient(io::stderr())),
    }
}

/// A stream that waits where its file is non-blocking and full: whoever shares the file may have made it
/// so, and a person's terminal often is.
#[derive(Debug)]
pub struct Patient<W>(pub W);

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY_DELAY),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        loop {
            match self.0.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY_DELAY),
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a byte for each permit, and then says what it has.
    struct Reader {
        permits: mpsc::Receiver<()>,
        seen: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.permits.recv() {
                Ok(()) => {
                    let _ = self.seen.send(bytes.to_vec());
                    Ok(bytes.len())
                }
                Err(_) => Err(ErrorKind::StorageFull.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (&'static Stderr, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let queue: &'static Stderr = Box::leak(Box::default());
        queue.state().writer = Writer::Running;
        let ((permit, permits), (seen, read)) = (mpsc::channel(), mpsc::channel());
        std::thread::spawn(move || queue.write_all_that_comes(&mut Reader { permits, seen }));
        (queue, permit, read)
    }

    fn next(read: &mpsc::Receiver<Vec<u8>>) -> String {
        String::from_utf8(read.recv_timeout(Duration::from_secs(20)).unwrap()).unwrap()
    }

    #[test]
    fn a_reader_that_takes_nothing_stops_nobody_and_is_told_what_it_missed() {
        let (queue, permit, read) = queue();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        for _ in 0..2000 {
            queue.log(&line);
        }
        assert!(queue.state().waiting_bytes <= QUEUED_BYTES_MAX);
        queue.say("the last word\n");
        assert!(!queue.flush_within(Some(Duration::from_millis(20))));
        (0..2000).for_each(|_| permit.send(()).unwrap());
        assert!(queue.flush_within(Some(Duration::from_secs(20))));
        let all: Vec<String> = std::iter::from_fn(|| read.try_recv().ok())
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect();
        let kept = all.iter().filter(|text| text.len() == 1024).count();
        assert!((512..=514).contains(&kept), "{kept}");
        let [.., word, count] = &all[..] else { panic!("{all:?}") };
        assert_eq!(word, "the last word\n");
        assert_eq!(
            *count,
            format!("… {} log lines were left out: stderr was not read fast enough\n", 2000 - kept)
        );
    }

    #[test]
    fn a_stream_that_fails_loses_the_line_and_nothing_else() {
        let (queue, permit, read) = queue();
        permit.send(()).unwrap();
        queue.log(b"one\n");
        assert_eq!(next(&read), "one\n");
        drop(permit);
        queue.log(b"two\n");
        queue.say("three\n");
        assert!(queue.flush_within(Some(Duration::from_secs(20))));
        assert!(read.try_recv().is_err());
    }

    #[test]
    fn a_stream_that_is_not_ready_is_asked_again() {
        struct Busy(u8, Vec<u8>);
        impl Write for Busy {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 % 3 {
                    0 => self.1.write(bytes),
                    1 => Err(ErrorKind::WouldBlock.into()),
                    _ => Err(ErrorKind::Interrupted.into()),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut stream = Patient(Busy(0, Vec::new()));
        stream.write_all(b"words").unwrap();
        assert_eq!(stream.0.1, b"words");
    }
}
