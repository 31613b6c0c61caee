//! Bounds for connections of whom we know nothing: how many, for how long, how much they may say.
//!
//! A connection carries one short request, so it needs neither long nor many bytes. Where too many are
//! open, the oldest makes room: a client that is slow on purpose then only keeps itself waiting.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

/// Prometheus and a few probes; each of them has one open at a time.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Prometheus' own limit for a scrape.
const LIFETIME: Duration = Duration::from_secs(10);
/// A request line and headers; a scraper's are some 500.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// What is open, oldest first. Dropping an entry ends its connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<VecDeque<oneshot::Sender<Infallible>>>>);

impl Connections {
    fn admit(&self) -> oneshot::Receiver<Infallible> {
        let (open, ended) = oneshot::channel();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|open| !open.is_closed());
        if all.len() >= CONNECTIONS_MAX {
            all.pop_front();
        }
        all.push_back(open);
        ended
    }

    /// Ends all of them.
    pub fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A listener whose connections are bounded.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    connections: Connections,
}

impl Bounded {
    pub fn new(listener: TcpListener, connections: Connections) -> Bounded {
        Bounded { listener, connections }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // axum's own: it waits where the process is out of file descriptors.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let ended = self.connections.admit();
        let lifetime = Box::pin(sleep(LIFETIME));
        (Connection { stream, lifetime, ended, over: false, may_say: REQUEST_BYTES_MAX }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A stream that fails once it is over its bounds.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    lifetime: Pin<Box<Sleep>>,
    ended: oneshot::Receiver<Infallible>,
    over: bool,
    may_say: usize,
}

impl Connection {
    /// Fails where its time is up, and has the task woken when it will be.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.over = self.over
            || self.lifetime.as_mut().poll(context).is_ready()
            || Pin::new(&mut self.ended).poll(context).is_ready();
        if self.over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        match self.may_say.checked_sub(buffer.filled().len() - before) {
            Some(left) => self.may_say = left,
            None => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
