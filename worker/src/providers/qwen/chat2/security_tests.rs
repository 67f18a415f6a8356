use super::*;

fn grant(token: &str, salts: usize) -> String {
    let salts: Vec<String> = (0..salts).map(|at| format!("{token}-{at}")).collect();
    format!(
        r#""eo-clt-actkn":"{token}","eo-clt-actkn-dl":2000,"eo-clt-bacsft":{}"#,
        serde_json::json!(salts)
    )
}

fn answer(base: usize, scenes: &[(&str, usize)]) -> String {
    let scenes: Vec<String> = scenes
        .iter()
        .map(|(name, salts)| format!(r#"{{"businessScene":"{name}",{}}}"#, grant(name, *salts)))
        .collect();
    format!(
        r#"{{"status":0,"code":"SUCCESS","msg":"","data":{{"eo-clt-dvidn":"d","eo-clt-snver":"lv",{},"unifyRelate":[{}]}}}}"#,
        grant("base", base),
        scenes.join(",")
    )
}

fn keyring(answer: &str) -> Keyring {
    let keyring = Keyring::default();
    keyring.put(read(answer.as_bytes()).unwrap(), false);
    keyring
}

fn salt(keyring: &Keyring, scene: Scene, now: u64) -> Option<String> {
    let (pass, _) = keyring.take(scene, now * 1000)?;
    assert_eq!((pass.device.as_str(), pass.version.as_str()), ("d", "lv"));
    assert!(pass.salt.expose().starts_with(pass.token.expose()));
    Some(pass.salt.expose().to_owned())
}

#[test]
fn a_salt_is_handed_out_once_and_belongs_to_its_scene() {
    let keyring = keyring(&answer(2, &[("qwen_chat", 3), ("voice_command", 1)]));
    let mut salts: Vec<_> = std::iter::from_fn(|| salt(&keyring, Scene::Chat, 1)).collect();
    salts.sort_unstable();
    assert_eq!(salts, ["qwen_chat-0", "qwen_chat-1", "qwen_chat-2"]);
    // The base one only where the scene has none.
    let keyring = self::keyring(&answer(1, &[("voice_command", 1)]));
    assert_eq!(salt(&keyring, Scene::Chat, 1).as_deref(), Some("base-0"));
    assert_eq!(salt(&keyring, Scene::Chat, 1), None);
}

#[test]
fn the_workspace_needs_a_registration_that_names_it() {
    let keyring = keyring(&answer(1, &[("qwen_chat", 1)]));
    assert_eq!(salt(&keyring, Scene::Workspace, 1), None);
    assert!(keyring.state().wants_workspace);
    let mut material =
        read(answer(1, &[("qwen_chat", 1), ("workspace_api", 1)]).as_bytes()).unwrap();
    material.has_workspace = true;
    keyring.put(material, false);
    let salt = salt(&keyring, Scene::Workspace, 1);
    assert_eq!(salt.as_deref(), Some("workspace_api-0"));
}

#[test]
fn runs_low_in_salts_or_in_time_and_ends_with_its_deadline() {
    let supply = |keyring: &Keyring, now: u64| keyring.supply(Scene::Chat, now * 1000);
    let keyring = keyring(&answer(0, &[("qwen_chat", 21)]));
    assert_eq!(supply(&keyring, 100), Supply::Ample);
    assert!(salt(&keyring, Scene::Chat, 100).is_some());
    assert_eq!(supply(&keyring, 100), Supply::Low);
    let keyring = self::keyring(&answer(0, &[("qwen_chat", 100)]));
    let supplies = [200, 201, 1999, 2000].map(|now| supply(&keyring, now));
    assert_eq!(
        supplies,
        [Supply::Ample, Supply::Low, Supply::Low, Supply::None]
    );
}

#[test]
fn a_refresh_replaces_what_it_names() {
    let keyring = keyring(&answer(1, &[("qwen_chat", 1), ("workspace_api", 1)]));
    let read = read(answer(5, &[("qwen_chat", 2)]).as_bytes()).unwrap();
    keyring.put(read, true);
    let state = keyring.state();
    let material = state.material.as_ref().unwrap();
    let left: Vec<_> = material
        .scenes
        .iter()
        .map(|(name, grant)| (name.as_str(), grant.salts.len()))
        .collect();
    assert_eq!(left, [("workspace_api", 1), ("qwen_chat", 2)]);
    assert_eq!(material.base.salts.len(), 5);
}

#[test]
fn a_refusal_and_an_answer_without_salts_are_errors() {
    for body in [
        r#"{"status":1,"code":"FAIL","msg":"频繁"}"#,
        r#"{"status":0,"data":null}"#,
        r#"{"status":0}"#,
        "<html>",
        &answer(0, &[]),
        &answer(5, &[("qwen_chat", 0)]),
    ] {
        let error = read(body.as_bytes()).err().unwrap();
        let code = Some("upstream_signing_unavailable".to_owned());
        assert_eq!(
            (error.kind, error.code),
            (Kind::Unavailable, code),
            "{body}"
        );
    }
}

#[test]
fn pauses_double_up_to_a_minute() {
    let (mut pause, error) = (Pause::default(), unavailable("x"));
    assert!(pause.error().is_none());
    let pauses: Vec<u64> = (0..9)
        .map(|_| {
            pause.has_failed(&error);
            let wait = pause.error().unwrap().retry_after.unwrap();
            (wait + Duration::from_millis(500)).as_secs()
        })
        .collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn a_refresh_does_not_bring_back_what_was_forgotten() {
    let keyring = keyring(&answer(1, &[("qwen_chat", 1)]));
    assert!(keyring.forget("d", || true));
    let refreshed = answer(1, &[("qwen_chat", 9)]);
    keyring.put(read(refreshed.as_bytes()).unwrap(), true);
    assert_eq!(salt(&keyring, Scene::Chat, 1), None);
}
