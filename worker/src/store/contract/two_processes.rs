//! Two processes at one store at the same time: this test's own program runs once more.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{Folder, Opened, Place, Server};
use crate::store::{Claim, Claimed, Engine as _, Expect, Put, Space, engine::MS_AN_HOUR, now_ms};

/// Where the second process finds the store: a file's path, or an address.
const PLACE: &str = "HIVE2API_TEST_STORE";
const CLAIMS: u64 = 300;
const MOST: u64 = 400;

/// Claims one by one as many as it gets, and adds one to a number as often, by reading and writing it.
async fn work(store: &Opened, name: &str) -> u64 {
    let now = now_ms();
    let mut granted = 0;
    for number in 0..CLAIMS {
        let claim = Claim {
            counter: "shared".to_owned(),
            ends_ms: now + MS_AN_HOUR,
            amount: 1,
            most: MOST,
        };
        let claimed = store
            .claim(&format!("{name}-{number}"), &[claim], now)
            .await;
        granted += u64::from(matches!(claimed.unwrap(), Claimed::Granted(_)));
        while !has_added_one(store, now).await {}
    }
    granted
}

async fn has_added_one(store: &Opened, now: u64) -> bool {
    let found = store.get(Space::Accounts, "sum", now).await.unwrap();
    let (sum, expect) = found.map_or((0, Expect::Absent), |entry| {
        let text = String::from_utf8(entry.value).unwrap();
        (text.parse().unwrap(), Expect::Version(entry.version))
    });
    let sum: u64 = sum;
    let put = Put {
        space: Space::Accounts,
        key: "sum".to_owned(),
        value: (sum + 1).to_string().into_bytes(),
        ends_ms: None,
        expect,
        under: None,
    };
    store.put(&put, now).await.unwrap().is_some()
}

/// Run by the other tests only, in a process of its own.
#[actix_web::test]
#[ignore = "the second process of the tests beside it"]
async fn second_process() {
    // Whoever runs all ignored tests runs this one as well, and alone it has nothing to do.
    let Ok(place) = std::env::var(PLACE) else {
        return;
    };
    let place = if place.contains("://") {
        Place::Valkey(crate::accounts::Secret::new(place))
    } else {
        Place::Sqlite(place.into())
    };
    let store = Opened::open(&place).await.unwrap();
    work(&store, "second").await;
}

fn start(place: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact"])
        .arg("store::contract::two_processes::second_process")
        .env(PLACE, place)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn both(place: &Place, name: &str) {
    let mut other = start(name);
    thread::sleep(Duration::from_millis(100));
    let store = Opened::open(place).await.unwrap();
    work(&store, "first").await;
    assert!(other.wait().unwrap().success());
    let now = now_ms();
    let sum = store
        .get(Space::Accounts, "sum", now)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        sum.value,
        (2 * CLAIMS).to_string().into_bytes(),
        "no change was lost"
    );
    let more = Claim {
        counter: "shared".to_owned(),
        ends_ms: now + MS_AN_HOUR,
        amount: 0,
        most: u64::MAX,
    };
    let used = store.claim("look", &[more], now).await.unwrap();
    assert_eq!(
        used,
        Claimed::Granted(vec![MOST]),
        "never more than there is"
    );
}

#[actix_web::test]
async fn of_a_file() {
    let folder = Folder::new();
    let place = Place::Sqlite(folder.file());
    both(&place, folder.file().to_str().unwrap()).await;
}

#[actix_web::test]
#[ignore = "needs a Valkey or Redis server: scripts/test installs one"]
async fn of_a_server() {
    let server = Server::start();
    let place = server.place();
    let Place::Valkey(address) = &place else {
        panic!("a server's place is an address")
    };
    both(&place, address.expose()).await;
}
