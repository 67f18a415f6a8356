//! What stands in example files where a credential belongs. The one list: the worker does not use such a value,
//! `scripts/up` and doctor ask the worker.

use crate::{accounts::pasted::credential, providers::registry};

/// Parts of the names of variables that hold something nobody else may see.
const CREDENTIALS: &[&str] = &[
    "COOKIE",
    "TOKEN",
    "PASSWORD",
    "API_KEY",
    "ANON_KEY",
    "MASTER_KEY",
    "AUTHORIZATION",
    "SECRET",
    "EMAIL",
    "MOBILE",
    "DEVICE_ID",
    "WEB_ID",
    "TEA_UUID",
    "_FP",
    "AREA_CODE",
    "SESSION",
    "BX_UA",
    // All four parts, of which two have short names of their own.
    "BAIDU_ACCOUNT_",
];

/// The same word in the names of switches.
const NO_CREDENTIALS: &[&str] = &["DELETE_SESSION"];

/// "Paste", "your", "fill in", "replace", "here", "example", "please enter".
const CHINESE: &[&str] = &[
    "粘贴", "黏贴", "贴上", "你的", "您的", "填写", "填入", "替换", "在此", "这里", "此处", "示例",
    "输入",
];

/// With one of these a text begins that tells what to do, if it is made of words alone.
const ORDERS: &[&str] = &[
    "paste", "put", "insert", "enter", "replace", "fill", "copy", "set", "change", "add",
];

/// Words that stand for nothing, without capitals and punctuation.
const NOTHING: &[&str] = &[
    "none",
    "null",
    "nil",
    "undefined",
    "todo",
    "tbd",
    "changeme",
    "changethis",
    "fillme",
    "fillmein",
    "replaceme",
    "placeholder",
    "example",
    "dummy",
];

/// What real keys and tokens begin with, which examples keep.
const BEGINNINGS: &[&str] = &["sk-proj-", "sk-", "sk_", "pk_", "eyJ"];

/// Longer texts of words are none that tell what to do.
const LONGEST_ORDER: usize = 80;

/// What is blanked out is seldom longer than a key or a UUID.
const LONGEST_BLANK: usize = 64;

/// Whether a variable holds something that nobody else may see.
pub fn is_credential(name: &str) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    has(CREDENTIALS) && !has(NO_CREDENTIALS)
}

/// Whether a value stands where a credential belongs, and is none: `your-token-here`, `在这里粘贴你的Cookie`, `<token>`,
/// `xxx`, `eyJhbGciOi...`. A cookie is one when all its values are.
pub fn is_placeholder(name: &str, value: &str) -> bool {
    let text = credential(value);
    let values: Vec<&str> = text
        .split(';')
        .filter_map(|pair| Some(pair.split_once('=')?.1.trim()))
        // The end of base64.
        .filter(|value| !value.trim_matches('=').is_empty())
        .collect();
    // Before the rest: a text about a credential is none, whatever it is for.
    if says_so(&text) {
        return true;
    }
    // A person may choose any of what follows as a password.
    if name.contains("PASSWORD") {
        return is_blanked(&text);
    }
    is_cut(&text)
        // A cut cookie is useless even where some of its values are whole.
        || if values.is_empty() {
            is_blanked(&text) || is_masked(&text) || is_nothing(name, &text)
        } else {
            let stands_in = |value: &&str| {
                says_so(value) || is_cut(value) || is_blanked(value) || is_nothing(name, value)
            };
            values.iter().all(stands_in)
        }
}

/// A text about the credential: in Chinese, between brackets, with the word "your", or an order.
fn says_so(text: &str) -> bool {
    let is_between = |open: &str, close: &str| text.starts_with(open) && text.ends_with(close);
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let is_order = text.len() <= LONGEST_ORDER
        && words.len() > 1
        && words
            .iter()
            .all(|word| word.chars().all(char::is_alphabetic))
        && words
            .first()
            .is_some_and(|word| ORDERS.contains(&word.as_str()));
    let is_one_word = text.len() <= LONGEST_ORDER && text.chars().all(|c| c.is_ascii_alphabetic());
    CHINESE.iter().any(|word| text.contains(word))
        || is_between("<", ">")
        || is_between("${", "}")
        || is_between("{{", "}}")
        || (is_between("[", "]") && !text.contains('"'))
        || is_order
        || words.iter().any(|word| word == "your")
        || words
            .last()
            .is_some_and(|word| word == "here" && words.len() > 1)
        || (is_one_word && text.to_lowercase().starts_with("your"))
        || (text.contains("<your") && text.contains('>'))
}

/// Cut short: no token and no cookie has three dots at its end, and no token has them anywhere.
fn is_cut(text: &str) -> bool {
    text.ends_with("...")
        || text.contains('…')
        || text.contains("...;")
        || (!text.contains('=') && text.contains("..."))
}

/// Nothing but `x`, `*` and the like behind the beginning of a key.
fn is_blanked(text: &str) -> bool {
    let rest = BEGINNINGS
        .iter()
        .find_map(|beginning| text.strip_prefix(beginning))
        .unwrap_or(text);
    (3..=LONGEST_BLANK).contains(&rest.chars().count())
        && rest
            .chars()
            .all(|c| matches!(c, 'x' | 'X' | '*' | '.' | '-' | '_' | '#' | '•' | '●'))
}

/// A key as pages show it, with its middle hidden; or more of the same than chance brings about.
fn is_masked(text: &str) -> bool {
    text.len() <= LONGEST_BLANK
        && ["***", "xxxxxx", "XXXXXX"]
            .iter()
            .any(|run| text.contains(run))
}

/// A lane's server may need no key, and then people write anything.
fn is_nothing(name: &str, text: &str) -> bool {
    let plain: String = text
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    registry::address_of(name).is_none() && NOTHING.contains(&plain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_examples_have_where_a_credential_belongs() {
        for value in [
            "在这里粘贴你的Cookie",
            "在此处粘贴您的 GtToken",
            "请填写",
            "\"在这里粘贴你的Cookie\"",
            "tongyi_sso_ticket=在这里粘贴; XSRF-TOKEN=在这里粘贴",
            "your-cookie-here",
            "your_deepseek_token_here",
            "YOUR_KIMI_TOKEN",
            "yourtoken",
            "Bearer your-token-here",
            "Authorization: Bearer your-token",
            "sk-your-secret-key",
            "paste your cookie",
            "PASTE_TOKEN_HERE",
            "replace-with-real-token",
            "token here",
            "<token>",
            "<your cookie>",
            "Bearer <token>",
            "ssoSessionId=<your session>",
            "${TOKEN}",
            "{{ token }}",
            "[your token]",
            "eyJhbGciOi...",
            "eyJhbGciOi…",
            "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
            "eyJhbGciOi...abc",
            "ssoSessionId=abc; ...",
            "cna=abc...; x=y",
            "...",
            "xxx",
            "XXXXXXXX",
            "sk-xxxxxxxx",
            "eyJxxxxxx",
            "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "***",
            "sk-ab****yz",
            "tongyi_sso_ticket=xxx",
            "tongyi_sso_ticket=xxx; XSRF-TOKEN=xxx",
            "changeme",
            "change-me",
            "none",
            "null",
            "placeholder",
        ] {
            assert!(is_placeholder("QWEN_TOKEN", value), "{value}");
        }
    }

    #[test]
    fn takes_no_credential_for_one() {
        for value in [
            "t",
            "x",
            "abc",
            "hush=1",
            "tongyi_sso_ticket=old; XSRF-TOKEN=x",
            "ssoSessionId=f1c70000-aaaa-4bbb-8ccc-d00000000001; account_id=1; lang=null; x=undefined",
            "tongyi_sso_ticket=real; note=xxx",
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJmaXh0dXJlIn0.Zml4dHVyZQ",
            "eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn",
            "R0VFAGVoSDlkV1ZzYkc4PQ==",
            "sk-2f7c1e0b9a8d4c55aa10",
            "abcyour-name9",
            "not-a-real-token",
            r#"{"value":"abc","__version":"0"}"#,
            r#"["a.b","c.d"]"#,
            "",
        ] {
            assert!(!is_placeholder("KIMI_TOKEN", value), "{value}");
        }
        // A server of one's own may need no key.
        assert!(!is_placeholder("OPENAI_COMPAT_1_API_KEY", "none"));
        assert!(is_placeholder("CN_ACCOUNT_1_COOKIE", "none"));
        assert!(is_placeholder("OPENAI_COMPAT_1_API_KEY", "sk-xxxxxxxx"));
        assert!(is_placeholder("OPENAI_COMPAT_1_API_KEY", "<key>"));
        // People choose passwords.
        for value in ["changeme", "wait...", "none", "a***b", "hunter2"] {
            assert!(!is_placeholder("DEEPSEEK_PASSWORD", value), "{value}");
        }
        for value in ["your-password", "xxx", "你的密码"] {
            assert!(is_placeholder("DEEPSEEK_PASSWORD_2", value), "{value}");
        }
    }
}
