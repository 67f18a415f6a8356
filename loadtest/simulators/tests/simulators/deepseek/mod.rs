//! wire/deepseek.md, checked from the client's side.

mod lives;
mod refusals;
mod today;

use base64::{Engine, engine::general_purpose::STANDARD};
use hive2api_simulators::{Running, Script, script::Citation};
use serde_json::{Value, json};

use crate::client::{Answer, CHROME, Request, setting, start};

const COMPLETION: &str = "/api/v0/chat/completion";
const UPLOAD: &str = "/api/v0/file/upload_file";

fn token(running: &Running, account: usize) -> String {
    let tokens = setting(running, "DEEPSEEK_TOKEN");
    tokens.split(',').nth(account - 1).unwrap().to_owned()
}

fn call(running: &Running, account: usize, method: &'static str, path: &str) -> Request {
    Request::new(method, path)
        .header(
            "Authorization",
            format!("Bearer {}", token(running, account)),
        )
        .header("User-Agent", CHROME)
        .header("Accept", "*/*")
        .header("X-Client-Platform", "web")
        .header("X-Client-Version", "2.0.0")
        .header("X-Client-Locale", "zh_CN")
        .header("X-Client-Timezone-Offset", "28800")
}

fn post(running: &Running, path: &str, body: &Value) -> Value {
    call(running, 1, "POST", path)
        .json(body)
        .ask(running)
        .value()
}

fn session(running: &Running) -> String {
    let answer = post(running, "/api/v0/chat_session/create", &json!({}));
    let id = &answer["data"]["biz_data"]["chat_session"]["id"];
    id.as_str().unwrap().to_owned()
}

fn challenge(running: &Running, account: usize, path: &str) -> Value {
    let answer = call(
        running,
        account,
        "POST",
        "/api/v0/chat/create_pow_challenge",
    )
    .json(&json!({"target_path": path}))
    .ask(running);
    answer.value()["data"]["biz_data"]["challenge"].clone()
}

/// Searches as the page says.
fn solve(challenge: &Value) -> Option<u64> {
    let text = |name: &str| challenge[name].as_str().unwrap();
    let prefix = format!("{}_{}_", text("salt"), challenge["expire_at"]);
    (0..challenge["difficulty"].as_u64().unwrap())
        .find(|n| hash(&format!("{prefix}{n}")) == text("challenge"))
}

fn hash(text: &str) -> String {
    let mut block = text.as_bytes().to_vec();
    block.push(6);
    block.resize(136, 0);
    block[135] |= 0x80;
    let mut state = [0_u64; 25];
    for (lane, word) in state.iter_mut().zip(block.chunks(8)) {
        *lane = u64::from_le_bytes(word.try_into().unwrap());
    }
    keccak::Keccak::new().with_p1600::<23>(|permute| permute(&mut state));
    let digest = state[..4].iter().map(|lane| lane.swap_bytes());
    digest.map(|lane| format!("{lane:016x}")).collect()
}

fn proof(challenge: &Value, answer: &Value) -> String {
    let mut proof = json!({"answer": answer});
    for name in ["algorithm", "challenge", "salt", "signature", "target_path"] {
        proof[name] = challenge[name].clone();
    }
    STANDARD.encode(proof.to_string())
}

fn proven(running: &Running, account: usize, path: &str) -> String {
    let challenge = challenge(running, account, path);
    proof(&challenge, &json!(solve(&challenge).unwrap()))
}

fn question(session: &str, prompt: &str) -> Value {
    json!({
        "chat_session_id": session, "parent_message_id": null, "prompt": prompt, "ref_file_ids": [],
        "thinking_enabled": false, "search_enabled": false,
    })
}

fn asking(running: &Running, body: &Value) -> Request {
    call(running, 1, "POST", COMPLETION)
        .header("X-Ds-Pow-Response", proven(running, 1, COMPLETION))
        .json(body)
}

/// A new session that is asked one thing.
fn ask(running: &Running, prompt: &str) -> Answer {
    asking(running, &question(&session(running), prompt)).ask(running)
}

fn scripted(running: &Running, pieces: &[&str], quirks: &[&str]) -> Script {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let script = Script {
        pieces: Some(own(pieces)),
        quirks: own(quirks),
        ..Script::default()
    };
    running.control().script(script.clone()).unwrap();
    script
}

fn refused(running: &Running, request: &Request, status: u16, what: &str) {
    let answer = request.ask(running);
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(what), "{what}: {}", answer.text());
    let last = running.control().log().pop().unwrap();
    assert!(!last.ok && last.violation.is_some(), "{last:?}");
}

fn no_violations(running: &Running) {
    let violations = running.control().state().violations;
    assert!(violations.is_empty(), "{violations:?}");
}

/// The lines of data, without events that have a name.
fn patches(text: &str) -> Vec<&str> {
    let blocks = text
        .split("\n\n")
        .filter(|block| !block.starts_with("event:"));
    blocks
        .filter_map(|block| block.strip_prefix("data: "))
        .collect()
}

#[test]
fn sample_a_comes_out_byte_for_byte() {
    let deepseek = start("deepseek");
    scripted(&deepseek, &["Hel", "lo", ",", " 世界"], &[]);
    let sample = r#"event: ready
data: {"request_message_id":1,"response_message_id":2,"model_type":"default"}

event: update_session
data: {"updated_at":1775278995.716773}

data: {"v":{"response":{"message_id":2,"parent_id":1,"model":"","role":"ASSISTANT","thinking_enabled":false,"ban_edit":false,"ban_regenerate":false,"status":"WIP","incomplete_message":null,"accumulated_token_usage":0,"files":[],"feedback":null,"inserted_at":1775278995.712322,"search_enabled":false,"fragments":[{"id":2,"type":"RESPONSE","content":"Hel","references":[],"stage_id":1}],"has_pending_fragment":false,"auto_continue":false,"search_triggered":false}}}

data: {"p":"response/fragments/-1/content","o":"APPEND","v":"lo"}

data: {"v":","}

data: {"v":" 世界"}

data: {"p":"response","o":"BATCH","v":[{"p":"accumulated_token_usage","v":9},{"p":"quasi_status","v":"FINISHED"}]}

data: {"p":"response/status","o":"SET","v":"FINISHED"}

event: update_session
data: {"updated_at":1775278998.1978939}

event: title
data: {"content":"FINISHED greetings"}

event: close
data: {"click_behavior":"none","auto_resume":false}

"#;
    let answer = ask(&deepseek, "a");
    assert_eq!(
        answer.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(answer.text(), sample);
    no_violations(&deepseek);
}

#[test]
fn sample_b_thinks_and_searches() {
    let deepseek = start("deepseek");
    let script = Script {
        reasoning: Some("用户 asks".to_owned()),
        citations: Some(vec![Citation {
            url: "https://example.com/a".to_owned(),
            title: "A".to_owned(),
        }]),
        ..scripted(&deepseek, &["It", " is", " A", "[reference:0]", "."], &[])
    };
    deepseek.control().clear_scripts();
    deepseek.control().script(script).unwrap();
    let text = ask(&deepseek, "b").text();
    // The thoughts are cut otherwise than on the page, and the usage is ours.
    for line in [
        r#"{"p":"response/fragments/-1/elapsed_secs","o":"SET","v":1.116876777}"#,
        r#"{"p":"response","o":"BATCH","v":[{"p":"fragments","o":"APPEND","v":[{"id":3,"type":"TOOL_SEARCH","status":"WIP","content":null,"queries":[{"query":"q"}],"results":[],"stage_id":1}]},{"p":"has_pending_fragment","o":"SET","v":false}]}"#,
        r#"{"p":"response/fragments/-1/status","o":"SET","v":"FINISHED"}"#,
        r#"{"p":"response/fragments","o":"APPEND","v":[{"id":4,"type":"RESPONSE","content":"It","references":[],"stage_id":2}]}"#,
        r#"{"p":"response/fragments/-1/content","v":" is"}"#,
        r#"{"v":" A"}"#,
        r#"{"p":"response/fragments/-1","o":"BATCH","v":[{"p":"content","o":"APPEND","v":"[reference:0]"},{"p":"references","o":"SET","v":[{"id":3,"type":"TOOL_SEARCH"}]}]}"#,
        r#"{"v":[{"p":"content","o":"APPEND","v":"."}]}"#,
        r#"{"p":"response","o":"BATCH","v":[{"p":"accumulated_token_usage","v":28},{"p":"quasi_status","v":"FINISHED"}]}"#,
        r#"{"p":"response/status","o":"SET","v":"FINISHED"}"#,
    ] {
        assert!(patches(&text).contains(&line), "{line} is not in {text}");
    }
    let results = patches(&text)
        .into_iter()
        .find(|line| line.starts_with(r#"{"p":"response/fragments/-1/results","v":[{"#))
        .unwrap();
    let results: Value = serde_json::from_str(results).unwrap();
    assert_eq!(results["v"][0]["url"], "https://example.com/a");
}

#[test]
fn samples_c_and_d_come_out_of_the_older_generations() {
    let deepseek = start("deepseek");
    let script = |quirk: &str| Script {
        reasoning: Some("Hm".to_owned()),
        ..scripted(&deepseek, &["Good", " day"], &[quirk])
    };
    let (c, d) = (script("legacy"), script("choices"));
    deepseek.control().clear_scripts();
    deepseek.control().script(c).unwrap();
    let expected = r#"{"v":{"response":{"message_id":2,"parent_id":1,"role":"ASSISTANT","content":"","thinking_content":"","status":"WIP"}}}
{"p":"response/thinking_content","v":"Hm"}
{"p":"response/thinking_elapsed_secs","o":"SET","v":3}
{"p":"response/content","o":"APPEND","v":"Good"}
{"v":" day"}
{"p":"response/search_status","v":"FINISHED"}
{"p":"response/status","o":"SET","v":"FINISHED"}"#;
    assert_eq!(ask(&deepseek, "c").events().join("\n"), expected);
    deepseek.control().script(d).unwrap();
    let lines = ask(&deepseek, "d").events();
    assert_eq!(
        lines[0],
        r#"{"choices":[{"index":0,"delta":{"type":"thinking","role":"assistant","content":"Hm"}}],"model":"","chunk_token_usage":1,"created":1739000000,"message_id":2,"parent_id":1}"#
    );
    assert_eq!(lines.last().unwrap(), "[DONE]");
    assert!(lines[3].contains(r#""content":""},"finish_reason":"stop"}"#));
}

#[test]
fn the_history_is_taken_apart() {
    let deepseek = start("deepseek");
    let prompt =
        "S<｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜><｜User｜>think:why cite:1 echo:你好";
    let text = ask(&deepseek, prompt).text();
    assert!(text.contains(r#""type":"THINK","content":"wh""#), "{text}");
    assert!(text.contains(r#""type":"TOOL_SEARCH""#) && text.contains("你好"));
    let asked = deepseek.control().calls("ask").pop().unwrap();
    let roles: Vec<_> = asked.turns.iter().map(|turn| turn.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    no_violations(&deepseek);
}

#[test]
fn quirks_are_quirks_and_keep_the_text() {
    let deepseek = start("deepseek");
    let said = |quirks: &[&str]| {
        scripted(&deepseek, &["ab", "cd", "ef", "gh", "ij"], quirks);
        ask(&deepseek, "x").text()
    };
    assert!(said(&["batches"]).contains(r#"{"v":[{"p":"content","o":"APPEND","v":"ef"}]}"#));
    assert!(said(&["bare_text"]).contains("\"o\":\"SET\",\"v\":2}\n\ndata: {\"v\":\"ef\"}"));
    assert!(said(&["crlf"]).contains("\r\n\r\nevent: close\r\n"));
    assert!(said(&["no_space"]).contains("\n\ndata:{\"v\""));
    assert!(said(&["done"]).ends_with("data: [DONE]\n\n"));
    assert!(said(&["empty_snapshot"]).contains(r#""fragments":[],"#));
    assert!(said(&["finish_event"]).contains("event: finish\ndata: {}\n\n"));
    assert!(said(&["late_patches"]).contains("conversation_mode"));
    assert!(!said(&["no_close"]).contains("event: close"));
    assert!(said(&["noise"]).contains("data: {}\n\n"));
    assert!(said(&["odd_fragments"]).contains("SIM_STRANGE"));
    assert!(said(&["positive_indexes"]).contains("fragments/0/content"));
    assert!(said(&["runs_on"]).contains("<｜User｜>"));
    assert!(
        said(&["verbose"])
            .contains(r#"{"p":"response/fragments/-1/content","o":"APPEND","v":"ef"}"#)
    );
}
