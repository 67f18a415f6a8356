//! The query of every call and its two signatures. Both are over the bytes that are sent, so URL and body are built once
//! and sent as they are. Source: `wire/minimax.md` sections 4, 5, 12.1 and 12.2.

use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// In `x-signature`, between the time and the body.
const SALT: &str = "I*7Cf%WZ#S&%1RlZJ&C2";
/// At the end of what `yy` is made of.
const TAIL: &str = "ooui";

/// What `encodeURIComponent` changes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
/// What a form's value has encoded; blanks do not occur in any of ours.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// Who calls, in the words of the query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who<'a> {
    /// The JWT.
    pub(super) token: &'a str,
    /// `user_id`.
    pub(super) user: &'a str,
    /// `device_id`, decimal.
    pub(super) device: &'a str,
    /// `uuid`, the same for one account.
    pub(super) uuid: &'a str,
}

/// Which form of the query a generation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Section 4.
    Matrix,
    /// Section 12.1, of the Chinese site.
    Cloud,
    /// Section 12.1, of the international site.
    CloudAbroad,
}

/// The query string, its members in the order that is part of what is signed. `unix_seconds` is also `x-timestamp`.
pub(super) fn query(form: Form, who: Who<'_>, unix_seconds: u64) -> String {
    let is_cloud = form != Form::Matrix;
    let (lang, language, region) = match form {
        Form::Matrix => ("zh", "zh-CN", None),
        Form::Cloud => ("zh", "zh-CN", Some("cn")),
        Form::CloudAbroad => ("en", "en-US", Some("en")),
    };
    // Not the clock's own milliseconds: `x-timestamp` has seconds, and the two must agree.
    let unix = format!("{unix_seconds}000");
    // Section 12.1: the fingerprint is compared with the generation's page.
    let pick = |cloud: &'static str, matrix: &'static str| if is_cloud { cloud } else { matrix };
    let members = [
        Some(("device_platform", "web")),
        Some(("biz_id", "3")),
        Some(("app_id", "3001")),
        Some(("version_code", "22201")),
        Some(("unix", &*unix)),
        Some(("timezone_offset", "28800")),
        // The members that only the cloud query has stand where its page has them: the order is signed.
        is_cloud.then_some(("sys_language", lang)),
        Some(("lang", lang)),
        Some(("uuid", who.uuid)),
        Some(("device_id", who.device)),
        Some(("os_name", "Windows")),
        Some(("browser_name", pick("Chrome", "chrome"))),
        Some(("device_memory", pick("16", "8"))),
        Some(("cpu_core_num", pick("8", "32"))),
        Some(("browser_language", language)),
        Some(("browser_platform", "Win32")),
        Some(("user_id", who.user)),
        Some(("screen_width", pick("1920", "1600"))),
        Some(("screen_height", pick("1080", "1000"))),
        Some(("token", who.token)),
        Some(("client", "web")),
        region.map(|region| ("region", region)),
    ];
    let mut query = String::with_capacity(512 + who.token.len());
    for (name, value) in members.into_iter().flatten() {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.extend(utf8_percent_encode(value, FORM));
    }
    query
}

/// The query that is signed instead of the one that is sent, where the service answers `invalid signature` to an account
/// call (section 12.2): with one member more.
pub(super) fn with_ticket(query: &str) -> String {
    // Section 12.2: between `user_id` and `screen_width`, and only in what is signed.
    query.replacen("&screen_width=", "&op_ticket=undefined&screen_width=", 1)
}

/// `x-signature`. A GET has an empty body here.
pub(super) fn x_signature(unix_seconds: u64, body: &[u8]) -> String {
    let mut hash = Md5::new();
    hash.update(unix_seconds.to_string());
    hash.update(SALT);
    hash.update(body);
    hex(&hash.finalize())
}

/// `yy`. `target` is the path with the query, or the whole URL; a GET has no body.
pub(super) fn yy(target: &str, body: Option<&[u8]>, unix_seconds: u64) -> String {
    let mut hash = Md5::new();
    // Piece by piece: the encoded URL, with the token in it, is never built.
    for piece in utf8_percent_encode(target, COMPONENT) {
        hash.update(piece);
    }
    hash.update("_");
    // Section 5: a GET signs these two characters here, and nothing in `x-signature`.
    hash.update(body.unwrap_or(b"{}"));
    hash.update(hex(&Md5::digest(format!("{unix_seconds}000"))));
    hash.update(TAIL);
    hex(&hash.finalize())
}

/// Bytes in lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{x_signature as signature, yy as mark, *};

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE4OTM0NTYwMDAsInVzZXIiOnsiaWQiOiI0NDAwMTEyMjMzNDQ1NTY2NzciLCJuYW1lIjoidGVzdGVyIiwiYXZhdGFyIjoiIiwiZGV2aWNlSUQiOiIzMTIzNDU2Nzg5MDEyMzQ1NjciLCJpc0Fub255bW91cyI6ZmFsc2V9fQ.c2lnbmF0dXJl";

    fn who(device: &'static str) -> Who<'static> {
        Who {
            token: TOKEN,
            user: "440011223344556677",
            device,
            uuid: "11111111-2222-4333-8444-555555555555",
        }
    }

    /// The vectors of section 5, and its intermediate values.
    #[test]
    fn signs_the_matrix_generation_as_the_vectors_say() {
        for (unix, path, body, x_signature, yy) in [
            (
                1_767_225_600,
                "/matrix/api/v1/chat/send_msg",
                r#"{"msg_type":1,"text":"hello","chat_type":2,"attachments":[],"selected_mcp_tools":[],"sub_agent_ids":[],"model_option":{"display_name":"Auto","model_type":0}}"#,
                "7d56e17ca94c2fcb7106ea591f6510c4",
                "aed66ea9762068f1ba3d0d8c560052f5",
            ),
            (
                1_767_225_600,
                "/matrix/api/v1/chat/send_msg",
                r#"{"msg_type":1,"text":"你好，«世界» 👋🏽\nline2 \"q\" \\ /","chat_type":2,"attachments":[],"selected_mcp_tools":[],"sub_agent_ids":[],"model_option":{"display_name":"MiniMax-M2.5","model_type":501}}"#,
                "31f726c4036f51117508e622f2755713",
                "c8a99fa0339db33154224079dc05f9fa",
            ),
            (
                1_772_618_396,
                "/matrix/api/v1/chat/get_chat_detail",
                r#"{"chat_id":337867554939466,"size":500,"desc":true}"#,
                "f3b4dc9120788b05292d9d036dc76d91",
                "c640d8f29a7f2cda0c5f1394564d9d21",
            ),
            (
                1_772_618_397,
                "/matrix/api/v1/chat/delete_chat",
                r#"{"chat_id":337867554939466}"#,
                "f2e4750ca4fb8624d1750f081581d9e2",
                "e6b4ea2849dc8331e44c8f32af5fbaff",
            ),
        ] {
            let query = query(Form::Matrix, who("312345678901234567"), unix);
            let target = format!("{path}?{query}");
            let signed = (
                signature(unix, body.as_bytes()),
                mark(&target, Some(body.as_bytes()), unix),
            );
            assert_eq!(signed, (x_signature.to_owned(), yy.to_owned()), "{path}");
        }
        let first = query(Form::Matrix, who("312345678901234567"), 1_767_225_600);
        let target = format!("/matrix/api/v1/chat/send_msg?{first}");
        let encoded = utf8_percent_encode(&target, COMPONENT).to_string();
        assert_eq!(encoded.len(), 722);
        assert_eq!(
            hex(&Md5::digest(&encoded)),
            "8b5e0ae1632611ba0918e350ef022085"
        );
        assert_eq!(
            hex(&Md5::digest("1767225600000")),
            "3c07bf0ecf51da6caed1baffee88df16"
        );
        let small = (
            signature(1_772_618_396, br#"{"x":1}"#),
            mark(
                "/matrix/api/v1/chat/send_msg?a=1&b=2",
                Some(br#"{"x":1}"#),
                1_772_618_396,
            ),
        );
        assert_eq!(small.0, "92d6a35b2fdcf254dba0de61366adcd3");
        assert_eq!(small.1, "0940f794d5b9e06d6d52d997bb3bac09");
    }

    /// The vectors of section 12.2.
    #[test]
    fn signs_the_cloud_generation_as_the_vectors_say() {
        const UNIX: u64 = 1_789_344_000;
        const PREFIX: &str = "/minimax-cloud/api/v1";
        const HOST: &str = "https://agent-stream.minimaxi.com";
        let query = query(Form::Cloud, who("31234567"), UNIX);
        for (host, path, body, x_signature, yy) in [
            (
                "",
                "/config",
                None,
                "839a6e1e3efbc9667ed07dd6315c8724",
                "2e8248d7b76388fe64c2eb6e337dc32c",
            ),
            (
                "",
                "/agent/271828182845904/session",
                Some(
                    r#"{"model":{"provider_id":"minimax","model_id":"MiniMax-M3","reasoning":true}}"#,
                ),
                "b5a9596947e5b2fac7a01b01f629951a",
                "9facf4660407f30ccb6df02b9db7aee5",
            ),
            (
                HOST,
                "/session/417302981443021/message",
                Some(
                    r#"{"content":"hello","model":{"provider_id":"minimax","model_id":"MiniMax-M3","variant":""},"turn_id":"22222222-3333-4444-8555-666666666666","worktreeMode":false}"#,
                ),
                "577ea86798cd803bd555de7ed8621f2e",
                "afa334682af3e18d9bae0b0d2fc00175",
            ),
            (
                "",
                "/session/417302981443021/message",
                Some(
                    r#"{"content":"hello","model":{"provider_id":"minimax","model_id":"MiniMax-M3","variant":""},"turn_id":"22222222-3333-4444-8555-666666666666","worktreeMode":false}"#,
                ),
                "577ea86798cd803bd555de7ed8621f2e",
                "4482b981252aa172398d7ba68e9991e3",
            ),
            (
                HOST,
                "/session/417302981443021/message",
                Some(
                    r#"{"content":"你好 👋🏽","model":{"provider_id":"minimax","model_id":"MiniMax-M3","variant":"thinking"},"turn_id":"22222222-3333-4444-8555-666666666666","worktreeMode":false}"#,
                ),
                "5d5e1ea9c9cc53932bbd90a48a448d34",
                "323c2e09b9918269864e2d81aae32f02",
            ),
            (
                "",
                "/session/417302981443021/archive",
                Some(r#"{"archived":true}"#),
                "d3807691447c9e42f2b8f5d986b78fae",
                "d0024dfccf85d617e9c56cab9689ebc1",
            ),
        ] {
            let target = format!("{host}{PREFIX}{path}?{query}");
            let bytes = body.map(str::as_bytes);
            let signed = (
                signature(UNIX, bytes.unwrap_or_default()),
                mark(&target, bytes, UNIX),
            );
            assert_eq!(signed, (x_signature.to_owned(), yy.to_owned()), "{path}");
        }
        let body = br#"{"x":1}"#;
        assert_eq!(signature(UNIX, body), "18d004d5e3a6b00a448749fdcfae022b");
        let target = "/minimax-cloud/api/v1/session/1/message?a=1";
        assert_eq!(
            mark(target, Some(body), UNIX),
            "9b7b2250f48c0eabd0c8b16de41076ca"
        );
        assert_eq!(
            mark(&format!("{HOST}{target}"), Some(body), UNIX),
            "acfb0ad6fdf99312eb60ae7b09f473b9"
        );
        let encoded =
            utf8_percent_encode(&format!("{PREFIX}/config?{query}"), COMPONENT).to_string();
        assert_eq!(encoded.len(), 744);
        assert_eq!(
            hex(&Md5::digest(&encoded)),
            "4b39202698ac1d2fae28a0ef47d89b1e"
        );
    }

    #[test]
    fn the_queries_have_the_pages_members() {
        let matrix = query(Form::Matrix, who("1"), 1);
        let cloud = query(Form::Cloud, who("1"), 1);
        assert_eq!(
            (matrix.split('&').count(), cloud.split('&').count()),
            (20, 22)
        );
        let abroad = query(Form::CloudAbroad, who("1"), 1);
        assert!(abroad.contains("&sys_language=en&lang=en&") && abroad.ends_with("&region=en"));
        assert!(abroad.contains("&browser_language=en-US&"));
        let ticket = with_ticket(&cloud);
        assert!(
            ticket.contains("&user_id=440011223344556677&op_ticket=undefined&screen_width=1920&")
        );
        let odd = Who {
            token: "a+b=&c",
            ..who("1")
        };
        assert!(query(Form::Cloud, odd, 1).contains("&token=a%2Bb%3D%26c&client"));
    }
}
