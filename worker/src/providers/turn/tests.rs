use std::{rc::Rc, time::Instant as Wall};

use super::{
    super::{
        dispatch::dispatch,
        testing::{Fake, Service, cleaned, job, route},
    },
    *,
};
use crate::upstream::Request;

/// Runs something with a turn.
async fn with_turn<T>(
    pairs: &[(&str, &str)],
    work: impl AsyncFn(&mut Turn) -> Result<T, ProviderError>,
) -> (Result<T, ProviderError>, &'static Janitor) {
    let (fake, job) = (Arc::new(Fake::new("a", 1)), job(pairs));
    let work = async |_: &super::super::registry::Candidate, turn: &mut Turn| work(turn).await;
    let result = dispatch(&job, &route(&[&fake]), &Rc::default(), None, work).await;
    (result, job.janitor)
}

#[actix_web::test]
async fn looks_at_the_given_pace_until_it_is_found() {
    let looks = with_turn(&[], async |turn| {
        tokio::time::pause();
        let began = Instant::now();
        let mut looks = Vec::new();
        // The second look takes longer than the pace.
        let found = turn
            .until(
                Duration::from_secs(2),
                Duration::from_secs(60),
                async |_: &mut Turn| {
                    looks.push(began.elapsed().as_secs());
                    if looks.len() == 2 {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                    }
                    Ok::<_, ProviderError>((looks.len() == 4).then_some("it"))
                },
            )
            .await?;
        tokio::time::resume();
        assert_eq!(found, Some("it"));
        Ok(looks)
    });
    assert_eq!(looks.await.0.unwrap(), [0, 2, 7, 9]);
}

#[actix_web::test]
async fn looks_no_longer_than_it_may() {
    let ends = with_turn(&[], async |turn| {
        tokio::time::pause();
        let mut ends = Vec::new();
        let (every, most) = (Duration::from_secs(3), Duration::from_secs(10));
        let mut began = Instant::now();
        let nothing = turn
            .until(every, most, async |_: &mut Turn| {
                Ok::<Option<()>, ProviderError>(None)
            })
            .await?;
        ends.push((nothing.is_none(), began.elapsed().as_secs()));
        // One that never comes back is dropped.
        began = Instant::now();
        let nothing = turn
            .until(every, most, async |_: &mut Turn| {
                std::future::pending::<Result<Option<()>, ProviderError>>().await
            })
            .await?;
        ends.push((nothing.is_none(), began.elapsed().as_secs()));
        began = Instant::now();
        let failed = turn
            .until(every, most, async |_: &mut Turn| {
                Err::<Option<()>, _>(ProviderError::broken_stream())
            })
            .await;
        ends.push((failed.is_err(), began.elapsed().as_secs()));
        tokio::time::resume();
        Ok(ends)
    });
    assert_eq!(ends.await.0.unwrap(), [(true, 10), (true, 10), (true, 0)]);
}

/// What is looked for may be said at once: the turn is handed to each look.
#[actix_web::test]
async fn a_look_has_the_turn() {
    let (result, _) = with_turn(&[], async |turn| {
        let pace = Duration::from_millis(1);
        let found = turn.until(pace, Duration::from_secs(5), async |turn: &mut Turn| {
            turn.events.push(ChatEvent::Unknown("place"));
            turn.emit().await?;
            Ok::<_, ProviderError>(Some(turn.events.len()))
        });
        found.await
    })
    .await;
    assert_eq!(result.unwrap(), Some(0));
}

#[actix_web::test]
async fn deletions_come_in_their_order_and_can_be_withdrawn() {
    let service = Service::new(&[200]);
    let get = |path: &str| Request::get("test", format!("{}/{path}", service.base_url));
    let (result, janitor) = with_turn(&[], async |turn| {
        turn.afterwards(get("file"));
        turn.opened("one", Some(get("one").into()));
        turn.withdraw();
        assert_eq!(turn.outbox.thread(), None);
        turn.opened("two", Some(get("two").into()));
        turn.opened("three", None);
        turn.answered_as("answer");
        turn.on_abort(get("stop"));
        Ok(turn.outbox.thread())
    })
    .await;
    let thread = result.unwrap().unwrap();
    assert_eq!(
        (thread.id.as_str(), thread.message.as_deref()),
        ("three", Some("answer"))
    );
    cleaned(janitor).await;
    assert_eq!(service.calls(), ["GET /file", "GET /two"]);
}

#[actix_web::test]
async fn an_answer_that_the_service_has_ended_is_not_stopped() {
    for is_over in [true, false] {
        let service = Service::new(&[200]);
        let get = |path: &str| Request::get("test", format!("{}/{path}", service.base_url));
        let (result, janitor) = with_turn(&[], async |turn| {
            turn.on_abort(get("stop"));
            turn.opened("chat", Some(get("chat").into()));
            if is_over {
                turn.upstream_is_over();
            }
            Err::<(), _>(ProviderError::new(Kind::Protocol, "x"))
        })
        .await;
        assert!(result.is_err());
        cleaned(janitor).await;
        let expected: &[&str] = if is_over {
            &["GET /chat"]
        } else {
            &["GET /stop", "GET /chat"]
        };
        assert_eq!(service.calls(), expected);
    }
}

#[actix_web::test]
async fn what_is_held_is_let_go_at_will() {
    let guard = Arc::new(());
    let (result, _) = with_turn(&[], async |turn| {
        let held = turn.hold(Arc::clone(&guard));
        let before = Arc::strong_count(&guard);
        held.release();
        Ok((before, Arc::strong_count(&guard)))
    })
    .await;
    assert_eq!(result.unwrap(), (2, 1));
}

/// The events before an error are said before it, and a cut is said in place of it.
#[actix_web::test]
async fn emitting_says_what_came_of_it() {
    let (result, _) = with_turn(&[], async |turn| {
        assert_eq!(turn.emit_then(Ok::<_, ProviderError>(7)).await?, 7);
        let limits = |stop: &str| {
            let body = format!(
                r#"{{"model":"m","stop":"{stop}","messages":[{{"role":"user","content":"x"}}]}}"#
            );
            let request = crate::http::openai::body::read(body.into()).unwrap();
            let limits =
                crate::chat::limits::Limits::new(&request, |_| crate::chat::Support::Emulated);
            Chain::new(None, limits)
        };
        let outbox = Rc::clone(&turn.outbox);
        let take = async move {
            let mut taken = Vec::new();
            while !outbox.take(&mut taken) {
                tokio::task::yield_now().await;
            }
            // No waker tells the turn that its events were taken: it is polled again, as a door does.
            tokio::task::yield_now().await;
            taken
        };
        turn.chain = limits("STOP");
        turn.events.push(ChatEvent::Text("a STOP b".to_owned()));
        let failed = Err::<(), _>(ProviderError::broken_stream());
        let (error, taken) = tokio::join!(turn.emit_then(failed), take);
        assert_eq!(taken.len(), 2, "{taken:?}");
        assert_eq!(error.unwrap_err().kind, Kind::Cut);
        // From then on each of them fails, and nothing more goes out.
        turn.events.push(ChatEvent::Text("c".to_owned()));
        assert_eq!(turn.emit().await.unwrap_err().kind, Kind::Cut);
        assert!(turn.outbox.is_empty());
        Ok(())
    })
    .await;
    result.unwrap();
}

/// No answer waits for its clean-up.
#[actix_web::test]
async fn clean_up_is_apart_from_the_answer() {
    let began = Wall::now();
    let (result, janitor) = with_turn(&[], async |turn| {
        // Nobody is there.
        turn.opened(
            "chat",
            Some(Request::get("test", "http://127.0.0.1:1/x").into()),
        );
        Ok(())
    })
    .await;
    result.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(janitor.pending(), 1);
}
