use super::*;

const IDLE: Duration = Duration::from_secs(3600);

fn conversations() -> Arc<Conversations> {
    Arc::new(Conversations::new(Store::in_memory(), IDLE))
}

fn owner() -> Owner {
    Owner {
        provider: "p".to_owned(),
        account: "0123".to_owned(),
    }
}

fn point(text: &str) -> Point {
    use crate::{
        chat::{ChatRequest, Message, Role},
        conversations::Asker,
    };
    let asker = Asker {
        caller: "c",
        provider: "p",
        upstream: "u",
        told: "",
    };
    let said = ChatRequest::new("m", vec![Message::new(Role::User, text)]);
    Point::after(asker, &said, &Message::new(Role::Assistant, "a"))
}

fn thread(id: &str, message: &str) -> Thread {
    Thread {
        message: Some(message.to_owned()),
        ..Thread::new(id)
    }
}

/// One conversation that stands at a point.
async fn begin(conversations: &Arc<Conversations>, at: &str) {
    let claim = conversations.opened(owner(), Thread::new("c1"));
    assert!(keeps(claim, at, at).await);
}

/// Whether the store has it at this point, behind this message.
async fn keeps(claim: Claim, at: &str, message: &str) -> bool {
    let kept = claim.keep(&point(at), thread("c1", message)).await;
    matches!(kept, Kept::Yes)
}

async fn claimed(found: Found) -> Claim {
    match found {
        Found::Claimed(claim) => *claim,
        other => panic!("{other:?}"),
    }
}

async fn idle_ones(conversations: &Conversations) -> usize {
    // What a drop has set off is done by a task of its own.
    tokio::time::sleep(Duration::from_millis(50)).await;
    conversations.idle_ones(10).await.unwrap().len()
}

#[actix_web::test]
async fn a_point_is_gone_on_from_once_where_the_service_does_not_branch() {
    let conversations = conversations();
    let look = async |at: &str| {
        conversations
            .claim(point(at), Continues::Linear, |_| true)
            .await
    };
    assert!(matches!(look("one").await, Found::Missed));
    begin(&conversations, "one").await;
    let first = claimed(look("one").await).await;
    assert_eq!(first.thread(), &thread("c1", "one"));
    assert!(matches!(look("one").await, Found::Busy), "it is under way");
    assert!(keeps(first, "two", "two").await);
    assert!(matches!(look("one").await, Found::Missed), "it has gone on");
    assert_eq!(
        claimed(look("two").await).await.thread(),
        &thread("c1", "two")
    );
}

#[actix_web::test]
async fn where_it_branches_each_goes_on_from_its_own_parent() {
    let conversations = conversations();
    let look = async |at: &str| {
        claimed(
            conversations
                .claim(point(at), Continues::Branches, |_| true)
                .await,
        )
        .await
    };
    begin(&conversations, "one").await;
    let (left, right) = (look("one").await, look("one").await);
    assert_eq!(left.thread(), right.thread());
    assert!(keeps(left, "left", "l").await);
    assert!(keeps(right, "right", "r").await);
    for (at, parent) in [("one", "one"), ("left", "l"), ("right", "r")] {
        let claim = look(at).await;
        assert_eq!(claim.thread(), &thread("c1", parent));
        assert!(keeps(claim, at, parent).await);
    }
}

#[actix_web::test]
async fn of_many_that_race_one_wins() {
    let conversations = conversations();
    begin(&conversations, "one").await;
    let looks = (0..8).map(|_| {
        let conversations = Arc::clone(&conversations);
        async move {
            conversations
                .claim(point("one"), Continues::Linear, |_| true)
                .await
        }
    });
    let found = futures_util::future::join_all(looks).await;
    let won = found.iter().filter(|it| matches!(it, Found::Claimed(_)));
    assert_eq!(won.count(), 1, "{found:?}");
}

#[actix_web::test]
async fn a_claim_that_came_to_nothing_ends_the_conversation() {
    let conversations = conversations();
    begin(&conversations, "one").await;
    assert_eq!(idle_ones(&conversations).await, 0);
    let claim = claimed(
        conversations
            .claim(point("one"), Continues::Branches, |_| true)
            .await,
    )
    .await;
    drop(claim);
    assert_eq!(idle_ones(&conversations).await, 1, "somebody deletes it");
    let found = conversations
        .claim(point("one"), Continues::Branches, |_| true)
        .await;
    assert!(matches!(found, Found::Missed));
    let idle = conversations.idle_ones(10).await.unwrap().remove(0);
    assert_eq!((idle.owner(), idle.thread().id.as_str()), (&owner(), "c1"));
    conversations.forget(&idle).await;
    assert_eq!(idle_ones(&conversations).await, 0);
}

#[actix_web::test]
async fn what_its_turn_deletes_nobody_else_does() {
    let conversations = conversations();
    let claim = conversations.opened(owner(), Thread::new("c1"));
    claim.deleted();
    drop(claim);
    assert_eq!(idle_ones(&conversations).await, 0);
    let key = key(&owner(), "c1");
    let found = conversations.store.get(Space::Conversations, &key);
    assert_eq!(found.await.unwrap(), None);
}

/// For as long as a turn goes on nobody deletes its conversation; what a worker was at when it died, somebody does.
#[actix_web::test]
async fn a_claim_holds_no_longer_than_its_worker() {
    let conversations = Arc::new(Conversations {
        held: Duration::from_millis(300),
        ..Conversations::new(Store::in_memory(), IDLE)
    });
    begin(&conversations, "one").await;
    let found = conversations.claim(point("one"), Continues::Linear, |_| true);
    let claims = [
        claimed(found.await).await,
        conversations.opened(owner(), Thread::new("c2")),
    ];
    claims[1].remembers("an older site's");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(idle_ones(&conversations).await, 0, "they are under way");
    for mut claim in claims {
        claim.holding.take().unwrap().writing.abort();
        std::mem::forget(claim);
    }
    tokio::time::sleep(Duration::from_millis(450)).await;
    let idle = conversations.idle_ones(10).await.unwrap();
    let mut threads: Vec<&Thread> = idle.iter().map(Idle::thread).collect();
    threads.sort_by(|one, other| one.id.cmp(&other.id));
    let known = Thread {
        more: Some("an older site's".to_owned()),
        ..Thread::new("c2")
    };
    assert_eq!(threads, [&thread("c1", "one"), &known]);
}

#[actix_web::test]
async fn a_deletion_that_fails_is_tried_again_later_and_not_for_ever() {
    let conversations = conversations();
    drop(conversations.opened(owner(), Thread::new("c1")));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut idle = conversations.idle_ones(1).await.unwrap().remove(0);
    assert!(conversations.later(&idle).await);
    assert_eq!(idle_ones(&conversations).await, 0, "not now");
    idle.record.tries = MOST_TRIES - 1;
    assert!(!conversations.later(&idle).await);
}

#[actix_web::test]
async fn a_store_that_is_gone_is_missed_by_nobody() {
    let gone = Store::open(store::Place::Sqlite("/proc/nowhere/store.sqlite".into()));
    let gone = gone.unwrap();
    let conversations = Arc::new(Conversations::new(gone, IDLE));
    let began = std::time::Instant::now();
    let found = conversations
        .claim(point("one"), Continues::Linear, |_| true)
        .await;
    assert!(matches!(found, Found::Unavailable), "{found:?}");
    let claim = conversations.opened(owner(), Thread::new("c1"));
    assert!(!keeps(claim, "one", "one").await);
    assert!(began.elapsed() < Duration::from_secs(1));
}

/// Whether a conversation is kept is known in the end, however late; until then nobody waits.
#[actix_web::test]
async fn a_store_that_is_late_is_not_waited_for() {
    let folder = std::env::temp_dir().join(format!("hive2api-late-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("store.sqlite");
    let store = Store::open(store::Place::Sqlite(file.clone())).unwrap();
    let conversations = Arc::new(Conversations::new(store, IDLE));
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = std::time::Instant::now();
    let claim = conversations.opened(owner(), Thread::new("c1"));
    let kept = claim.keep(&point("one"), thread("c1", "one")).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    let Kept::Late(kept) = kept else {
        panic!("{kept:?}")
    };
    other.execute_batch("COMMIT").unwrap();
    assert!(kept.await);
    let found = conversations.claim(point("one"), Continues::Linear, |_| true);
    assert_eq!(claimed(found.await).await.thread(), &thread("c1", "one"));
    let _ = std::fs::remove_dir_all(folder);
}

#[actix_web::test]
async fn a_conversation_whose_account_is_busy_stays_as_it_is() {
    let conversations = conversations();
    begin(&conversations, "one").await;
    let is_busy = |_: &Owner| false;
    let found = conversations
        .claim(point("one"), Continues::Linear, is_busy)
        .await;
    assert!(matches!(found, Found::Busy), "{found:?}");
    let found = conversations
        .claim(point("one"), Continues::Linear, |_| true)
        .await;
    assert!(matches!(found, Found::Claimed(_)), "{found:?}");
}
