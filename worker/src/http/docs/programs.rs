//! How programs are pointed at the gateway, for the docs page. docs/clients.md says the same with more words, and a test
//! holds the two together.

use std::fmt::Write as _;

/// One program, and what is to be put where. [`ADDRESS`] and [`MODEL`] stand for the gateway's own, which the page knows.
struct Program {
    name: &'static str,
    /// Where `what` goes.
    place: &'static str,
    what: &'static str,
}

/// The address in the texts below.
const ADDRESS: &str = "http://127.0.0.1:8082";
/// The model in the texts below.
const MODEL: &str = "deepseek-chat";

const PROGRAMS: &[Program] = &[
    Program {
        name: "Claude Code",
        place: "environment",
        what: "\
export ANTHROPIC_BASE_URL=http://127.0.0.1:8082
export ANTHROPIC_AUTH_TOKEN=sk-...
export ANTHROPIC_MODEL=deepseek-chat
export ANTHROPIC_DEFAULT_HAIKU_MODEL=deepseek-chat
export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
claude",
    },
    Program {
        name: "Codex",
        place: "~/.codex/config.toml, with the key in HIVE_KEY",
        what: "\
model = \"deepseek-chat\"
model_provider = \"hive\"

[model_providers.hive]
name = \"hive2api\"
base_url = \"http://127.0.0.1:8082/v1\"
env_key = \"HIVE_KEY\"
wire_api = \"responses\"
request_max_retries = 1
stream_max_retries = 2",
    },
    Program {
        name: "opencode",
        place: "opencode.json, with the key in HIVE_KEY",
        what: r#"{
  "provider": {
    "hive": {
      "npm": "@ai-sdk/openai-compatible",
      "options": { "baseURL": "http://127.0.0.1:8082/v1", "apiKey": "{env:HIVE_KEY}" },
      "models": { "deepseek-chat": { "limit": { "context": 128000, "output": 8192 } } }
    }
  },
  "model": "hive/deepseek-chat"
}"#,
    },
    Program {
        name: "Qwen Code",
        place: "environment",
        what: "\
export OPENAI_BASE_URL=http://127.0.0.1:8082/v1
export OPENAI_API_KEY=sk-...
export OPENAI_MODEL=deepseek-chat
qwen --auth-type openai",
    },
    Program {
        name: "Cline",
        place: "shell; in the editor: API Provider \"OpenAI Compatible\" with the same three",
        what: "cline auth -p openai -k sk-... -m deepseek-chat -b http://127.0.0.1:8082/v1",
    },
    Program {
        name: "Continue",
        place: "~/.continue/config.yaml",
        what: "\
name: hive
version: 0.0.1
models:
  - name: hive
    provider: openai
    model: deepseek-chat
    apiBase: http://127.0.0.1:8082/v1
    apiKey: sk-...
    roles: [chat, edit, apply, autocomplete]",
    },
    Program {
        name: "aider",
        place: "environment",
        what: "\
export OPENAI_API_BASE=http://127.0.0.1:8082/v1
export OPENAI_API_KEY=sk-...
aider --model openai/deepseek-chat",
    },
    Program {
        name: "Open WebUI",
        place: "environment of its container",
        what: "\
OPENAI_API_BASE_URL=http://127.0.0.1:8082/v1
OPENAI_API_KEY=sk-...
ENABLE_FORWARD_USER_INFO_HEADERS=true",
    },
    Program {
        name: "LobeChat",
        place: "environment of its container",
        what: "\
OPENAI_PROXY_URL=http://127.0.0.1:8082/v1
OPENAI_API_KEY=sk-...
OPENAI_MODEL_LIST=-all,+deepseek-chat",
    },
    Program {
        name: "NextChat",
        place: "environment of its container; the address without /v1",
        what: "\
BASE_URL=http://127.0.0.1:8082
OPENAI_API_KEY=sk-...
CUSTOM_MODELS=-all,+deepseek-chat
DEFAULT_MODEL=deepseek-chat",
    },
];

/// The programs as a part of the page, with `{address}` and `{model}` for its script to fill in.
pub(super) fn html() -> String {
    let mut html = String::new();
    for Program { name, place, what } in PROGRAMS {
        // Nothing in the table above needs more escaping than this.
        let what = what.replace('&', "&amp;").replace('<', "&lt;");
        let what = what.replace(ADDRESS, "{address}").replace(MODEL, "{model}");
        let _ = writeln!(
            html,
            "<details><summary>{name}</summary><p>{place}</p><pre>{what}</pre></details>"
        );
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The comments at the ends of lines are the page's own.
    fn without_comments(text: &str) -> String {
        let lines = text.lines().map(|line| {
            line.split_once("  #")
                .map_or(line, |(before, _)| before.trim_end())
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_handbook_says_the_same() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md");
        let handbook = without_comments(&std::fs::read_to_string(path).unwrap());
        for program in PROGRAMS {
            assert!(
                handbook.contains(&format!("\n{}\n", program.what)),
                "docs/clients.md says something else of {}",
                program.name
            );
            assert!(program.what.contains(ADDRESS), "{}", program.name);
        }
    }

    #[test]
    fn each_program_has_its_place_on_the_page() {
        let html = html();
        assert_eq!(html.matches("<details>").count(), PROGRAMS.len());
        assert!(html.contains("base_url = \"{address}/v1\""));
        assert!(!html.contains(ADDRESS) && !html.contains(MODEL));
    }
}
