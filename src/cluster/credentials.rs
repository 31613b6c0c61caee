//! What tells the API server who we are, on every request.
//!
//! In place of kube's own layer, which panics on a token with a line break, runs a plugin twice, without a
//! limit and on the thread that everything else waits for, and repeats its output in errors. Everything is
//! checked before it is kept; a token's file is read and a plugin run again when it is time.
#![expect(clippy::disallowed_methods, reason = "credentials expire by the clock, and may be in a file")]

use std::path::PathBuf;
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
use kube::config::{AuthInfo, ExecConfig};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use super::plugin;

/// The kubelet renews a token well before it expires; client-go reads it as often.
const FILE_FOR: Duration = Duration::from_secs(60);
/// What expires on the way is refused.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);
/// How soon a file is read again that could not be read.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct CredentialError(pub String);

type Refreshed = Result<(HeaderValue, Option<Instant>), CredentialError>;

/// Where the header comes from.
#[derive(Clone)]
enum Source {
    Fixed(Option<HeaderValue>),
    File(PathBuf),
    Plugin(Arc<ExecConfig>),
}

/// A layer that adds the header.
#[derive(Clone)]
pub struct Credentials {
    source: Source,
    first: Option<(HeaderValue, Option<Instant>)>,
}

impl Credentials {
    /// Takes what proves the user's identity out of `user`, but for client certificates, which stay (or are
    /// put) there for TLS. `url_user` is what stood before the `@` of the server's URL.
    pub async fn take(user: &mut AuthInfo, url_user: Option<&str>) -> Result<Credentials, CredentialError> {
        let fixed = |header| Ok(Credentials { source: Source::Fixed(header), first: None });
        let provider = user.auth_provider.take();
        let (name, password) = (user.username.take(), user.password.take());
        let (token, file) = (user.token.take(), user.token_file.take());
        let exec = user.exec.take();
        if let Some(provider) = provider {
            return match (provider.name.as_str(), provider.config.get("id-token")) {
                ("oidc", Some(token)) => fixed(Some(bearer(token, "the auth provider's id-token")?)),
                ("oidc", None) => Err(CredentialError("the auth provider oidc has no id-token".to_owned())),
                (name, _) => Err(CredentialError(format!(
                    "the auth provider {name:?} is not supported, as in kubectl since 1.26; use its exec plugin"
                ))),
            };
        }
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let password = password.as_ref().map_or("", |password| password.expose_secret());
            return fixed(Some(basic(&format!("{name}:{password}"))?));
        }
        if let Some(token) =
            token.as_ref().map(|token| token.expose_secret()).filter(|token| !token.is_empty())
        {
            return fixed(Some(bearer(token, "the user's token")?));
        }
        if let Some(file) = file.filter(|file| !file.is_empty()) {
            let path = PathBuf::from(file);
            let first = Some((read_token(&path)?, Some(Instant::now() + FILE_FOR)));
            return Ok(Credentials { source: Source::File(path), first });
        }
        if let Some(exec) = exec {
            let exec = Arc::new(exec);
            let (first, certificate) = ask(&exec).await?;
            if let Some((certificate, key)) = certificate {
                user.client_certificate_data = Some(STANDARD.encode(certificate));
                user.client_key_data = Some(STANDARD.encode(key).into());
            }
            return match first {
                Some(first) => Ok(Credentials { source: Source::Plugin(exec), first: Some(first) }),
                None => fixed(None),
            };
        }
        match url_user {
            Some(user) => fixed(Some(basic(user)?)),
            None => fixed(None),
        }
    }
}

type Certificate = (String, String);

/// Runs the plugin, and checks what it gives.
async fn ask(
    exec: &ExecConfig,
) -> Result<(Option<(HeaderValue, Option<Instant>)>, Option<Certificate>), CredentialError> {
    let plugin::Answer { token, certificate, valid_for } =
        plugin::run(exec).await.map_err(CredentialError)?;
    let until = valid_for.map(|valid| Instant::now() + valid.saturating_sub(EXPIRY_MARGIN));
    let header = match token {
        Some(token) => Some((bearer(&token, "the plugin's token")?, until)),
        None => None,
    };
    Ok((header, certificate))
}

fn read_token(path: &PathBuf) -> Result<HeaderValue, CredentialError> {
    let cannot = |error: &dyn std::fmt::Display| {
        CredentialError(format!("cannot read the token in {}: {error}", path.display()))
    };
    super::kubeconfig::check_file(path).map_err(|error| cannot(&error))?;
    let text = std::fs::read_to_string(path).map_err(|error| cannot(&error))?;
    // As client-go reads it: editors and `echo` end a file with a line break.
    match text.trim() {
        "" => Err(cannot(&"it is empty")),
        token => bearer(token, &format!("the token in {}", path.display())),
    }
}

fn bearer(token: &str, what: &str) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        CredentialError(format!("{what} has a character that no header can have, such as a line break"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn basic(user: &str) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user)))
        .map_err(|_| CredentialError("the user's name and password fit into no header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl<S> Layer<S> for Credentials {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Authorized<S> {
        let (header, until) = match (&self.source, &self.first) {
            (Source::Fixed(header), _) => (header.clone(), None),
            (_, Some((header, until))) => (Some(header.clone()), *until),
            (_, None) => (None, None),
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
    fn is_stale(&self) -> bool {
        let is_refused = self.refused.0.swap(false, std::sync::atomic::Ordering::Relaxed);
        match &self.source {
            Source::Fixed(_) => false,
            _ => {
                is_refused || self.failed.is_some() || self.until.is_some_and(|until| Instant::now() >= until)
            }
        }
    }

    fn refresh(&self) -> Option<BoxFuture<'static, Refreshed>> {
        match &self.source {
            Source::Fixed(_) => None,
            Source::File(path) => {
                let read = read_token(path).map(|header| (header, Some(Instant::now() + FILE_FOR)));
                Some(futures::future::ready(read).boxed())
            }
            Source::Plugin(exec) => {
                let exec = exec.clone();
                Some(Box::pin(async move {
                    let (header, _) = ask(&exec).await?;
                    header.ok_or_else(|| CredentialError("the plugin gave no token this time".to_owned()))
                }))
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
        if self.refresh.is_none() && self.is_stale() {
            self.refresh = self.refresh();
        }
        if let Some(refresh) = &mut self.refresh {
            let Poll::Ready(refreshed) = refresh.poll_unpin(context) else { return Poll::Pending };
            self.refresh = None;
            self.failed = None;
            match (refreshed, &self.source) {
                (Ok((header, until)), _) => (self.header, self.until) = (Some(header), until),
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
