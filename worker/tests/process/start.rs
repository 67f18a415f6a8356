//! Settings as people write them: what starts, and what is refused with words that help.

use crate::support::{Folder, Worker, command, read};

/// A lane that nobody has to answer for.
const LANE: &str = "OPENAI_COMPAT_1_BASE_URL=http://127.0.0.1:9/v1\nOPENAI_COMPAT_1_API_KEY=sk-lab\nOPENAI_COMPAT_1_MODELS=m\n";

/// The exit code and the complaint of a worker with this file.
fn refused(folder: &Folder, bytes: &[u8]) -> (Option<i32>, String) {
    let path = folder.0.join(".env");
    std::fs::write(&path, bytes).unwrap();
    let output = command(&[("ACCOUNTS_FILE", path.to_str().unwrap())])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

/// What the subcommand prints, and its exit code.
fn told(arguments: &[&str], settings: &[(&str, &str)]) -> (String, Option<i32>) {
    let output = command(settings).args(arguments).output().unwrap();
    (
        String::from_utf8(output.stdout).unwrap(),
        output.status.code(),
    )
}

#[test]
fn the_bad_line_is_named_by_its_number() {
    let folder = Folder::new("bad-line");
    for (text, line) in [
        ("API_MASTER_KEY=sk-1\n# c\nKIMI_TOKEN: hush\n", 3),
        ("\u{feff}API_MASTER_KEY=sk-1\r\n\r\nKIMI_TOKEN: hush\r\n", 3),
        ("API_MASTER_KEY=sk-1\nQWEN_TOKEN='hush\nPORT=1\n", 2),
        ("API_MASTER_KEY=sk-1\nQWEN_TOKEN=hush; hush\n", 2),
    ] {
        let (code, said) = refused(&folder, text.as_bytes());
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(&format!("line {line} ")), "{said}");
        assert!(!said.contains("hush"), "{said}");
    }
    let (code, said) = refused(&folder, b"API_MASTER_KEY=sk-1\nA=\xff\n");
    assert!(code == Some(78) && said.contains("line 2 "), "{said}");
}

#[test]
fn a_file_from_any_editor_starts() {
    let folder = Folder::new("editors");
    let path = folder.0.join(".env");
    let text = format!("\u{feff}API_MASTER_KEY=sk-editor-0123456789\r\n{LANE}");
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [text.as_bytes(), &utf16] {
        std::fs::write(&path, bytes).unwrap();
        let settings = [
            ("API_MASTER_KEY", ""),
            ("ACCOUNTS_FILE", path.to_str().unwrap()),
        ];
        let worker = Worker::start(&settings);
        let asked = worker.send_with("GET /v1/models", "sk-editor-0123456789", "");
        assert_eq!(read(asked.unwrap()).unwrap().0, 200);
    }
}

#[test]
fn quotes_that_docker_keeps_are_taken_off_everywhere() {
    let worker = Worker::start(&[
        ("API_MASTER_KEY", "\"sk-quoted-0123456789\""),
        ("OPENAI_COMPAT_1_NAME", "'lab'"),
        ("OPENAI_COMPAT_1_BASE_URL", "\"http://127.0.0.1:9/v1\""),
        ("OPENAI_COMPAT_1_API_KEY", "\"sk-lab\""),
        ("OPENAI_COMPAT_1_MODELS", "\"m\""),
        ("MODEL_ROUTES", "'{\"gpt\":[\"lab/m\"]}'"),
        ("WORKER_NAME", "\"bee\""),
        ("LOG_FORMAT", "\"text\""),
    ]);
    let asked = worker.send_with("GET /v1/models", "sk-quoted-0123456789", "");
    let (status, text) = read(asked.unwrap()).unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(
        text.contains("\"id\":\"m\"") && text.contains("\"id\":\"gpt\""),
        "{text}"
    );
    assert!(
        text.to_lowercase().contains("x-hive-worker: bee\r\n"),
        "{text}"
    );
}

#[test]
fn a_key_that_no_client_can_send_is_refused() {
    let output = command(&[("API_MASTER_KEY", "蜂巢之门-0123456789")]).output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("API_MASTER_KEY") && said.contains("ASCII"),
        "{said}"
    );
    assert!(!said.contains("0123456789"), "{said}");
}

#[test]
fn placeholders_are_no_accounts_and_the_worker_says_who_has_one() {
    let key = ("API_MASTER_KEY", "sk-1");
    let none = [
        key,
        ("QWEN_TOKEN", "在这里粘贴你的Cookie"),
        ("CN_ACCOUNT_1_COOKIE", "your-cookie-here"),
        ("CN_ACCOUNT_1_XSRF_TOKEN", "your-xsrf-token-here"),
        ("XINGHUO_COOKIE", "ssoSessionId=<your session>"),
        ("GT_TOKEN", "xxx"),
        ("DEEPSEEK_TOKEN", "eyJhbGciOi..."),
        ("DEEPSEEK_EMAIL", "your@email.com"),
        ("DEEPSEEK_PASSWORD", "your-password"),
        ("KIMI_TOKEN", "Bearer eyJhbGciOi..."),
        ("LANGFAST_ANON_KEY", "<anon key>"),
        ("OPENAI_COMPAT_1_BASE_URL", "http://127.0.0.1:9/v1"),
        ("OPENAI_COMPAT_1_API_KEY", "sk-xxxxxxxx"),
        ("OPENAI_COMPAT_1_MODELS", "m"),
    ];
    assert_eq!(told(&["accounts"], &none), (String::new(), Some(1)));
    let some = [&none[..], &[("KIMI_TOKEN_2", "Bearer abc.def.ghi")]].concat();
    assert_eq!(told(&["accounts"], &some), ("kimi\n".to_owned(), Some(0)));
    assert_eq!(told(&["accounts"], &[]).1, Some(78));
    // It says so in its log, too, by the variables' names.
    let worker = Worker::start(&none);
    worker.signal("-TERM");
    let (_, log) = worker.wait(std::time::Duration::from_secs(10));
    for name in ["QWEN_TOKEN", "DEEPSEEK_PASSWORD", "OPENAI_COMPAT_1_API_KEY"] {
        assert!(
            log.contains(&format!("{name} holds a placeholder")),
            "{name}: {log}"
        );
    }
}

#[test]
fn scripts_get_values_as_the_worker_reads_them() {
    let folder = Folder::new("setting");
    let path = folder.0.join(".env");
    std::fs::write(
        &path,
        "\u{feff}API_MASTER_KEY=\"Bearer sk-1\" # mine\r\nLISTEN_PORT='81'\r\nPORT=1\r\n",
    )
    .unwrap();
    let settings = [("ACCOUNTS_FILE", path.to_str().unwrap()), ("PORT", "\"2\"")];
    for (name, value) in [
        ("API_MASTER_KEY", "sk-1\n"),
        ("LISTEN_PORT", "81\n"),
        ("PORT", "2\n"),
        ("NGINX_PORT", ""),
    ] {
        let said = told(&["setting", name], &settings);
        assert_eq!(said, (value.to_owned(), Some(0)), "{name}");
    }
}
