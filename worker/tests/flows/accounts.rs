//! Accounts: looked at, checked, added while the worker runs, and shared by workers with one store.

use std::collections::BTreeMap;

use hive2api_simulators::Running;
use hive2api_worker::store::Space;
use serde_json::{Value, json};

use crate::{
    owner::call,
    support::{Hive, KEY, Shared, assert_no_violations, simulator},
};

/// A worker that knows where a simulator is and has none of its accounts; and the accounts' variables.
fn without_accounts(
    simulator: &Running,
    more: &[(&str, &str)],
) -> (Hive, BTreeMap<String, String>) {
    let (addresses, accounts): (Vec<_>, Vec<_>) = simulator
        .env()
        .into_iter()
        .partition(|(name, _)| name.contains("BASE_URL"));
    let accounts: BTreeMap<String, String> = accounts.into_iter().collect();
    let mut vars: Vec<(&str, &str)> = addresses.iter().map(|(n, v)| (&**n, &**v)).collect();
    vars.extend(more);
    (Hive::start(&[], &vars), accounts)
}

fn base_url(simulator: &Running, name: &str) -> String {
    let env = simulator.env().into_iter();
    let found = env.into_iter().find(|(known, _)| known == name);
    found.unwrap().1
}

async fn follow(hive: &Hive) {
    let (app, mut seen) = (&hive.app, BTreeMap::new());
    app.roster.follow(&app.registry, &mut seen).await.unwrap();
}

async fn get(hive: &Hive, path: &str) -> Value {
    let (status, _, body) = call(hive, KEY, "GET", path, Value::Null).await;
    assert_eq!(status, 200, "{body}");
    body
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

#[actix_web::test]
async fn a_copied_request_becomes_an_account_of_every_worker() {
    let kimi = simulator("kimi", 1);
    let shared = Shared::new();
    let url = shared.url();
    let store = [("STORE_URL", url.as_str())];
    let (hive, accounts) = without_accounts(&kimi, &store);
    let (other, _) = without_accounts(&kimi, &store);
    let token = &accounts["KIMI_TOKEN"];
    assert_eq!(hive.ask("kimi", "echo:hi").await.status, 503);

    let command = format!(
        "curl '{}/apiv2/x' -H 'accept: */*' -H 'authorization: Bearer {token}' --data-raw '{{}}'",
        base_url(&kimi, "KIMI_BASE_URL")
    );
    let asked = json!({"credential": command, "note": "mine"});
    let (status, _, added) = call(&hive, KEY, "POST", "/v1/accounts", asked.clone()).await;
    assert_eq!(status, 201, "{added}");
    assert_eq!(
        (&added["source"], &added["state"], &added["check"]["ok"]),
        (&json!("added"), &json!("ready"), &json!(true))
    );
    assert_eq!(
        (&added["provider"], &added["note"]),
        (&json!("kimi"), &json!("mine"))
    );
    assert_eq!(hive.ask("kimi", "echo:hi").await.content(), "hi");
    follow(&other).await;
    assert_eq!(other.ask("kimi", "echo:there").await.content(), "there");

    // Twice is once.
    let (status, _, again) = call(&hive, KEY, "POST", "/v1/accounts", asked).await;
    assert_eq!((status, code(&again)), (409, "account_exists"));
    let list = get(&other, "/v1/accounts").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["data"][0]["id"], added["id"]);
    // Its secret is told to nobody, and lies in the file for nobody.
    assert!(!format!("{list}{added}").contains(token.as_str()));
    let path = url.strip_prefix("sqlite:").unwrap();
    for ending in ["", "-wal"] {
        let file = std::fs::read(format!("{path}{ending}")).unwrap_or_default();
        let holds = |part: &str| memchr_find(&file, part.as_bytes());
        assert!(
            !holds(token) && !holds(&token[token.len() - 20..]),
            "{ending}"
        );
    }

    let path = format!("/v1/accounts/{}", added["id"].as_str().unwrap());
    let (status, _, body) = call(&hive, KEY, "DELETE", &path, Value::Null).await;
    assert_eq!((status, &body["deleted"]), (200, &json!(true)));
    assert_eq!(hive.ask("kimi", "echo:hi").await.status, 503);
    follow(&other).await;
    assert_eq!(other.ask("kimi", "echo:hi").await.status, 503);
    assert_eq!(call(&hive, KEY, "DELETE", &path, Value::Null).await.0, 404);
    assert_no_violations(&kimi.control());
}

fn memchr_find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

#[actix_web::test]
async fn a_har_file_and_a_cookie_are_read_as_well() {
    let metaso = simulator("metaso", 2);
    let (hive, accounts) = without_accounts(&metaso, &[]);
    let whole = |token: &str| {
        // `uid-sid`, or the whole header.
        match token.split_once('-') {
            Some((uid, sid)) if !token.contains('=') => format!("uid={uid}; sid={sid}"),
            _ => token.to_owned(),
        }
    };
    let cookies: Vec<String> = accounts.values().map(|token| whole(token)).collect();
    let har = json!({"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": [
        {"request": {"method": "GET", "url": "https://ads.example/x", "headers": [{"name": "cookie", "value": "uid=1"}]}},
        {"request": {"method": "GET", "url": format!("{}/api/my-info", base_url(&metaso, "METASO_BASE_URL")),
            "headers": [{"name": "Cookie", "value": cookies[0]}]}},
    ]}});
    let (status, _, added) = call(&hive, KEY, "POST", "/v1/accounts", har).await;
    assert_eq!(
        (status, &added["provider"]),
        (201, &json!("metaso")),
        "{added}"
    );
    // A bare cookie tells whose it is by its names.
    let asked = json!({"credential": cookies[1]});
    let (status, _, added) = call(&hive, KEY, "POST", "/v1/accounts", asked).await;
    assert_eq!(
        (status, &added["provider"]),
        (201, &json!("metaso")),
        "{added}"
    );
    assert_eq!(
        get(&hive, "/v1/accounts").await["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // What the service does not take is not kept.
    let strange =
        json!({"credential": "uid=000000000000000000000000; sid=ffffffffffffffffffffffffffffffff"});
    let (status, _, refused) = call(&hive, KEY, "POST", "/v1/accounts", strange).await;
    assert_eq!(
        (status, code(&refused)),
        (400, "invalid_credential"),
        "{refused}"
    );
    assert!(!refused.to_string().contains("ffff"));
    assert_eq!(
        get(&hive, "/v1/accounts").await["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[actix_web::test]
async fn what_is_no_credential_is_refused_with_words_and_without_a_word_of_it() {
    let kimi = simulator("kimi", 1);
    let (hive, _) = without_accounts(&kimi, &[("API_KEYS", "eve:sk-eve")]);
    for (body, status, expected) in [
        (
            json!({"credential": "topsecret-0815"}),
            400,
            "invalid_credential",
        ),
        (
            json!({"credential": "curl 'https://nobody.example/' -H 'x-y: topsecret-0815'"}),
            400,
            "invalid_credential",
        ),
        (
            json!({"credential": "topsecret-0815", "provider": "nobody"}),
            400,
            "invalid_credential",
        ),
        (
            json!({"credential": "top secret-0815", "provider": "kimi"}),
            400,
            "invalid_credential",
        ),
        (
            json!({"credential": "token=topsecret-0815; sessionid=topsecret-0815"}),
            400,
            "invalid_credential",
        ),
        (
            json!({"credential": "a", "har": {"log": {"entries": []}}}),
            400,
            "",
        ),
        (
            json!({"har": {"log": {"entries": []}}}),
            400,
            "invalid_credential",
        ),
        (json!({"har": {"log": "topsecret-0815"}}), 400, ""),
        (json!({"topsecret-0815": 1}), 400, ""),
        (
            json!({"values": {"HOME": "topsecret-0815"}}),
            400,
            "invalid_credential",
        ),
        (json!({}), 400, ""),
    ] {
        let (got, _, answer) = call(&hive, KEY, "POST", "/v1/accounts", body.clone()).await;
        assert_eq!((got, code(&answer)), (status, expected), "{body} {answer}");
        assert!(!answer.to_string().contains("secret-0815"), "{answer}");
    }
    assert_eq!(get(&hive, "/v1/accounts").await["data"], json!([]));
    for (method, path) in [
        ("GET", "/v1/accounts"),
        ("POST", "/v1/accounts"),
        ("DELETE", "/v1/accounts/x"),
        ("POST", "/v1/accounts/x/check"),
    ] {
        let (status, ..) = call(&hive, "sk-eve", method, path, json!({})).await;
        assert_eq!(status, 403, "{method} {path}");
    }
}

/// Every service whose page knows a cheap call is asked it, and takes the simulator's account.
#[actix_web::test]
async fn accounts_are_checked_against_their_services() {
    let checked = [
        "deepseek",
        "kimi",
        "metaso",
        "minimax",
        "qwen_intl",
        "xinghuo",
        "zhipu",
    ];
    let simulators: Vec<Running> = checked.iter().map(|name| simulator(name, 1)).collect();
    let ernie = simulator("ernie", 1);
    let all: Vec<&Running> = simulators.iter().chain([&ernie]).collect();
    let hive = Hive::start(&all, &[]);
    let list = get(&hive, "/v1/accounts").await;
    let mut asked = Vec::new();
    for account in list["data"].as_array().unwrap() {
        assert_eq!(
            (&account["source"], &account["check"]),
            (&json!("env"), &Value::Null)
        );
        let path = format!("/v1/accounts/{}/check", account["id"].as_str().unwrap());
        let (status, _, answer) = call(&hive, KEY, "POST", &path, Value::Null).await;
        let provider = account["provider"].as_str().unwrap();
        if provider == "ernie" {
            assert_eq!((status, code(&answer)), (409, "no_check"));
            continue;
        }
        assert_eq!(
            (status, &answer["check"]),
            (200, &json!({"ok": true})),
            "{provider} {answer}"
        );
        assert!(answer["checked_at"].as_u64().unwrap() > 0);
        match provider {
            "minimax" => assert_eq!(answer["quota"], json!({"left": 1200.0, "unit": "credits"})),
            "zhipu" => assert_eq!(answer["quota"], json!({"left": 120.0, "unit": "points"})),
            _ => assert_eq!(answer["quota"], Value::Null, "{provider}"),
        }
        if !asked.contains(&provider) {
            asked.push(provider);
        }
    }
    asked.sort_unstable();
    assert_eq!(asked, checked);
    for simulator in &simulators {
        assert_no_violations(&simulator.control());
    }
    let first = list["data"][0]["id"].as_str().unwrap();
    let path = format!("/v1/accounts/{first}");
    let (status, _, answer) = call(&hive, KEY, "DELETE", &path, Value::Null).await;
    assert_eq!((status, code(&answer)), (409, "account_of_settings"));
}

/// A key of an API is one that the API knows, as far as it says so.
#[actix_web::test]
async fn a_key_of_an_api_is_checked_before_it_is_kept() {
    let openai = simulator("openai", 1);
    let all = openai.control();
    let mut env = simulator("openai", 3).env().into_iter();
    let keys = env.find(|(name, _)| name.ends_with("API_KEY"));
    let keys: Vec<String> = keys.unwrap().1.split(',').map(str::to_owned).collect();
    let hive = Hive::start(&[&openai], &[]);
    let add = |key: &str| {
        let asked = json!({"provider": "sim", "credential": key});
        call(&hive, KEY, "POST", "/v1/accounts", asked)
    };
    let (status, _, refused) = add("sk-nobody-knows-0815").await;
    assert_eq!(
        (status, code(&refused)),
        (400, "invalid_credential"),
        "{refused}"
    );
    let words = refused["error"]["message"].as_str().unwrap();
    assert!(words.contains("The API of sim") && !refused.to_string().contains("0815"));
    let listed = async || get(&hive, "/v1/accounts").await["data"].clone();
    assert_eq!(listed().await.as_array().unwrap().len(), 1);
    let kept = hive.app.store.list(Space::Credentials, "", 9).await;
    assert_eq!(kept.unwrap().len(), 0);

    let (status, _, added) = add(&keys[1]).await;
    assert_eq!(
        (status, &added["check"]),
        (201, &json!({"ok": true})),
        "{added}"
    );
    // An API that does not have the call has not said anything.
    all.fault("no_models", 1).unwrap();
    let (status, _, added) = add(&keys[2]).await;
    let unknown = json!({"ok": null, "kind": "unknown"});
    assert_eq!((status, &added["check"]), (201, &unknown), "{added}");
    assert_eq!(added["state"], "ready");
    let path = format!("/v1/accounts/{}/check", added["id"].as_str().unwrap());
    let (status, _, checked) = call(&hive, KEY, "POST", &path, Value::Null).await;
    assert_eq!((status, &checked["check"]["ok"]), (200, &json!(true)));
    let used = hive.ask("sim-chat", "echo:hi").await;
    assert_eq!(used.content(), "hi");
    assert_eq!(all.calls("models").len(), 4);
}

/// A refused credential is found out before anybody asks, and no turn meets it.
#[actix_web::test]
async fn a_check_that_is_refused_disables_the_account() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    let list = get(&hive, "/v1/accounts").await;
    let path = format!("/v1/accounts/{}", list["data"][0]["id"].as_str().unwrap());
    let check = format!("{path}/check");
    xinghuo.control().fault("user_info_dead", 1).unwrap();
    let (status, _, answer) = call(&hive, KEY, "POST", &check, Value::Null).await;
    assert_eq!(
        (status, &answer["check"]["kind"]),
        (200, &json!("auth_expired")),
        "{answer}"
    );
    assert_eq!(answer["state"], "disabled");
    assert_eq!(hive.ask("spark-lite", "echo:hi").await.status, 502);
    // Its service takes it again.
    let (_, _, answer) = call(&hive, KEY, "POST", &check, Value::Null).await;
    assert_eq!(answer["state"], "ready", "{answer}");
}

#[actix_web::test]
async fn a_refresh_token_that_is_taken_once_serves_every_worker() {
    let kimi = simulator("kimi", 2);
    let shared = Shared::new();
    let url = shared.url();
    let pasted = kimi.env().into_iter();
    let refresh = pasted.into_iter().find(|(name, _)| name == "KIMI_TOKEN_2");
    let vars = |_: usize| {
        [
            ("STORE_URL", url.clone()),
            ("KIMI_TOKEN", refresh.clone().unwrap().1),
            ("KIMI_TOKEN_2", String::new()),
            ("KIMI_TOKEN_3", String::new()),
        ]
    };
    let hives: Vec<Hive> = (0..3)
        .map(|at| {
            let vars = vars(at);
            let vars: Vec<(&str, &str)> = vars.iter().map(|(n, v)| (*n, v.as_str())).collect();
            Hive::start(&[&kimi], &vars)
        })
        .collect();
    let asked = hives.iter().map(|hive| hive.ask("kimi", "echo:hi"));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.content(), "hi", "{}", answer.text);
    }
    let refreshes = kimi.control().calls("refresh").len();
    assert_eq!(refreshes, 1, "{:?}", kimi.control().state());
    assert_no_violations(&kimi.control());
}
