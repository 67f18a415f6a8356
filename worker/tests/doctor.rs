//! `doctor` on whole folders: the shapes of the five older projects with planted faults, our own files, and the
//! command itself.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by a panic"
)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use hive2api_worker::doctor::{
    self,
    finding::{Report, Severity},
    sources::{self, Kind, Source},
};
use serde_json::Value;

/// 2026-11-19, so that tokens expire on the same day in every run.
const NOW: Duration = Duration::from_secs(1_795_046_400);

const OLDER_PROJECTS: &[&str] = &[
    "Xinghuo-2api",
    "Qwen-2api",
    "hot-apis",
    "flowgpt-2api",
    "langfast-2api",
];

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/fixtures/doctor").join(name)
}

/// Without owner and permissions, which a checkout does not keep.
fn read(kind: Kind, path: &Path) -> Source {
    let source = sources::read(kind, path).unwrap();
    Source {
        access: None,
        ..source
    }
}

fn examine(files: &[(Kind, PathBuf)]) -> Report {
    let sources: Vec<Source> = files.iter().map(|(kind, path)| read(*kind, path)).collect();
    doctor::examine(&sources, &sources::included, NOW)
}

fn codes(report: &Report, severity: Severity) -> Vec<String> {
    let is_of = |one: &&doctor::finding::Finding| one.severity == severity;
    let show = |one: &doctor::finding::Finding| {
        format!("{}:{} {}: {}", one.file, one.line, one.code, one.what)
    };
    report.findings.iter().filter(is_of).map(show).collect()
}

#[test]
fn the_shapes_of_the_older_projects() {
    for name in OLDER_PROJECTS {
        let files = sources::discover(&fixture(name));
        assert_eq!(files.len(), 3, "{name}");
        let report = examine(&files);
        let text = report
            .text()
            .replace(&format!("tests/fixtures/doctor/{name}/"), "");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture(name));
        insta::with_settings!({
            snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true,
        }, { insta::assert_snapshot!("findings", text) });
    }
}

/// Whatever stands behind a `=` or a `:` of a fixture's credential must not be said again.
#[test]
fn no_planted_secret_is_ever_printed() {
    for name in OLDER_PROJECTS {
        let files = sources::discover(&fixture(name));
        let report = examine(&files);
        let said = report.text() + &report.json();
        for (_, path) in &files {
            let text = fs::read_to_string(path).unwrap();
            let words = text.split(|c: char| c.is_whitespace() || "'\";=,@:/".contains(c));
            let secrets = words.filter(|word| {
                word.contains("planted") || word.starts_with("eyJ") || word.starts_with("sk-")
            });
            for secret in secrets {
                assert!(!said.contains(secret), "{name}: {secret} is printed");
            }
        }
        assert!(said.contains("API_MASTER_KEY"), "{name}");
    }
}

/// Every file of this project that doctor can read: doctor and the files keep each other true.
#[test]
fn our_own_files_are_without_errors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let nginx = root.join("nginx/nginx.conf");
    let mut composes = Vec::new();
    let mut folders = vec![root.join("compose")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_yaml = path
                .extension()
                .is_some_and(|end| end == "yaml" || end == "yml");
            if path.is_dir() {
                folders.push(path);
            } else if is_yaml && fs::read_to_string(&path).unwrap().contains("\nservices:") {
                composes.push(path);
            }
        }
    }
    assert!(!composes.is_empty());
    for compose in composes {
        let report = examine(&[
            (Kind::Env, root.join(".env.example")),
            (Kind::Compose, compose.clone()),
            (Kind::Nginx, nginx.clone()),
        ]);
        assert_eq!(codes(&report, Severity::Error), [""; 0]);
        if compose.ends_with("compose/compose.yaml") {
            assert_eq!(codes(&report, Severity::Warning), [""; 0]);
        }
    }
}

/// A folder of a test's own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path =
            std::env::temp_dir().join(format!("hive2api-doctor-{name}-{}", std::process::id()));
        let folder = Self(path);
        fs::create_dir_all(&folder.0).unwrap();
        for (name, text) in files {
            fs::write(folder.0.join(name), text).unwrap();
        }
        folder.allow(".env", 0o600);
        folder
    }

    fn allow(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.0.join(name);
        if path.exists() {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    fn doctor(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hive2api-worker"))
            .arg("doctor")
            .args(args)
            .current_dir(&self.0)
            .env_clear()
            .output()
            .unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const GOOD: &str = "API_MASTER_KEY=sk-2f7c1e0b9a8d4c55aa10\nDEEPSEEK_TOKEN='abc'\n";

#[test]
fn the_exit_code_says_whether_something_fails() {
    let good = Folder::new("good", &[(".env", GOOD)]);
    let output = good.doctor(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(text(&output), "0 errors, 0 warnings, 0 notes in 1 file\n");

    good.allow(".env", 0o644);
    let output = good.doctor(&[]);
    assert!(
        text(&output).contains(".env: warning[readable-by-all]"),
        "{}",
        text(&output)
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(good.doctor(&["--strict"]).status.code(), Some(1));

    let bad = Folder::new("bad", &[(".env", "API_MASTER_KEY=changeme\n")]);
    assert_eq!(bad.doctor(&[]).status.code(), Some(1));
    assert_eq!(bad.doctor(&["--env", "nothing"]).status.code(), Some(1));
    for wrong in [&["--what"][..], &["a", "b"], &["--env"], &["nowhere"]] {
        let output = bad.doctor(wrong);
        assert_eq!(output.status.code(), Some(64), "{wrong:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    let empty = Folder::new("empty", &[]);
    assert_eq!(empty.doctor(&[]).status.code(), Some(64));
    assert_eq!(empty.doctor(&["--help"]).status.code(), Some(0));
}

#[test]
fn machines_get_json_and_files_may_be_named() {
    let nginx =
        "server { listen 80; location / { proxy_pass http://app:1; include more/*.conf; } }";
    let folder = Folder::new("json", &[("a.env", GOOD), ("edge.conf", nginx)]);
    fs::create_dir_all(folder.0.join("more")).unwrap();
    fs::write(folder.0.join("more/b.conf"), "# b\nproxy_buffering on;\n").unwrap();
    let output = folder.doctor(&["--json", "--env", "a.env", "--nginx=edge.conf"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["files"], 2);
    let findings = report["findings"].as_array().unwrap();
    let buffering = findings
        .iter()
        .find(|one| one["code"] == "proxy-buffering")
        .unwrap();
    assert_eq!(buffering["file"], "more/b.conf");
    assert_eq!(buffering["line"], 2);
    assert_eq!(buffering["severity"], "warning");
    for key in ["what", "why", "fix"] {
        assert!(
            buffering[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key}"
        );
    }
}

#[test]
fn a_container_that_cannot_read_the_file_is_found() {
    let compose = "services:\n  worker:\n    image: w:1\n    user: '10001'\n    stop_grace_period: 200s\n    environment: {ACCOUNTS_FILE: /config/.env}\n    volumes: ['.:/config:ro']\n";
    for (user, severity) in [("10001", "warning"), ("\"${HIVE_UID:-10001}\"", "note")] {
        let compose = compose.replace("'10001'", user);
        let folder = Folder::new(severity, &[(".env", GOOD), ("compose.yaml", &compose)]);
        let said = text(&folder.doctor(&[]));
        let expected = format!("{severity}[unreadable-in-container] 10001:10001");
        assert!(said.contains(&expected), "{said}");
    }
}

/// Answers one HEAD request with a date of 2020.
fn slow_clock() -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 1024];
        let length = stream.read(&mut asked).unwrap();
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nDate: Wed, 01 Jan 2020 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    (port, served)
}

#[test]
fn online_finds_unreachable_providers_and_wrong_clocks() {
    let (port, served) = slow_clock();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let env = format!(
        "{GOOD}DEEPSEEK_BASE_URL=http://127.0.0.1:{closed}\nOPENAI_COMPAT_1_BASE_URL=http://127.0.0.1:{port}/v1\nOPENAI_COMPAT_1_API_KEY=sk-hush\nOPENAI_COMPAT_1_MODELS=m\nREDIS_URL=redis://127.0.0.1:{closed}\n"
    );
    let folder = Folder::new("online", &[(".env", &env)]);
    let offline = folder.doctor(&[]);
    assert_eq!(offline.status.code(), Some(0), "{}", text(&offline));
    let output = folder.doctor(&["--online"]);
    let said = text(&output);
    for expected in [
        ".env:3: error[provider-unreachable] deepseek (127.0.0.1)",
        ".env:4: error[clock-skew]",
        ".env:7: warning[other-store]",
        ".env:7: warning[store-unreachable]",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert_eq!(output.status.code(), Some(1));
    let asked = served.join().unwrap();
    assert!(
        asked.starts_with("HEAD / HTTP/1.1") && !asked.contains("hush"),
        "{asked}"
    );
}
