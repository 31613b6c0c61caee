use super::*;
use kube::core::Status;
use kube::core::response::StatusDetails;

use crate::cluster::connect::credentials::CredentialError;

fn answer(code: u16) -> kube::Error {
    kube::Error::Api(Status::failure("words", "Reason").with_code(code).boxed())
}

fn asking(code: u16, seconds: u32) -> kube::Error {
    let details = StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: seconds,
    };
    let mut status = Status::failure("slow down", "TooManyRequests").with_code(code);
    status.details = Some(details);
    kube::Error::Api(status.boxed())
}

fn unreachable() -> kube::Error {
    kube::Error::Service("connection refused".into())
}

/// Fails until `working_from` seconds have passed. Gives the end, and after how many seconds it came.
async fn call(working_from: u64, error: impl Fn() -> kube::Error) -> (Result<(), u16>, Duration, u64) {
    let begun = Instant::now();
    let traffic = RequestMetrics::default();
    let ended = with_retries(&traffic, OF_CALLS, || {
        let works = begun.elapsed() >= Duration::from_secs(working_from);
        let answer = if works { Ok(()) } else { Err(error()) };
        async move { answer }
    });
    let ended = ended.await.map_err(|error| api_status(&error).map_or(0, |status| status.code));
    (ended, begun.elapsed(), traffic.retries())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_just_started_and_refuses_everybody_is_waited_for() {
    for code in [401, 403] {
        let (ended, took, _) = call(25, || answer(code)).await;
        assert_eq!(ended, Ok(()), "{code}");
        assert!(took < Duration::from_secs(28), "{took:?}: soon after it has loaded its RBAC");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_believed_after_thirty_seconds_and_not_before() {
    for code in [401, 403] {
        let (ended, took, retries) = call(1000, || answer(code)).await;
        assert_eq!(ended, Err(code));
        assert!(took >= REFUSAL_TIMEOUT && took < REFUSAL_TIMEOUT + Duration::from_secs(1), "{took:?}");
        assert!(retries < 30, "{retries}: it is not stormed");
    }
}

#[tokio::test(start_paused = true)]
async fn what_admission_says_of_an_object_is_believed_at_once() {
    let (ended, took, _) = call(1000, || {
        let words = "jobs.batch \"g\" is forbidden: exceeded quota: one";
        kube::Error::Api(Status::failure(words, "Forbidden").with_code(403).boxed())
    })
    .await;
    assert_eq!((ended, took), (Err(403), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_again_while_it_refuses_has_its_full_time_anew() {
    let begun = Instant::now();
    let (ended, took, _) = call(1000, || match begun.elapsed().as_secs() {
        0..20 => answer(403),
        20..25 => unreachable(),
        _ => answer(403),
    })
    .await;
    assert_eq!(ended, Err(403));
    assert!(took >= Duration::from_secs(25) + REFUSAL_TIMEOUT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_waited_for_as_long_as_patience_lasts() {
    let (ended, took, _) = call(80, unreachable).await;
    assert_eq!(ended, Ok(()));
    assert!(took < Duration::from_secs(87), "{took:?}");
    let (ended, took, _) = call(1000, unreachable).await;
    assert_eq!(ended, Err(0));
    assert!(took > RETRY_TIMEOUT - Duration::from_secs(10) && took <= RETRY_TIMEOUT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_wait_is_not_asked_again_before() {
    for code in [429, 503] {
        let (ended, took, retries) = call(1, || asking(code, 20)).await;
        assert_eq!((ended, retries), (Ok(()), 1));
        assert!(took >= Duration::from_secs(20) && took <= Duration::from_secs(24), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_longer_than_there_is_time_gets_one_last_try() {
    let (ended, took, retries) = call(1000, || asking(429, u32::MAX)).await;
    assert_eq!((ended, retries), (Err(429), 1));
    assert!(took <= RETRY_TIMEOUT && took >= RETRY_TIMEOUT - LAST_TRY * 2, "{took:?}");
}

#[test]
fn those_who_were_turned_away_together_do_not_come_back_together() {
    let pauses = [0.0, 0.5, 1.0].map(|random| {
        let mut retries = Retries::new(OF_CALLS, Instant::now());
        retries.pause_after(&asking(429, 10), Instant::now(), random)
    });
    let expected = [10, 11, 12].map(|seconds| Some(Duration::from_secs(seconds)));
    assert_eq!(pauses, expected, "stretched and never shortened");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_there_at_the_start_is_said_at_once() {
    let limits = Limits { unreachable: Duration::ZERO, ..OF_CALLS };
    let traffic = RequestMetrics::default();
    let begun = Instant::now();
    with_retries(&traffic, limits, || async { Err::<(), _>(unreachable()) }).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let hanging = with_retries(&traffic, limits, std::future::pending::<Result<(), _>>).await;
    assert!(super::super::error::describe(&hanging.unwrap_err()).contains("no answer within 60 s"));
}

fn list_failed(error: kube::Error) -> watcher::Error {
    watcher::Error::InitialListFailed(error)
}

/// A watch whose every try fails with what `error` gives, until it gives nothing. What is said of it, with the
/// second in which it was.
async fn outage(error: impl Fn() -> Option<watcher::Error> + Send + Sync + 'static) -> Vec<(u64, bool)> {
    let begun = Instant::now();
    let error = std::sync::Arc::new(error);
    let watcher = move || {
        let error = error.clone();
        stream::unfold((), move |()| {
            let failed = error();
            async move { failed.map(|error| (Err(error), ())) }
        })
    };
    let failures = with_watch_retries::<(), _>(watcher).map(|item| {
        let failure = item.err();
        (begun.elapsed().as_secs(), failure.is_some_and(|failure| failure.is_refused))
    });
    failures.collect().await
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_by_a_server_that_starts_is_not_given_up() {
    let begun = Instant::now();
    let told = outage(move || match begun.elapsed().as_secs() {
        0..5 => Some(list_failed(unreachable())),
        5..34 => Some(list_failed(answer(403))),
        _ => None,
    })
    .await;
    assert!(told.iter().all(|(_, is_refused)| !is_refused), "{told:?}");
    let pauses = told.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(pauses.max() <= Some(5), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_goes_on_being_refused_is_believed() {
    let begun = Instant::now();
    let told = outage(move || (begun.elapsed().as_secs() < 600).then(|| list_failed(answer(401)))).await;
    let first = told.iter().find(|(_, is_refused)| *is_refused).map(|(second, _)| *second);
    assert!(first.is_some_and(|second| (30..33).contains(&second)), "{told:?}");
    assert!(told.iter().skip_while(|(_, is_refused)| !is_refused).all(|(_, is_refused)| *is_refused));
    assert!(told.len() < 50, "{}: it is not stormed", told.len());
}

#[tokio::test(start_paused = true)]
async fn a_watch_waits_as_it_is_asked_to() {
    let begun = Instant::now();
    let told = outage(move || (begun.elapsed().as_secs() < 35).then(|| list_failed(asking(429, 20)))).await;
    let seconds: Vec<u64> = told.iter().map(|(second, _)| *second).collect();
    assert!(seconds.len() == 2 && (20..=24).contains(&seconds[1]), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn two_outages_are_not_one_long_refusal() {
    let mut outage = Outage::new(Instant::now());
    let refused = answer(403);
    assert!(!outage.next(Some(&refused), Instant::now(), 0.0).1);
    // The watch goes on for its minute, and is refused again when it is renewed.
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(!outage.next(Some(&refused), Instant::now(), 0.0).1);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_cannot_go_on_from_where_it_was_begins_anew() {
    let made = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = made.clone();
    let watcher = move || {
        let number = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let expired = || Err(watcher::Error::WatchStartFailed(answer(410)));
        // kube's own would go on from the same place for ever.
        stream::unfold(0, move |turn| async move {
            let item = match (number, turn) {
                (0, 0) => Ok(Event::InitDone),
                (0, _) => expired(),
                (_, 0) => Ok(Event::Init),
                (_, 1) => Ok(Event::InitDone),
                _ => return None,
            };
            Some((item, turn + 1))
        })
    };
    let items: Vec<Result<Event<()>, WatchFailure>> = with_watch_retries(watcher).collect().await;
    let words: Vec<bool> = items.iter().map(Result::is_ok).collect();
    assert_eq!(words, [true, false, true, true]);
    assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_what_is_said_where_the_last_try_had_none() {
    let no_login = || kube::Error::Service(Box::new(CredentialError("no session".to_owned())));
    type MakeError = fn() -> kube::Error;
    let cases: [(MakeError, MakeError, u16); 4] = [
        (|| answer(503), unreachable, 503),
        (unreachable, || answer(500), 500),
        (unreachable, unreachable, 0),
        // Who we are is not the server's affair.
        (|| answer(503), no_login, 0),
    ];
    for (first, then, expected) in cases {
        let (mut is_first, traffic) = (true, RequestMetrics::default());
        let ended = with_retries(&traffic, OF_CALLS, || {
            let error = if std::mem::take(&mut is_first) { first() } else { then() };
            async { Err::<(), _>(error) }
        });
        let code = ended.await.map_err(|error| api_status(&error).map_or(0, |status| status.code));
        assert_eq!(code, Err(expected));
    }
}

#[test]
fn an_answer_that_makes_us_try_again_is_remembered_for_a_while() {
    let (traffic, now) = (RequestMetrics::default(), std::time::Instant::now());
    assert_eq!(traffic.last_answer(now, RETRY_TIMEOUT), None);
    traffic.try_again_after("500: failed calling webhook".to_owned(), now);
    assert_eq!(
        traffic.last_answer(now + RETRY_TIMEOUT, RETRY_TIMEOUT).as_deref(),
        Some("500: failed calling webhook")
    );
    assert_eq!(traffic.last_answer(now + RETRY_TIMEOUT * 2, RETRY_TIMEOUT), None);
}
