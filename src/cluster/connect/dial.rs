//! Makes a connection: direct or through a proxy, with TLS or without.
//!
//! Every error says at which station of the way it happened.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_socks::tcp::Socks5Stream;
use tower::Service;

use super::proxy::{Kind, Proxy};
use super::tls::{self, Tls};

/// Which way connections take.
#[derive(Clone, Debug)]
pub struct Dial {
    pub proxy: Option<Proxy>,
    /// `None` where neither the server nor its proxy has any.
    pub tls: Option<Tls>,
    tcp: HttpConnector,
}

#[derive(Debug, Error)]
pub enum DialError {
    #[error("{0}")]
    Tcp(String),
    #[error("the proxy {proxy} cannot be reached: {cause}")]
    Proxy { proxy: String, cause: String },
    #[error("the proxy {proxy} answered {status}{hint}")]
    Refused { proxy: String, status: StatusCode, hint: &'static str },
    #[error("the proxy {proxy} did not connect us: {cause}")]
    Socks { proxy: String, cause: String },
    #[error("{0}")]
    Tls(String),
    #[error("{0:?} is no name that a server can have")]
    Name(String),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
type Io = Box<dyn Stream>;

/// A connection, ready for requests.
pub struct Line {
    io: TokioIo<Io>,
    /// The other end is a proxy, which wants to be told the whole URL.
    is_proxied: bool,
}

impl Dial {
    pub fn new(proxy: Option<Proxy>, tls: Option<Tls>) -> Dial {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        Dial { proxy, tls, tcp }
    }

    async fn connect(self, server: Uri) -> Result<Line, DialError> {
        let has_tls = server.scheme() == Some(&Scheme::HTTPS);
        let host = server.host().unwrap_or_default().to_owned();
        let mut is_proxied = false;
        let io = match &self.proxy {
            None => self.tcp(&server).await.map_err(DialError::Tcp)?,
            Some(proxy) => {
                let io = self.to_proxy(proxy).await?;
                let port = server.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
                match (proxy.kind, has_tls) {
                    (Kind::Socks5, _) => through_socks(proxy, io, &host, port).await?,
                    (Kind::Http | Kind::Https, true) => through_tunnel(proxy, io, &host, port).await?,
                    (Kind::Http | Kind::Https, false) => {
                        is_proxied = true;
                        io
                    }
                }
            }
        };
        let io = match has_tls {
            true => self.secured(io, &host).await?,
            false => io,
        };
        Ok(Line { io: TokioIo::new(io), is_proxied })
    }

    async fn tcp(&self, url: &Uri) -> Result<Io, String> {
        match self.tcp.clone().call(url.clone()).await {
            Ok(stream) => Ok(Box::new(stream.into_inner())),
            Err(error) => Err(innermost(&error)),
        }
    }

    async fn to_proxy(&self, proxy: &Proxy) -> Result<Io, DialError> {
        let unreachable = |cause| DialError::Proxy { proxy: proxy.shown(), cause };
        let url = Uri::builder().scheme("http").authority(proxy.address.clone()).path_and_query("/").build();
        let url = url.map_err(|error| unreachable(error.to_string()))?;
        let io = self.tcp(&url).await.map_err(unreachable)?;
        match proxy.kind {
            // As Go: with the settings that are for the server, its certificate authority included.
            Kind::Https => {
                self.secured(io, proxy.address.host()).await.map_err(|error| unreachable(error.to_string()))
            }
            Kind::Http | Kind::Socks5 => Ok(io),
        }
    }

    async fn secured(&self, io: Io, host: &str) -> Result<Io, DialError> {
        let Some(Tls { config, server_name }) = &self.tls else {
            return Err(DialError::Tls("there is no TLS".to_owned()));
        };
        let name: Option<ServerName<'static>> = server_name.clone().or_else(|| tls::server_name(host));
        let name = name.ok_or_else(|| DialError::Name(host.to_owned()))?;
        let connected = TlsConnector::from(config.clone()).connect(name, io).await;
        let connected = connected.map_err(|error| {
            let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            DialError::Tls(match of_tls {
                Some(error) => tls::words(error),
                None => format!("the connection broke during the TLS handshake: {error}"),
            })
        })?;
        Ok(Box::new(connected))
    }
}

/// `CONNECT`: from its answer on what goes over the connection is the server's.
async fn through_tunnel(proxy: &Proxy, io: Io, host: &str, port: u16) -> Result<Io, DialError> {
    let broken =
        |cause: &dyn std::fmt::Display| DialError::Proxy { proxy: proxy.shown(), cause: cause.to_string() };
    let target = format!("{host}:{port}");
    let authority: Authority = target.parse().map_err(|_| DialError::Name(target.clone()))?;
    let mut request =
        Request::builder().method(Method::CONNECT).uri(Uri::from(authority)).header("host", &target);
    if let Some(login) = proxy_authorization(proxy) {
        request = request.header("proxy-authorization", login);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(io)).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
    // It ends with the answer, or when nobody waits for that any longer.
    tokio::spawn(connection.with_upgrades());
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| broken(&error))?;
    // Go wants this code and no other 2xx.
    if answer.status() != StatusCode::OK {
        let hint = match answer.status() {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if proxy.login.is_some() => {
                "; see the password in its address"
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                "; write its address as `http://USER:PASSWORD@HOST:PORT`"
            }
            _ => "",
        };
        return Err(DialError::Refused { proxy: proxy.shown(), status: answer.status(), hint });
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(|error| broken(&error))?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

/// The name goes to the proxy as it is, with `socks5` as with `socks5h`.
async fn through_socks(proxy: &Proxy, io: Io, host: &str, port: u16) -> Result<Io, DialError> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let connected = match &proxy.login {
        None => Socks5Stream::connect_with_socket(io, (host, port)).await,
        Some((user, password)) => {
            let password = password.expose_secret();
            Socks5Stream::connect_with_password_and_socket(io, (host, port), user, password).await
        }
    };
    let refused =
        |error: tokio_socks::Error| DialError::Socks { proxy: proxy.shown(), cause: error.to_string() };
    Ok(Box::new(connected.map_err(refused)?.into_inner()))
}

/// What tells a proxy who we are.
pub fn proxy_authorization(proxy: &Proxy) -> Option<HeaderValue> {
    let (user, password) = proxy.login.as_ref()?;
    super::credentials::basic(user, password.expose_secret()).ok()
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

impl Service<Uri> for Dial {
    type Response = Line;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Line, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        Box::pin(self.clone().connect(server))
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
