//! What a person can copy out of a browser, read for the credentials in it: a cURL command ("Copy as cURL"), a HAR file
//! ("Save all as HAR"), a `Cookie` header, a token. Which of it belongs to which provider is the cards' to say
//! ([`crate::providers::Card`]). Pure; nothing of it is ever logged.

use serde::Deserialize;

/// Requests of a HAR file that are looked at, the last ones first: the newest credentials.
const MOST_REQUESTS: usize = 20_000;

/// One request as it was copied.
#[derive(Default)]
pub struct Copied {
    /// Where it went, without port, in lower case; empty where that is unknown.
    pub host: String,
    /// Its headers, names in lower case.
    headers: Vec<(String, String)>,
}

impl std::fmt::Debug for Copied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copied")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Copied {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// The `Cookie` header, where it has all of these, or one of them (`any`).
    pub fn cookies(&self, names: &[&str], any: bool) -> Option<&str> {
        let header = self.header("cookie")?;
        let has =
            |name: &&str| super::pasted::cookie(header, name).is_some_and(|it| !it.is_empty());
        let is_it = if any {
            names.iter().any(has)
        } else {
            names.iter().all(has)
        };
        is_it.then_some(header)
    }
}

/// A text that somebody copied: a cURL command, a `Cookie` header with or without its name, or a header of another name.
/// `None` for anything else: a token, which says nothing of where it belongs.
pub fn text(text: &str) -> Option<Copied> {
    let text = text.trim();
    if let Some(command) = text.strip_prefix("curl")
        && command.starts_with([' ', '\t', '\\', '.'])
    {
        return Some(curl(command));
    }
    if let Some(cookies) = super::pasted::exported(text) {
        return Some(of_headers([("cookie", &*cookies)]));
    }
    let mut headers: Vec<(&str, &str)> = Vec::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim();
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_name && !name.is_empty() {
            headers.push((name, value));
        }
    }
    if headers
        .iter()
        .any(|(name, _)| ["cookie", "authorization"].contains(&name.to_ascii_lowercase().as_str()))
    {
        return Some(of_headers(headers));
    }
    let is_pairs = text.contains('=') && !text.contains(['{', '\n']);
    let has_pair = |part: &str| {
        let name = part.trim().split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| !name.is_empty() && !name.contains(char::is_whitespace))
    };
    let is_cookie = is_pairs && text.trim_end_matches('=').split(';').any(has_pair);
    is_cookie.then(|| of_headers([("cookie", text)]))
}

fn of_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Copied {
    let headers = headers.into_iter();
    let mut copied = Copied {
        headers: headers
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        host: String::new(),
    };
    let host = copied
        .header("host")
        .or_else(|| copied.header(":authority"))
        .unwrap_or_default();
    copied.host = without_port(host).to_ascii_lowercase();
    copied
}

/// What stands behind `curl`, as Chrome, Firefox and Safari copy it for bash, and Chrome for Windows' cmd.
fn curl(command: &str) -> Copied {
    let words = words(command);
    let mut headers: Vec<(&str, &str)> = Vec::new();
    let mut url = "";
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (option, glued) = match word.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value)),
            _ => (word, None),
        };
        let mut value = || glued.or_else(|| words.next()).unwrap_or_default();
        match option {
            "-H" | "--header" => headers.extend(value().split_once(':')),
            "-b" | "--cookie" => headers.push(("cookie", value())),
            "--url" => url = value(),
            // These have a value that is no address.
            "-X" | "--request" | "-d" | "--data" | "--data-raw" | "--data-binary"
            | "--data-urlencode" | "-o" | "--output" | "-A" | "--user-agent" | "-e"
            | "--referer" | "-F" | "--form" | "-u" | "--user" | "-x" | "--proxy" => {
                value();
            }
            _ if word.contains("://") && !word.starts_with('-') => url = word,
            _ => {}
        }
    }
    let copied = of_headers(headers);
    match host_of(url) {
        Some(host) => Copied { host, ..copied },
        None => copied,
    }
}

/// The words of a command line: `'…'`, `"…"`, `$'…'`, a backslash or (cmd) a caret before a character or a line's end.
fn words(command: &str) -> Vec<String> {
    // cmd doubles its escapes: ^" is a quote, and ^\^" a quote within.
    let is_cmd = command.contains("^\"");
    let unescaped;
    let command = if is_cmd {
        unescaped = without_carets(command);
        &unescaped
    } else {
        command
    };
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\'' => {
                let word = word.get_or_insert_default();
                let is_ansi = word.ends_with('$');
                if is_ansi {
                    word.pop();
                }
                while let Some(char) = chars.next() {
                    match char {
                        '\'' => break,
                        '\\' if is_ansi => escaped(&mut chars, word),
                        char => word.push(char),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(char) = chars.next() {
                    match char {
                        '"' => break,
                        '\\' => word.extend(chars.next()),
                        char => word.push(char),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some('\r') => {
                    chars.next_if_eq(&'\n');
                }
                Some(char) => word.get_or_insert_default().push(char),
            },
            char if char.is_whitespace() => words.extend(word.take()),
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

fn without_carets(command: &str) -> String {
    let mut plain = String::with_capacity(command.len());
    let mut chars = command.chars();
    while let Some(char) = chars.next() {
        match char {
            '^' => match chars.next() {
                Some('\r' | '\n') | None => plain.push(' '),
                Some(char) => plain.push(char),
            },
            char => plain.push(char),
        }
    }
    plain
}

/// One character behind a backslash in `$'…'`.
fn escaped(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) {
    let next = chars.next();
    let mut code = |most: usize| {
        let mut digits = String::new();
        while digits.len() < most
            && let Some(digit) = chars.next_if(char::is_ascii_hexdigit)
        {
            digits.push(digit);
        }
        u32::from_str_radix(&digits, 16)
            .ok()
            .and_then(char::from_u32)
    };
    match next {
        Some('n') => word.push('\n'),
        Some('r') => word.push('\r'),
        Some('t') => word.push('\t'),
        Some('u') => word.extend(code(4)),
        Some('x') => word.extend(code(2)),
        Some(char) => word.push(char),
        None => {}
    }
}

fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
    Some(without_port(authority).to_ascii_lowercase()).filter(|host| !host.is_empty())
}

fn without_port(authority: &str) -> &str {
    authority
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(authority, |(host, _)| host)
}

/// What is read of a HAR file: the rest of it, answers above all, is passed over.
#[derive(Deserialize)]
pub struct Har {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    url: String,
    #[serde(default)]
    headers: Vec<Pair>,
    #[serde(default)]
    cookies: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    name: String,
    #[serde(default)]
    value: String,
}

impl std::fmt::Debug for Har {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Har")
            .field("entries", &self.log.entries.len())
            .finish()
    }
}

impl Har {
    /// Its requests, the last one first.
    pub fn requests(self) -> impl Iterator<Item = Copied> {
        let entries = self.log.entries.into_iter().rev().take(MOST_REQUESTS);
        entries.map(|Entry { request }| {
            let headers = request.headers.iter();
            let mut copied = of_headers(headers.map(|pair| (&*pair.name, &*pair.value)));
            if let Some(host) = host_of(&request.url) {
                copied.host = host;
            }
            // Some browsers tell cookies beside the headers only.
            if copied.header("cookie").is_none() && !request.cookies.is_empty() {
                let pairs = request.cookies.iter();
                let pairs: Vec<String> = pairs
                    .map(|pair| format!("{}={}", pair.name, pair.value))
                    .collect();
                copied.headers.push(("cookie".to_owned(), pairs.join("; ")));
            }
            copied
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(copied: &Copied) -> (&str, Option<&str>, Option<&str>) {
        let header = |name| copied.header(name);
        (&copied.host, header("cookie"), header("authorization"))
    }

    #[test]
    fn a_curl_command_of_every_browser_is_read() {
        for command in [
            // Chrome and Firefox, bash.
            "curl 'https://chat.example.com:443/api/chat?x=1' \\\n  -H 'accept: */*' \\\n  -H 'authorization: Bearer a.b' \\\n  -b 'sid=1; token=it'\\''s' \\\n  --data-raw '{\"url\":\"https://other.example\"}'",
            "curl \"https://chat.example.com/api\" -X POST -H \"Authorization: Bearer a.b\" --cookie \"sid=1; token=it's\"",
            "curl --url=https://chat.example.com/api --header='Authorization: Bearer a.b' -H $'cookie: sid=1; token=it\\u0027s'",
            // Chrome, cmd.
            "curl ^\"https://chat.example.com/api^\" ^\r\n  -H ^\"authorization: Bearer a.b^\" ^\r\n  -b ^\"sid=1; token=it's^\"",
        ] {
            let copied = text(command).unwrap();
            let expected = (
                "chat.example.com",
                Some("sid=1; token=it's"),
                Some("Bearer a.b"),
            );
            assert_eq!(read(&copied), expected, "{command}");
            assert!(!format!("{copied:?}").contains("a.b"));
        }
    }

    #[test]
    fn a_har_file_is_read_from_its_end() {
        let har = serde_json::json!({"log": {"version": "1.2", "entries": [
            {"request": {"method": "GET", "url": "https://a.example/1", "headers": [{"name": "Cookie", "value": "sid=old"}]},
             "response": {"content": {"text": "x".repeat(100)}}},
            {"request": {"method": "GET", "url": "https://A.example:8443/2", "headers": [], "cookies": [
                {"name": "sid", "value": "new"}, {"name": "b", "value": "2"}]}},
        ]}});
        let har: Har = serde_json::from_value(har).unwrap();
        let requests: Vec<Copied> = har.requests().collect();
        assert_eq!(
            read(&requests[0]),
            ("a.example", Some("sid=new; b=2"), None)
        );
        assert_eq!(read(&requests[1]), ("a.example", Some("sid=old"), None));
        assert_eq!(
            requests[0].cookies(&["sid", "b"], false),
            Some("sid=new; b=2")
        );
        assert_eq!(requests[0].cookies(&["sid", "c"], false), None);
        assert!(requests[0].cookies(&["sid", "c"], true).is_some());
    }

    #[test]
    fn a_cookie_is_told_from_a_token() {
        for cookie in [
            "sid=1; token=2",
            "Cookie: sid=1; token=2",
            "cookie:sid=1; token=2",
            "Host: x\nCookie: sid=1; token=2",
            r#"[{"name":"sid","value":"1"},{"name":"token","value":"2"}]"#,
        ] {
            let copied = text(cookie).unwrap();
            assert_eq!(copied.header("cookie"), Some("sid=1; token=2"), "{cookie}");
        }
        for token in ["eyJhbGciOi.J9.x", "abc==", "sk-1", "a-b", "curly", ""] {
            assert!(text(token).is_none(), "{token}");
        }
        let bearer = text("authorization: Bearer abc").unwrap();
        assert_eq!(bearer.header("authorization"), Some("Bearer abc"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(
            start in prop_oneof!["curl ", "", "Cookie: "],
            rest in "[-Hbcurl'\"\\\\^$ux:/=;.\\n\\r {}]{0,40}",
        ) {
            let _ = text(&format!("{start}{rest}"));
        }
    }
}
