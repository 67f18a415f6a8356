//! The store at its worst: a file that is deleted, damaged, newer, not to be written to; a server that is silent or gone.
//! Whoever asks is never kept longer than it can afford, and all is well again by itself.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{
    Expect, PATIENCE, Place, Put, Space, Store, StoreError,
    contract::{Folder, server::Server},
    in_request, within_request,
};

/// [`PATIENCE`], and what a busy machine adds.
const SOON: Duration = Duration::from_millis(150);

async fn put(store: &Store) -> Result<Option<u64>, StoreError> {
    let put = Put {
        space: Space::Keys,
        key: "a".to_owned(),
        value: b"x".to_vec(),
        ends_ms: None,
        expect: Expect::Anything,
        under: None,
    };
    let started = Instant::now();
    let result = store.put(put).await;
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    result
}

async fn wait_until_up(store: &Store) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while put(store).await.is_err() {
        assert!(Instant::now() < deadline, "it has not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.is_up());
}

#[actix_web::test]
async fn a_deleted_file_is_made_anew() {
    let folder = Folder::new();
    let store = Store::open(Place::Sqlite(folder.file())).unwrap();
    assert!(put(&store).await.is_ok());
    fs::remove_file(folder.file()).unwrap();
    let error = put(&store).await.unwrap_err();
    assert!(error.to_string().contains("deleted"), "{error}");
    wait_until_up(&store).await;
    assert!(folder.file().exists());
}

#[actix_web::test]
async fn a_damaged_file_stops_nobody() {
    let folder = Folder::new();
    fs::write(
        folder.file(),
        "this is no database, it only lies here\n".repeat(99),
    )
    .unwrap();
    let store = Store::open(Place::Sqlite(folder.file())).unwrap();
    assert!(!store.is_up());
    assert!(put(&store).await.is_err());
    // Put right by its owner while the worker runs.
    fs::remove_file(folder.file()).unwrap();
    wait_until_up(&store).await;
}

#[test]
fn a_newer_file_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    drop(Store::open(Place::Sqlite(folder.file())).unwrap());
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let refused = Store::open(Place::Sqlite(folder.file())).unwrap_err();
    assert!(
        matches!(refused, StoreError::Newer { found: 99, .. }),
        "{refused}"
    );
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    let version: i64 = file
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99);
}

#[actix_web::test]
async fn a_file_that_another_holds_stops_nobody_for_long() {
    let folder = Folder::new();
    let store = Store::open(Place::Sqlite(folder.file())).unwrap();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = put(&store).await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    other.execute_batch("COMMIT").unwrap();
    wait_until_up(&store).await;
}

#[actix_web::test]
async fn what_ends_well_after_the_file_was_given_up_hides_nothing() {
    let folder = Folder::new();
    let store = Store::open(Place::Sqlite(folder.file())).unwrap();
    wait_until_up(&store).await;
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // The first of them waits in vain; the others come to their turn when the file is free again.
    let waiting = (0..9).map(|n| {
        let store = store.at_leisure();
        async move {
            store
                .remove(Space::Keys, &n.to_string(), Expect::Anything)
                .await
        }
    });
    let waiting = actix_web::rt::spawn(futures_util::future::join_all(waiting));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    other.execute_batch("ROLLBACK").unwrap();
    let done = waiting.await.unwrap();
    assert!(done.iter().any(Result::is_err) && done.iter().any(Result::is_ok));
    tokio::time::sleep(Duration::from_millis(300)).await;
    wait_until_up(&store).await;
}

#[test]
fn only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let _store = Store::open(Place::Sqlite(folder.file())).unwrap();
    for entry in fs::read_dir(folder.file().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

#[actix_web::test]
#[ignore = "needs a Valkey or Redis server: scripts/test installs one"]
async fn a_silent_server_stops_nobody_for_long() {
    let server = Server::start();
    let store = Store::open(server.place()).unwrap();
    assert!(put(&store).await.is_ok());
    server.stop();
    for _ in 0..20 {
        assert!(put(&store).await.is_err());
    }
    server.go_on();
    wait_until_up(&store).await;
}

#[actix_web::test]
#[ignore = "needs a Valkey or Redis server: scripts/test installs one"]
async fn a_server_that_was_gone_is_found_again() {
    let server = Server::start();
    let (place, port) = (server.place(), server.port);
    let store = Store::open(place.clone()).unwrap();
    assert!(put(&store).await.is_ok());
    drop(server);
    while store.is_up() {
        let _ = put(&store).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A worker that begins meanwhile begins all the same.
    let late = Store::open(place).unwrap();
    assert!(!late.is_up());
    let _server = Server::start_at(port);
    wait_until_up(&store).await;
    wait_until_up(&late).await;
}

/// It is noticed by itself, and at once by whoever asks; the store answers all the while.
async fn is_noticed(store: &Store, emptied: impl Fn()) {
    put(store).await.unwrap();
    for by_itself in [true, false] {
        let (before, known) = (Instant::now(), store.lost());
        emptied();
        while by_itself && store.lost() == known {
            assert!(before.elapsed() < Duration::from_secs(10), "not noticed");
            put(store).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let lost = store.lost_by_now().await.unwrap().unwrap();
        assert_ne!(Some(lost), known);
        assert!(before < lost.noticed && lost.seen < lost.noticed);
        assert!(before < lost.seen + Duration::from_secs(5), "seen long ago");
        // Once, and not again.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(store.lost_by_now().await.unwrap(), Some(lost));
    }
}

#[actix_web::test]
#[ignore = "needs a Valkey or Redis server: scripts/test installs one"]
async fn a_server_that_is_emptied_while_it_answers_has_lost_everything() {
    let server = Server::start();
    let store = Store::open(server.place()).unwrap();
    is_noticed(&store, || server.empty()).await;
}

#[actix_web::test]
async fn a_file_that_is_emptied_while_it_is_open_has_lost_everything() {
    let folder = Folder::new();
    let store = Store::open(Place::Sqlite(folder.file())).unwrap();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    is_noticed(&store, || {
        other.execute("DELETE FROM entries", ()).unwrap();
    })
    .await;
}

#[actix_web::test]
async fn a_file_that_is_replaced_while_it_is_open_has_lost_everything() {
    let (folder, other) = (Folder::new(), Folder::new());
    let store = Store::open(Place::Sqlite(folder.file())).unwrap();
    put(&store).await.unwrap();
    let another = Store::open(Place::Sqlite(other.file())).unwrap();
    put(&another).await.unwrap();
    drop(another);
    let deadline = Instant::now() + Duration::from_secs(10);
    let beside = |folder: &Folder, end: &str| folder.file().with_extension(format!("db{end}"));
    while beside(&other, "-wal").exists() {
        assert!(Instant::now() < deadline, "its thread has not ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // As whoever restores a file does: what lies beside the old one is a part of that.
    for end in ["-wal", "-shm"] {
        fs::remove_file(beside(&folder, end)).unwrap();
    }
    fs::rename(other.file(), folder.file()).unwrap();
    while store.lost().is_none() {
        assert!(Instant::now() < deadline, "not noticed, though nobody asks");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    wait_until_up(&store).await;
}

#[test]
fn an_address_that_is_none_is_refused() {
    let place = Place::Valkey(crate::accounts::Secret::new("redis://[".to_owned()));
    let refused = Store::open(place).unwrap_err();
    assert!(matches!(refused, StoreError::Unfit(_)), "{refused}");
}

#[actix_web::test]
async fn a_request_waits_so_long_in_all() {
    let began = Instant::now();
    let slow = || within_request(tokio::time::sleep(PATIENCE * 3 / 5));
    let waited = in_request(async { [slow().await, slow().await, slow().await] }).await;
    assert_eq!(waited, [Some(()), None, None]);
    assert!(began.elapsed() < PATIENCE * 3 / 2, "{:?}", began.elapsed());
    // What no request waits for is waited for each time.
    assert_eq!([slow().await, slow().await], [Some(()), Some(())]);
}
