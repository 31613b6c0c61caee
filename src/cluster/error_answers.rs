//! Makes every error answer a Status, with its HTTP code and with how long the server asks to wait.
//!
//! The API server's own 429 is `text/plain` with nothing but the header `Retry-After`, proxies answer in
//! HTML, and whoever reads a Status sees no header. So a layer of the client writes all that into the body,
//! where the one rule for retries finds it. It keeps what a server says in a Status of its own.
#![expect(clippy::disallowed_methods, reason = "a date in a header is compared with the clock")]

use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use kube::client::Body;
use kube::core::Status;
use kube::core::response::StatusDetails;
use tower::{Layer, Service};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Longer than any Status; a proxy's page may be as long as it likes.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, Debug)]
pub struct ErrorAnswers;

impl<S> Layer<S> for ErrorAnswers {
    type Service = Answering<S>;

    fn layer(&self, inner: S) -> Answering<S> {
        Answering(inner)
    }
}

#[derive(Clone, Debug)]
pub struct Answering<S>(S);

impl<S, B> Service<Request<Body>> for Answering<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send,
    B: BodyExt + Send + 'static,
    B::Data: From<Vec<u8>> + Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<B, Full<B::Data>>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if !answer.status().is_client_error() && !answer.status().is_server_error() {
                return Ok(answer.map(Either::Left));
            }
            let (mut parts, body) = answer.into_parts();
            // What cannot be read in full says no more than its code.
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
            let status = status(parts.status, &parts.headers, &body, SystemTime::now());
            let text = serde_json::to_vec(&status).unwrap_or_default();
            for header in [CONTENT_LENGTH, CONTENT_ENCODING] {
                parts.headers.remove(header);
            }
            parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(Response::from_parts(parts, Either::Right(Full::new(text.into()))))
        })
    }
}

/// The Status that an error answer is, or comes to.
fn status(code: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Status {
    let mut status = match serde_json::from_slice::<Status>(body) {
        // Any object of JSON can be read as a Status in which nothing is set.
        Ok(status) if status.code != 0 || !status.reason.is_empty() || !status.message.is_empty() => status,
        _ => {
            let reason = code.canonical_reason().unwrap_or("error");
            Status::failure(String::from_utf8_lossy(body).trim(), reason)
        }
    };
    status.code = code.as_u16();
    if let Some(asked) = retry_after(headers, now) {
        let details = status.details.get_or_insert_with(|| StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        });
        // Both are said by the same server; whoever waits for the longer has waited for both.
        details.retry_after_seconds = details.retry_after_seconds.max(asked);
    }
    status
}

/// `Retry-After` in whole seconds, rounded up: a number, or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u32> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(asked.parse().unwrap_or(u32::MAX));
    }
    let date = |text| httpdate::parse_http_date(text).ok();
    // By the server's own clock, which may not be ours.
    let now = text(DATE).and_then(date).unwrap_or(now);
    let wait = date(asked)?.duration_since(now).unwrap_or(Duration::ZERO);
    Some(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(u32::from(wait.subsec_nanos() > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn asked(headers: &HeaderMap, body: &str) -> u32 {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let status = status(StatusCode::TOO_MANY_REQUESTS, headers, body.as_bytes(), now);
        assert_eq!(status.code, 429);
        status.details.map_or(0, |details| details.retry_after_seconds)
    }

    #[test]
    fn header_and_body_say_how_long_to_wait_in_seconds_or_as_a_date() {
        let body = r#"{"kind":"Status","message":"slow","code":429,"details":{"retryAfterSeconds":3}}"#;
        let plain = "Too many requests, please try again later.";
        let after = |value| headers(&[(RETRY_AFTER, value)]);
        for (headers, body, expected) in [
            (after("1"), plain, 1),
            (after(" 7 "), plain, 7),
            (headers(&[]), body, 3),
            (after("5"), body, 5),
            (after("1"), body, 3),
            (after("99999999999999999999"), plain, u32::MAX),
            // 784111777 is 08:49:37 of this day.
            (after("Sun, 06 Nov 1994 08:49:57 GMT"), plain, 20),
            (after("Sunday, 06-Nov-94 08:49:57 GMT"), plain, 20),
            (after("Sun Nov  6 08:49:57 1994"), plain, 20),
            (after("Sun, 06 Nov 1994 08:00:00 GMT"), plain, 0),
            (
                headers(&[
                    (RETRY_AFTER, "Sun, 06 Nov 1994 09:00:09 GMT"),
                    (DATE, "Sun, 06 Nov 1994 09:00:00 GMT"),
                ]),
                plain,
                9,
            ),
            (after("-1"), plain, 0),
            (after("soon"), plain, 0),
            (after(""), plain, 0),
            (headers(&[]), plain, 0),
        ] {
            assert_eq!(asked(&headers, body), expected, "{headers:?} {body}");
        }
    }

    #[test]
    fn whatever_a_body_is_its_answer_is_a_status_with_the_code_and_the_words() {
        for (body, message) in [
            (
                &b"Too many requests, please try again later.\n"[..],
                "Too many requests, please try again later.",
            ),
            (b"{}", "{}"),
            (br#"{"error": "slow"}"#, r#"{"error": "slow"}"#),
            (b"[1]", "[1]"),
            (b"", ""),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            (br#"{"kind":"Status","code":500,"message":"m","reason":"r"}"#, "m"),
            (br#"{"kind":"Status","message":5}"#, r#"{"kind":"Status","message":5}"#),
        ] {
            let status =
                status(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), body, SystemTime::UNIX_EPOCH);
            assert_eq!((status.code, status.message.as_str()), (503, message), "{body:?}");
        }
    }
}
