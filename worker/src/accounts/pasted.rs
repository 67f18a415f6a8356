//! Credentials as people paste them: a whole cookie or one value of it, with the header around it, in quotes, as an object of
//! Local Storage, several between commas. One call reads a variable in any of these shapes:
//!
//! ```ignore
//! const SHAPES: Shapes = Shapes { cookies: &["chatglm_refresh_token"], members: &["refresh_token"] };
//! let accounts = pasted::accounts(vars, "ZHIPU_TOKEN", &SHAPES, problems);
//! ```
//!
//! Pure. What any text of the environment may have around it: [`crate::settings::text`].

use serde_json::Value;

use crate::settings::{
    Problems, Vars,
    text::{clean, unquoted},
};

/// What stands before a credential where somebody copied the whole line of a request, in lower case.
const HEADERS: &[&str] = &[
    "authorization",
    "bearer",
    "cookie",
    "set-cookie",
    "x-xsrf-token",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "gttoken",
];

/// How curl names a header or a cookie; "Copy as cURL" gives these.
const OPTIONS: &[&str] = &["--header ", "-H ", "--cookie ", "-b "];

/// Where a provider's credential is found in what was pasted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shapes {
    /// Cookies that hold it, the best first. The same names are looked for in exported lists of cookies.
    pub cookies: &'static [&'static str],
    /// What an object of Local Storage calls it, the best first; `user/token` leads through objects.
    pub members: &'static [&'static str],
}

/// One credential, with the variable that it stands in.
#[derive(Clone, PartialEq, Eq)]
pub struct Pasted {
    /// Which variable to renew.
    pub variable: String,
    /// The credential alone.
    pub value: String,
}

impl std::fmt::Debug for Pasted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pasted")
            .field("variable", &self.variable)
            .finish_non_exhaustive()
    }
}

/// The credentials of `NAME`, `NAME_2`, …, each with its account's number: the first of a variable has the variable's
/// number, further ones the next free numbers. One that was pasted twice is one account.
///
/// Problems: a variable that holds none, or one that no header can carry; a warning for one that is not used.
pub fn accounts(
    vars: &Vars,
    name: &str,
    shapes: &Shapes,
    problems: &mut Problems,
) -> Vec<(usize, Pasted)> {
    let (mut accounts, mut more): (Vec<(usize, Pasted)>, Vec<Pasted>) = (Vec::new(), Vec::new());
    for (number, text) in vars.numbered(name) {
        let variable = variable(vars, name, number);
        let mut found = values(&text, shapes).into_iter().map(|value| Pasted {
            variable: variable.clone(),
            value,
        });
        match found.next() {
            // Two accounts that rotate one credential would end each other's.
            Some(first) if is_known(&accounts, &first) => problems.warn(format!(
                "{variable} holds a credential that another account has already: it is not used"
            )),
            Some(first) => accounts.push((number, first)),
            None => problems.push(format!("{variable} holds no token")),
        }
        // Behind all numbered ones, so that an account's number stays that of its variable when one holds several.
        more.extend(found);
    }
    for pasted in more {
        if !is_known(&accounts, &pasted) {
            let last = accounts.iter().map(|(number, _)| *number).max();
            accounts.push((last.unwrap_or_default() + 1, pasted));
        }
    }
    for (number, Pasted { variable, value }) in &accounts {
        // Here and not when the header is built, which would leave it out in silence.
        if !value.chars().all(|c| c.is_ascii_graphic()) {
            problems.push(format!(
                "{variable}: account {number} holds a blank or a character that no header can carry"
            ));
        }
    }
    accounts
}

/// The accounts of `NAME`, `NAME_2`, … whose value is a whole `Cookie` header, or one short form of it, or several of these
/// between commas; numbered as [`accounts`] numbers them. One that was pasted twice, as `is_same` sees it, is one account.
///
/// `read` makes an account of one value and its variable, or says what is wrong with the value without repeating any of
/// it: that becomes a problem.
pub fn cookies<A>(
    vars: &Vars,
    name: &str,
    problems: &mut Problems,
    read: impl Fn(&str, &str) -> Result<A, &'static str>,
    is_same: impl Fn(&A, &A) -> bool,
) -> Vec<(usize, A)> {
    let (mut accounts, mut more): (Vec<(usize, A)>, Vec<A>) = (Vec::new(), Vec::new());
    for (number, value) in vars.numbered(name) {
        let variable = variable(vars, name, number);
        let value = exported(&value).unwrap_or(value);
        let mut read = |value: &str| match read(value, &variable) {
            Ok(account) => Some(account),
            Err(problem) => {
                problems.push(format!("{variable} {problem}"));
                None
            }
        };
        // Commas stand within cookies, too: only short forms are told apart by them.
        if value.contains('=') {
            // Known before the loop over commas: a cookie with `=` is one account, even if it holds commas.
            accounts.extend(read(&value).map(|account| (number, account)));
            continue;
        }
        let is_there = |part: &&str| !part.trim().is_empty();
        for (at, part) in value.split(',').filter(is_there).enumerate() {
            match read(part) {
                Some(account) if at == 0 => accounts.push((number, account)),
                account => more.extend(account),
            }
        }
    }
    for account in more {
        if !accounts.iter().any(|(_, known)| is_same(known, &account)) {
            let last = accounts.iter().map(|(number, _)| *number).max();
            accounts.push((last.unwrap_or_default() + 1, account));
        }
    }
    accounts
}

fn is_known(accounts: &[(usize, Pasted)], pasted: &Pasted) -> bool {
    accounts
        .iter()
        .any(|(_, known)| known.value == pasted.value)
}

/// The name of the variable that holds number `number` of `NAME`, `NAME_2`, …: `NAME_1` is another name of the first.
pub fn variable(vars: &Vars, name: &str, number: usize) -> String {
    if number == 1 && vars.get(name).is_some() {
        name.to_owned()
    } else {
        format!("{name}_{number}")
    }
}

/// The credentials in one text, each without what was copied along with it.
pub fn values(text: &str, shapes: &Shapes) -> Vec<String> {
    let text = credential(text);
    if let Ok(json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(&text) {
        return in_json(&json, shapes);
    }
    // JSON has been looked at before, as its commas separate nothing here.
    let parts: Vec<String> = text.split(',').map(credential).collect();
    let cookies: Vec<Option<&str>> = parts
        .iter()
        .map(|part| shapes.cookies.iter().find_map(|name| cookie(part, name)))
        .collect();
    let has_cookie = cookies.iter().any(Option::is_some);
    parts
        .iter()
        .zip(cookies)
        .filter_map(|(part, cookie)| match cookie {
            Some(value) => Some(credential(value)),
            // A comma within a cookie, such as that of a date: the rest of it is no credential.
            None if has_cookie && is_cookies_rest(part) => None,
            None => Some(part.clone()),
        })
        .filter(|value| !value.is_empty())
        .collect()
}

/// A value of a cookie header.
pub fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let value = pair.trim().strip_prefix(name)?.strip_prefix('=')?;
        Some(value.trim_end())
    })
}

/// The cookie header of a list of cookies as browsers' extensions export it; `None` for anything else.
pub fn exported(text: &str) -> Option<String> {
    let Ok(Value::Array(cookies)) = serde_json::from_str(text) else {
        return None;
    };
    let pair = |cookie: &Value| {
        let (name, value) = (
            cookie.get("name")?.as_str()?,
            cookie.get("value")?.as_str()?,
        );
        Some(format!("{name}={value}"))
    };
    let pairs: Vec<String> = cookies.iter().filter_map(pair).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

fn is_cookies_rest(part: &str) -> bool {
    let is_pair = part
        .split_once('=')
        // What ends base64 makes no pair.
        .is_some_and(|(_, value)| !value.trim_matches('=').is_empty());
    is_pair || part.contains(';') || part.contains(char::is_whitespace)
}

/// An object of Local Storage, a list of cookies as browsers' extensions export it, or a list of either.
fn in_json(json: &Value, shapes: &Shapes) -> Vec<String> {
    match json {
        Value::String(text) => values(text, shapes),
        Value::Array(parts) => match parts_of_token(parts) {
            Some(token) => vec![token],
            None => {
                let mut found: Vec<String> = Vec::new();
                for part in parts {
                    for value in in_json(part, shapes) {
                        if !found.contains(&value) {
                            found.push(value);
                        }
                    }
                }
                found
            }
        },
        Value::Object(object) => {
            if let (Some(Value::String(name)), Some(value)) =
                (object.get("name"), object.get("value"))
                // Only where a provider has cookies: for others an object with both members is a stored item.
                && !shapes.cookies.is_empty()
            {
                let is_wanted = shapes.cookies.contains(&name.as_str());
                return if is_wanted {
                    in_json(value, shapes)
                } else {
                    Vec::new()
                };
            }
            let at = |path: &&&str| {
                path.split('/')
                    .try_fold(json, |value, name| value.get(name))
            };
            // Members first: a cookie's name within an object of Local Storage is the older shape.
            let members = shapes.members.iter().chain(shapes.cookies);
            members
                .filter_map(|path| at(&path))
                .map(|value| in_json(value, shapes))
                .find(|values| !values.is_empty())
                .unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Local Storage of some sites shows a JSON web token as the array of its three parts.
fn parts_of_token(parts: &[Value]) -> Option<String> {
    let parts: Vec<&str> = parts.iter().map(Value::as_str).collect::<Option<_>>()?;
    let is_token = parts.len() == 3 && parts.iter().all(|part| !part.contains(['.', '=', ';']));
    is_token.then(|| parts.join("."))
}

/// A credential in one line, without what was copied along with it: the header's name, `Bearer`, quotes.
pub fn credential(value: &str) -> String {
    let mut text = clean(value);
    // Each round takes something off, so this ends.
    loop {
        let shorter = OPTIONS
            .iter()
            .find_map(|option| text.strip_prefix(option))
            .or_else(|| after_header(&text))
            .or_else(|| after_bearer(&text))
            .map(unquoted);
        match shorter {
            Some(shorter) => text = shorter,
            // Line breaks within a token come from terminals that wrap.
            None => return text.replace('\n', ""),
        }
    }
}

/// What follows a header's name: behind a colon, or in the line below, as some tools show it.
fn after_header(text: &str) -> Option<&str> {
    let (name, value) = text.split_once([':', '：', '\n'])?;
    let name = name.trim();
    HEADERS
        .iter()
        .any(|header| name.eq_ignore_ascii_case(header))
        .then_some(value)
}

fn after_bearer(text: &str) -> Option<&str> {
    let (scheme, value) = text.split_once(char::is_whitespace)?;
    scheme.eq_ignore_ascii_case("bearer").then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::text::is_unseen;

    const SHAPES: Shapes = Shapes {
        cookies: &["site-auth", "access_token"],
        members: &["refresh_token", "state/token", "value"],
    };

    #[test]
    fn takes_off_the_header_around_a_credential() {
        for value in [
            "abc",
            "Bearer abc",
            "bearer  abc",
            "Bearer Bearer abc",
            "Authorization: Bearer abc",
            "authorization:abc",
            "\"Authorization: Bearer abc\"",
            "Authorization: \"Bearer abc\"",
            "-H 'authorization: Bearer abc'",
            "Cookie: abc",
            "cookie\nabc",
            "X-Xsrf-Token: abc\r\n",
            "Bearer a\nbc",
        ] {
            assert_eq!(credential(value), "abc", "{value:?}");
        }
        // A colon or a word alone is no header.
        for value in ["name:abc", "a=b; cookie=c", "bearerabc", "a@b.example"] {
            assert_eq!(credential(value), value);
        }
        assert_eq!(credential("Cookie: a=b: c; d=\"e\""), "a=b: c; d=\"e\"");
    }

    #[test]
    fn takes_a_credential_in_every_shape() {
        for pasted in [
            "a.b.c",
            " \"a.b.c\" ",
            "'Bearer a.b.c'",
            "Bearer \"a.b.c\"",
            "-H 'authorization: Bearer a.b.c'",
            "site-auth=a.b.c",
            "x=y; site-auth=a.b.c; z=0",
            "Cookie: site-auth=\"a.b.c\"; z=0",
            "access_token=other; site-auth=a.b.c",
            "access_token=a.b.c; Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT",
            "n=1,2; site-auth=a.b.c",
            r#"["a", "b", "c"]"#,
            r#"{"access_token": "x", "refresh_token": "a.b.c"}"#,
            r#"{"state": {"token": "a.b.c"}, "version": 0}"#,
            r#"{"value": "Bearer a.b.c", "__version": "0"}"#,
            r#"{"value": "{\"refresh_token\": \"a.b.c\"}"}"#,
            r#"{"access_token": "a.b.c"}"#,
            r#"[{"name": "other", "value": "x"}, {"name": "site-auth", "value": "a.b.c", "domain": "d"}]"#,
        ] {
            assert_eq!(values(pasted, &SHAPES), ["a.b.c"], "{pasted}");
        }
        for none in ["{}", "[]", "\"\"", ",,", "site-auth=", r#"{"value": 1}"#] {
            assert_eq!(values(none, &SHAPES), [""; 0], "{none}");
        }
        // Without names nothing is looked for.
        assert_eq!(values("a=b", &Shapes::default()), ["a=b"]);
    }

    #[test]
    fn an_exported_list_is_a_cookie_header() {
        let list = r#"[{"name":"a","value":"1","domain":"d"},{"x":0},{"name":"b","value":"2=3"}]"#;
        assert_eq!(exported(list).as_deref(), Some("a=1; b=2=3"));
        for other in ["[]", "a=1", r#"{"name":"a","value":"1"}"#, r#"["a"]"#] {
            assert_eq!(exported(other), None, "{other}");
        }
    }

    #[test]
    fn several_credentials_are_several_accounts() {
        let vars = Vars::new([
            ("X_TOKEN", "a, b==,,Bearer c, a"),
            ("X_TOKEN_3", "x=1; site-auth=d, site-auth=e, f"),
            ("X_TOKEN_4", "{}"),
            ("X_TOKEN_5", "g h"),
            ("X_TOKEN_6", "Bearer a"),
        ]);
        let mut problems = Problems::default();
        let found = accounts(&vars, "X_TOKEN", &SHAPES, &mut problems);
        let found: Vec<(usize, &str, &str)> = found
            .iter()
            .map(|(number, it)| (*number, it.variable.as_str(), it.value.as_str()))
            .collect();
        let expected = [
            (1, "X_TOKEN", "a"),
            (3, "X_TOKEN_3", "d"),
            (5, "X_TOKEN_5", "g h"),
            (6, "X_TOKEN", "b=="),
            (7, "X_TOKEN", "c"),
            (8, "X_TOKEN_3", "e"),
            (9, "X_TOKEN_3", "f"),
        ];
        assert_eq!(found, expected);
        assert_eq!(problems.errors.len(), 2, "{problems:?}");
        assert_eq!(problems.warnings.len(), 1, "{problems:?}");
        assert!(
            problems.errors[0].starts_with("X_TOKEN_4 ")
                && problems.errors[1].starts_with("X_TOKEN_5: ")
        );
        assert!(!problems.errors[1].contains("g h"));
    }

    proptest! {
        /// Nothing unseen is left in it, and no text breaks the reader.
        #[test]
        fn is_one_clean_line(value in "[ab\"' :,;=\\[\\]{}\u{feff}\u{200b}\u{a0}\r\n]{0,24}") {
            let credential = credential(&value);
            prop_assert!(!credential.chars().any(|c| is_unseen(c) || c.is_control()));
            prop_assert_eq!(credential.trim(), credential.as_str());
            for found in values(&value, &SHAPES) {
                prop_assert!(!found.is_empty());
            }
        }
    }
}
