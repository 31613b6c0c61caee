//! What tells the API server who we are, on every request.
//!
//! In place of kube's own layer, which panics on a token with a line break, runs a plugin twice, without a
//! limit and on the thread that everything else waits for, and repeats its output in errors. Everything is
//! checked before it is kept; a token's file is read and a plugin run again when it is time.
#![expect(clippy::disallowed_methods, reason = "credentials expire by the clock, and may be in a file")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode};
use kube::client::Body;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use super::access::{ClientCertificate, Login, Pem, Plugin};
use super::plugin;
use super::tls::Identity;

/// The kubelet renews a token well before it expires; client-go reads it as often.
const FILE_FOR: Duration = Duration::from_secs(60);
/// What expires on the way is refused.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);
/// How soon a file is read again that could not be read.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct CredentialError(pub String);

/// A header, and until when it is worth something; `None`: as long as it is not refused.
type Header = (HeaderValue, Option<Instant>);
type Refreshed = Result<Option<Header>, CredentialError>;

/// Where the header comes from.
#[derive(Clone)]
enum Source {
    Fixed,
    File(PathBuf),
    /// It gives a certificate as well, or instead.
    Plugin(Arc<Plugin>, Identity),
}

/// A layer that adds the header.
#[derive(Clone)]
pub struct Credentials {
    source: Source,
    first: Option<Header>,
}

impl Credentials {
    /// `url_user` is what stood before the `@` of the server's URL. A plugin's certificate goes to `identity`.
    pub async fn new(
        login: Login,
        url_user: Option<&str>,
        identity: &Identity,
    ) -> Result<Credentials, CredentialError> {
        let fixed = |header| Ok(Credentials { source: Source::Fixed, first: Some((header, None)) });
        // Go writes this one into the request before anybody else is asked.
        if let Some(user) = url_user {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            return fixed(basic(user, password)?);
        }
        match login {
            Login::Nothing => Ok(Credentials { source: Source::Fixed, first: None }),
            Login::Basic { user, password } => fixed(basic(&user, password.expose_secret())?),
            Login::Token { from, token } => fixed(bearer(token.expose_secret(), &from)?),
            Login::TokenFile { file, otherwise } => {
                let first = match (read_token(&file), otherwise) {
                    (Ok(token), _) => (token, Some(Instant::now() + FILE_FOR)),
                    (Err(_), Some(token)) => {
                        (bearer(token.expose_secret(), "`token`")?, Some(Instant::now() + AGAIN_AFTER))
                    }
                    (Err(error), None) => return Err(error),
                };
                Ok(Credentials { source: Source::File(file), first: Some(first) })
            }
            Login::Plugin(plugin) => {
                let plugin = Arc::from(plugin);
                let first = ask(&plugin, identity).await?;
                Ok(Credentials { source: Source::Plugin(plugin, identity.clone()), first })
            }
        }
    }
}

/// Runs the plugin, and checks what it gives.
async fn ask(plugin: &Plugin, identity: &Identity) -> Refreshed {
    let plugin::Answer { token, certificate, valid_for } =
        plugin::run(plugin).await.map_err(CredentialError)?;
    let until = valid_for.map(|valid| Instant::now() + valid.saturating_sub(EXPIRY_MARGIN));
    let text = |key: &str, text: String| Pem::Text {
        from: plugin::part(plugin, key),
        text: SecretString::from(text),
    };
    let certificate = certificate.map(|(certificate, key)| ClientCertificate {
        certificate: text("clientCertificateData", certificate),
        key: text("clientKeyData", key),
    });
    identity.replace(certificate.as_ref()).map_err(CredentialError)?;
    match token {
        Some(token) => Ok(Some((bearer(&token, &plugin::part(plugin, "token"))?, until))),
        None => Ok(None),
    }
}

fn read_token(file: &Path) -> Result<HeaderValue, CredentialError> {
    let cannot = |error: &dyn std::fmt::Display| {
        CredentialError(format!("cannot read the token in {}: {error}", file.display()))
    };
    super::kubeconfig::check_file(file).map_err(|error| cannot(&error))?;
    let text = std::fs::read_to_string(file).map_err(|error| cannot(&error))?;
    // As client-go reads it: editors and `echo` end a file with a line break.
    match text.trim() {
        "" => Err(cannot(&"it is empty")),
        token => bearer(token, &format!("the token in {}", file.display())),
    }
}

fn bearer(token: &str, what: &str) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        CredentialError(format!("{what} has a character that no header can have, such as a line break"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// HTTP basic authentication.
pub fn basic(user: &str, password: &str) -> Result<HeaderValue, CredentialError> {
    let login = STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {login}"))
        .map_err(|_| CredentialError("the user's name and password fit into no header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl<S> Layer<S> for Credentials {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Authorized<S> {
        let (header, until) = match &self.first {
            Some((header, until)) => (Some(header.clone()), *until),
            None => (None, None),
        };
        Authorized {
            inner,
            source: self.source.clone(),
            header,
            until,
            refused: Refused::default(),
            refresh: None,
            failed: None,
        }
    }
}

/// When an answer was 401, so that a plugin is asked anew.
#[derive(Clone, Default)]
struct Refused(Arc<std::sync::atomic::AtomicBool>);

/// A service whose requests say who sends them.
///
/// A refresh is made in `poll_ready`, as the client below has one request waiting at its door. One that
/// fails fails the request and not the service: the next asks again.
pub struct Authorized<S> {
    inner: S,
    source: Source,
    header: Option<HeaderValue>,
    /// `None`: as long as it is not refused.
    until: Option<Instant>,
    refused: Refused,
    refresh: Option<BoxFuture<'static, Refreshed>>,
    failed: Option<CredentialError>,
}

impl<S> Authorized<S> {
    /// Whether it is time to ask anew. Forgets that it was refused.
    fn take_stale(&self) -> bool {
        let was_refused = self.refused.0.swap(false, std::sync::atomic::Ordering::Relaxed);
        match &self.source {
            Source::Fixed => false,
            _ => {
                was_refused
                    || self.failed.is_some()
                    || self.until.is_some_and(|until| Instant::now() >= until)
            }
        }
    }

    fn refresh(&self) -> Option<BoxFuture<'static, Refreshed>> {
        match &self.source {
            Source::Fixed => None,
            Source::File(file) => {
                let read = read_token(file).map(|header| Some((header, Some(Instant::now() + FILE_FOR))));
                Some(futures::future::ready(read).boxed())
            }
            Source::Plugin(plugin, identity) => {
                let (plugin, identity) = (plugin.clone(), identity.clone());
                Some(Box::pin(async move { ask(&plugin, &identity).await }))
            }
        }
    }
}

impl<S, B> Service<Request<Body>> for Authorized<S>
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.refresh.is_none() && self.take_stale() {
            self.refresh = self.refresh();
        }
        if let Some(refresh) = &mut self.refresh {
            let Poll::Ready(refreshed) = refresh.poll_unpin(context) else { return Poll::Pending };
            self.refresh = None;
            self.failed = None;
            match (refreshed, &self.source) {
                (Ok(first), _) => {
                    (self.header, self.until) = match first {
                        Some((header, until)) => (Some(header), until),
                        None => (None, None),
                    }
                }
                // A file that is gone does not take the token away that was in it (kubernetes#68164).
                (Err(_), Source::File(_)) => self.until = Some(Instant::now() + AGAIN_AFTER),
                (Err(error), _) => self.failed = Some(error),
            }
        }
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(error) = self.failed.clone() {
            return Box::pin(async { Err(error.into()) });
        }
        if let Some(header) = &self.header {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        let refused = self.refused.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                refused.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(answer)
        })
    }
}
