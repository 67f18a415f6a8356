//! Responses that are kept: what goes on from one, what can be asked of it, and who may.

use serde_json::{Value, json};

use crate::support::{Hive, KEY, Reply, SOON, settled, simulator};

const MODEL: &str = "qwen-plus";
const KEYS: (&str, &str) = (
    "API_KEYS",
    "alice:sk-alice-0123456789,bob:sk-bob-0123456789ab",
);

async fn create(hive: &Hive, key: &str, body: Value) -> Reply {
    let mut whole = json!({"model": MODEL});
    for (name, value) in body.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let request = hive
        .request("POST", "/v1/responses")
        .insert_header(("authorization", format!("Bearer {key}")))
        .insert_header(("content-type", "application/json"));
    Reply::read(request.send_body(whole.to_string()).await.unwrap()).await
}

async fn call(hive: &Hive, key: &str, method: &str, path: &str) -> Reply {
    let request = hive
        .request(method, path)
        .insert_header(("authorization", format!("Bearer {key}")));
    Reply::read(request.send().await.unwrap()).await
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"]
        .as_str()
        .unwrap()
}

fn id(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// The texts of the turns of the last question upstream.
fn heard(running: &hive2api_simulators::Running) -> Vec<String> {
    let calls = running.control().calls("ask");
    let turns = calls.into_iter().next_back().unwrap().turns;
    turns.into_iter().map(|turn| turn.text).collect()
}

#[actix_web::test]
async fn a_response_goes_on_from_the_one_before() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    let first = create(
        &hive,
        KEY,
        json!({"input": "echo:one", "instructions": "Be brief."}),
    )
    .await;
    assert_eq!(first.json()["store"], true);
    let first = id(&first);
    let second =
        json!({"previous_response_id": first, "input": [{"role": "user", "content": "echo:two"}]});
    let second = create(&hive, KEY, second).await;
    assert_eq!(text(&second.json()), "two");
    assert_eq!(second.json()["previous_response_id"], first);
    // Instructions are each request's own.
    assert_eq!(heard(&qwen), ["echo:one", "one", "echo:two"]);
    let second = id(&second);
    let streamed = json!({"previous_response_id": second, "input": "echo:three", "stream": true});
    let streamed = create(&hive, KEY, streamed).await;
    assert!(
        streamed.text.contains("event: response.completed"),
        "{}",
        streamed.text
    );
    assert_eq!(
        heard(&qwen),
        ["echo:one", "one", "echo:two", "two", "echo:three"]
    );
    // A streamed one as well, by the id that its first event tells; and two that go on from one do not meet.
    let begun = streamed
        .text
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap();
    let begun: Value = serde_json::from_str(begun).unwrap();
    let third = begun["response"]["id"].as_str().unwrap();
    for (previous, turns) in [(third, 7), (&first, 3)] {
        let next = json!({"previous_response_id": previous, "input": "echo:four"});
        assert_eq!(text(&create(&hive, KEY, next).await.json()), "four");
        assert_eq!(heard(&qwen).len(), turns);
    }
    settled(&qwen.control(), SOON).await;
}

#[actix_web::test]
async fn it_can_be_read_listed_and_forgotten_by_its_caller_alone() {
    const ALICE: &str = "sk-alice-0123456789";
    const BOB: &str = "sk-bob-0123456789ab";
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[KEYS]);
    let said = json!({"input": [{"role": "user", "content": "echo:one"}], "metadata": {"a": "b"}});
    let response = create(&hive, ALICE, said).await;
    let path = format!("/v1/responses/{}", id(&response));
    let read = call(&hive, ALICE, "GET", &path).await;
    assert_eq!(read.json(), response.json());
    let items = call(
        &hive,
        ALICE,
        "GET",
        &format!("{path}/input_items?order=asc"),
    )
    .await
    .json();
    assert_eq!(
        (&items["object"], &items["has_more"]),
        (&json!("list"), &json!(false))
    );
    assert_eq!(items["data"][0]["content"], "echo:one");
    assert_eq!(items["first_id"], items["data"][0]["id"]);
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/input_items")),
    ] {
        let (status, _, code) = call(&hive, BOB, method, &path).await.error();
        assert_eq!((status, code.as_str()), (404, "response_not_found"));
    }
    let next = json!({"previous_response_id": id(&response), "input": "echo:two"});
    let refused = create(&hive, BOB, next.clone()).await;
    assert_eq!(refused.error().2, "previous_response_not_found");
    assert_eq!(
        (refused.status, &refused.json()["error"]["param"]),
        (400, &json!("previous_response_id"))
    );
    let deleted = call(&hive, ALICE, "DELETE", &path).await.json();
    assert_eq!(
        deleted,
        json!({"id": id(&response), "object": "response", "deleted": true})
    );
    assert_eq!(call(&hive, ALICE, "GET", &path).await.status, 404);
    assert_eq!(
        create(&hive, ALICE, next).await.error().2,
        "previous_response_not_found"
    );
}

#[actix_web::test]
async fn an_item_is_referred_to() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    let first = create(&hive, KEY, json!({"input": "echo:one"})).await;
    let item = first.json()["output"][0]["id"].clone();
    let user = |text: &str| json!({"role": "user", "content": text});
    let refers = json!({"input": [user("echo:one"), {"type": "item_reference", "id": item}, user("echo:two")]});
    assert_eq!(text(&create(&hive, KEY, refers).await.json()), "two");
    assert_eq!(heard(&qwen), ["echo:one", "one", "echo:two"]);
    // As the reference allows, without a type.
    let untyped = json!({"input": [user("echo:one"), {"id": item}, user("echo:three")]});
    assert_eq!(text(&create(&hive, KEY, untyped).await.json()), "three");
    assert_eq!(heard(&qwen), ["echo:one", "one", "echo:three"]);
    let strange =
        json!({"input": [user("x"), {"type": "item_reference", "id": format!("msg_{:032x}", 7)}]});
    let refused = create(&hive, KEY, strange).await;
    assert_eq!(
        (refused.status, refused.error().2.as_str()),
        (400, "item_not_found")
    );
    assert_eq!(refused.json()["error"]["param"], "input[1]");
}

#[actix_web::test]
async fn nothing_is_kept_where_the_caller_or_the_owner_says_so() {
    let qwen = simulator("qwen", 1);
    for (settings, body, code) in [
        (
            &[][..],
            json!({"input": "echo:one", "store": false}),
            "previous_response_not_found",
        ),
        (
            &[("RESPONSES_TTL", "0")][..],
            json!({"input": "echo:one"}),
            "unsupported_parameter",
        ),
    ] {
        let hive = Hive::start(&[&qwen], settings);
        let response = create(&hive, KEY, body).await;
        assert_eq!(response.json()["store"], false);
        let path = format!("/v1/responses/{}", id(&response));
        assert_eq!(call(&hive, KEY, "GET", &path).await.status, 404);
        let next = json!({"previous_response_id": id(&response), "input": "echo:two"});
        assert_eq!(create(&hive, KEY, next).await.error().2, code);
    }
}

/// In a file that two workers share, where nothing of it can be read.
#[actix_web::test]
async fn any_worker_knows_it_and_nobody_reads_it() {
    let folder = std::env::temp_dir().join(format!("hive2api-responses-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("store.sqlite");
    let url = format!("sqlite:{}", file.display());
    let qwen = simulator("qwen", 1);
    let settings = [("STORE_URL", &*url), ("CONVERSATIONS", "reuse")];
    let (one, two) = (
        Hive::start(&[&qwen], &settings),
        Hive::start(&[&qwen], &settings),
    );
    let first = create(&one, KEY, json!({"input": "echo:a-very-rare-word"})).await;
    let next = json!({"previous_response_id": id(&first), "input": "echo:two"});
    let second = create(&two, KEY, next).await;
    assert_eq!(text(&second.json()), "two");
    assert_eq!(second.header("x-hive-conversation"), "continued");
    assert_eq!(heard(&qwen), ["echo:two"]);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let is_there = bytes
            .windows(16)
            .any(|window| window == b"a-very-rare-word");
        assert!(!is_there, "the store holds what was said");
    }
    drop((one, two));
    let _ = std::fs::remove_dir_all(folder);
}
