use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::connections::CONNECTIONS_MAX;
use super::*;
use crate::cluster::RequestMetrics;

struct Served {
    address: SocketAddr,
    health: Health,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

async fn served() -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, health) = (listener.local_addr().unwrap(), Health::default());
    let stop = CancellationToken::new();
    let metrics = Metrics::new(RequestMetrics::default());
    metrics.run_started("logging");
    let serving = tokio::spawn(serve_endpoints(listener, metrics, health.clone(), stop.clone()));
    Served { address, health, stop, serving }
}

impl Served {
    async fn open(&self, text: &str) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        say(&stream, text).await.unwrap();
        stream
    }

    /// Status, head and body of an answer to `METHOD PATH`.
    async fn ask(&self, request: &str) -> (u16, String, String) {
        let stream = self.open(&format!("{request} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        // It ends, so the connection is closed after one answer.
        let text = hear(&stream).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
    }

    async fn says(&self, request: &str) -> (u16, String) {
        let (code, _, body) = self.ask(request).await;
        (code, body)
    }
}

async fn say(stream: &TcpStream, text: &str) -> io::Result<()> {
    let mut left = text.as_bytes();
    while !left.is_empty() {
        stream.writable().await?;
        match stream.try_write(left) {
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn heard(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

/// All until the other side closes or resets, which it must do by itself.
async fn hear(stream: &TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    let all = async {
        while let Ok(bytes @ 1..) = heard(stream, &mut buffer).await {
            text.extend_from_slice(&buffer[..bytes]);
        }
    };
    timeout(Duration::from_secs(5), all).await.expect("it is closed");
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn the_probes_are_told_what_is_so() {
    let served = served().await;
    let ready = || served.says("GET /readyz");
    assert_eq!(served.says("GET /healthz").await, (200, "ok".into()));
    assert_eq!(ready().await, (503, "starting".into()));
    served.health.set_ready(true);
    assert_eq!(ready().await, (200, "ok".into()));
    served.health.set_standby(true);
    assert_eq!(ready().await, (200, "ok, standby".into()));
    served.health.mark_stale("2026-11-25T04:00:00.7Z".parse().unwrap());
    served.health.mark_stale("2026-11-25T05:00:00Z".parse().unwrap());
    assert_eq!(ready().await, (200, "stale config since 2026-11-25T04:00:00Z, standby".into()));
    served.health.set_standby(false);
    assert_eq!(ready().await, (200, "stale config since 2026-11-25T04:00:00Z".into()));
    served.health.mark_current();
    assert_eq!(ready().await, (200, "ok".into()));
    served.health.set_ready(false);
    assert_eq!(ready().await, (503, "starting".into()));
}

#[tokio::test]
async fn the_metrics_are_what_a_scraper_expects() {
    let served = served().await;
    let (code, head, body) = served.ask("GET /metrics").await;
    assert_eq!(code, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(kind) && head.contains("connection: close"), "{head}");
    assert!(body.contains("quayctl_runs_running{group=\"logging\"} 1\n") && body.ends_with("# EOF\n"));

    let (code, head, nothing) = served.ask("HEAD /metrics").await;
    assert_eq!((code, nothing.as_str()), (200, ""));
    assert!(head.contains(kind) && head.contains("content-length: "), "{head}");
    assert_eq!(served.says("HEAD /healthz").await, (200, String::new()));
    assert_eq!(served.says("GET /").await.0, 404);
    assert_eq!(served.says("GET /metrics/").await.0, 404);
    assert_eq!(served.says("POST /metrics").await.0, 405);
}

#[tokio::test]
async fn slow_clients_do_not_keep_others_from_an_answer() {
    let served = served().await;
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS_MAX + 20 {
        slow.push(served.open("GET /healthz HTTP/1.1\r\n").await);
    }
    let asked = Instant::now();
    assert_eq!(served.says("GET /healthz").await, (200, "ok".into()));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // The oldest had to go, and the youngest may go on.
    assert_eq!(hear(&slow.remove(0)).await, "");
    let youngest = slow.pop().unwrap();
    say(&youngest, "host: h\r\n\r\n").await.unwrap();
    let text = hear(&youngest).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_is_cut_off() {
    let served = served().await;
    let asked = tokio::time::Instant::now();
    let slow = served.open("GET /healthz HTTP/1.1\r\n").await;
    while heard(&slow, &mut [0; 99]).await.is_ok_and(|bytes| bytes > 0) {}
    let seconds = asked.elapsed().as_secs();
    assert!((9..=11).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_request_of_many_words_is_cut_off() {
    let served = served().await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    let line = format!("x: {}\r\n", "y".repeat(1000));
    say(&stream, "GET /healthz HTTP/1.1\r\n").await.unwrap();
    for _ in 0..40 {
        if say(&stream, &line).await.is_err() {
            break;
        }
    }
    let asked = Instant::now();
    let text = hear(&stream).await;
    assert!(!text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(asked.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn it_ends_within_a_second_of_being_told() {
    // With nobody there: at once.
    let quiet = served().await;
    let told = Instant::now();
    quiet.stop.cancel();
    quiet.serving.await.unwrap();
    assert!(told.elapsed() < Duration::from_millis(500), "{:?}", told.elapsed());

    let served = served().await;
    let slow = served.open("GET /healthz HTTP/1.1\r\n").await;
    assert_eq!(served.says("GET /healthz").await.0, 200);
    let told = Instant::now();
    served.stop.cancel();
    served.serving.await.unwrap();
    assert!(told.elapsed() < Duration::from_millis(1500), "{:?}", told.elapsed());
    // And what was open is closed, not left to a task of its own.
    hear(&slow).await;
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any longer");
}
