//! The two signatures of a call. Source: wire/minimax.md §5, §12.2.

use md5::{Digest, Md5};

const SALT: &str = "I*7Cf%WZ#S&%1RlZJ&C2";

fn md5(parts: &[&[u8]]) -> String {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `x-signature` of a body at a time in seconds.
pub(super) fn x_signature(seconds: &str, body: &[u8]) -> String {
    md5(&[seconds.as_bytes(), SALT.as_bytes(), body])
}

/// `yy` of a target and body (`{}` for a GET) at a time in milliseconds.
pub(super) fn yy(target: &str, body: &[u8], ms: &str) -> String {
    let time = md5(&[ms.as_bytes()]);
    md5(&[
        encode(target).as_bytes(),
        b"_",
        body,
        time.as_bytes(),
        b"ooui",
    ])
}

/// Percent-encodes as encodeURIComponent does.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE4OTM0NTYwMDAsInVzZXIiOnsiaWQiOiI0NDAwMTEyMjMzNDQ1NTY2NzciLCJuYW1lIjoidGVzdGVyIiwiYXZhdGFyIjoiIiwiZGV2aWNlSUQiOiIzMTIzNDU2Nzg5MDEyMzQ1NjciLCJpc0Fub255bW91cyI6ZmFsc2V9fQ.c2lnbmF0dXJl";
    const UUID: &str = "11111111-2222-4333-8444-555555555555";
    const USER: &str = "440011223344556677";

    fn matrix(path: &str, seconds: u64) -> String {
        format!(
            "{path}?device_platform=web&biz_id=3&app_id=3001&version_code=22201&unix={seconds}000&timezone_offset=28800&lang=zh&uuid={UUID}&device_id=312345678901234567&os_name=Windows&browser_name=chrome&device_memory=8&cpu_core_num=32&browser_language=zh-CN&browser_platform=Win32&user_id={USER}&screen_width=1600&screen_height=1000&token={TOKEN}&client=web"
        )
    }

    fn cloud(path: &str) -> String {
        format!(
            "{path}?device_platform=web&biz_id=3&app_id=3001&version_code=22201&unix=1789344000000&timezone_offset=28800&sys_language=zh&lang=zh&uuid={UUID}&device_id=31234567&os_name=Windows&browser_name=Chrome&device_memory=16&cpu_core_num=8&browser_language=zh-CN&browser_platform=Win32&user_id={USER}&screen_width=1920&screen_height=1080&token={TOKEN}&client=web&region=cn"
        )
    }

    fn check(target: &str, seconds: u64, body: &str, signed_body: &str, expected: [&str; 2]) {
        let found = [
            x_signature(&seconds.to_string(), body.as_bytes()),
            yy(target, signed_body.as_bytes(), &format!("{seconds}000")),
        ];
        assert_eq!(found, expected, "{target}");
    }

    /// The vectors of §5.
    #[test]
    fn signs_the_matrix_generation() {
        let send = "/matrix/api/v1/chat/send_msg";
        for (seconds, path, body, expected) in [
            (
                1_767_225_600,
                send,
                r#"{"msg_type":1,"text":"hello","chat_type":2,"attachments":[],"selected_mcp_tools":[],"sub_agent_ids":[],"model_option":{"display_name":"Auto","model_type":0}}"#,
                [
                    "7d56e17ca94c2fcb7106ea591f6510c4",
                    "aed66ea9762068f1ba3d0d8c560052f5",
                ],
            ),
            (
                1_767_225_600,
                send,
                r#"{"msg_type":1,"text":"你好，«世界» 👋🏽\nline2 \"q\" \\ /","chat_type":2,"attachments":[],"selected_mcp_tools":[],"sub_agent_ids":[],"model_option":{"display_name":"MiniMax-M2.5","model_type":501}}"#,
                [
                    "31f726c4036f51117508e622f2755713",
                    "c8a99fa0339db33154224079dc05f9fa",
                ],
            ),
            (
                1_772_618_396,
                "/matrix/api/v1/chat/get_chat_detail",
                r#"{"chat_id":337867554939466,"size":500,"desc":true}"#,
                [
                    "f3b4dc9120788b05292d9d036dc76d91",
                    "c640d8f29a7f2cda0c5f1394564d9d21",
                ],
            ),
            (
                1_772_618_397,
                "/matrix/api/v1/chat/delete_chat",
                r#"{"chat_id":337867554939466}"#,
                [
                    "f2e4750ca4fb8624d1750f081581d9e2",
                    "e6b4ea2849dc8331e44c8f32af5fbaff",
                ],
            ),
        ] {
            check(&matrix(path, seconds), seconds, body, body, expected);
        }
        check(
            "/matrix/api/v1/chat/send_msg?a=1&b=2",
            1_772_618_396,
            r#"{"x":1}"#,
            r#"{"x":1}"#,
            [
                "92d6a35b2fdcf254dba0de61366adcd3",
                "0940f794d5b9e06d6d52d997bb3bac09",
            ],
        );
    }

    /// The vectors of §12.2.
    #[test]
    fn signs_the_cloud_generation() {
        const S: u64 = 1_789_344_000;
        let prefix = "/minimax-cloud/api/v1";
        let config = cloud(&format!("{prefix}/config"));
        assert_eq!(encode(&config).len(), 744);
        check(
            &config,
            S,
            "",
            "{}",
            [
                "839a6e1e3efbc9667ed07dd6315c8724",
                "2e8248d7b76388fe64c2eb6e337dc32c",
            ],
        );
        let session =
            r#"{"model":{"provider_id":"minimax","model_id":"MiniMax-M3","reasoning":true}}"#;
        check(
            &cloud(&format!("{prefix}/agent/271828182845904/session")),
            S,
            session,
            session,
            [
                "b5a9596947e5b2fac7a01b01f629951a",
                "9facf4660407f30ccb6df02b9db7aee5",
            ],
        );
        let message = cloud(&format!("{prefix}/session/417302981443021/message"));
        let absolute = format!("https://agent-stream.minimaxi.com{message}");
        let hello = r#"{"content":"hello","model":{"provider_id":"minimax","model_id":"MiniMax-M3","variant":""},"turn_id":"22222222-3333-4444-8555-666666666666","worktreeMode":false}"#;
        let sign = "577ea86798cd803bd555de7ed8621f2e";
        check(
            &absolute,
            S,
            hello,
            hello,
            [sign, "afa334682af3e18d9bae0b0d2fc00175"],
        );
        check(
            &message,
            S,
            hello,
            hello,
            [sign, "4482b981252aa172398d7ba68e9991e3"],
        );
        let chinese = r#"{"content":"你好 👋🏽","model":{"provider_id":"minimax","model_id":"MiniMax-M3","variant":"thinking"},"turn_id":"22222222-3333-4444-8555-666666666666","worktreeMode":false}"#;
        check(
            &absolute,
            S,
            chinese,
            chinese,
            [
                "5d5e1ea9c9cc53932bbd90a48a448d34",
                "323c2e09b9918269864e2d81aae32f02",
            ],
        );
        let archived = r#"{"archived":true}"#;
        check(
            &cloud(&format!("{prefix}/session/417302981443021/archive")),
            S,
            archived,
            archived,
            [
                "d3807691447c9e42f2b8f5d986b78fae",
                "d0024dfccf85d617e9c56cab9689ebc1",
            ],
        );
        let small = "/minimax-cloud/api/v1/session/1/message?a=1";
        let sign = "18d004d5e3a6b00a448749fdcfae022b";
        check(
            small,
            S,
            r#"{"x":1}"#,
            r#"{"x":1}"#,
            [sign, "9b7b2250f48c0eabd0c8b16de41076ca"],
        );
        check(
            &format!("https://agent-stream.minimaxi.com{small}"),
            S,
            r#"{"x":1}"#,
            r#"{"x":1}"#,
            [sign, "acfb0ad6fdf99312eb60ae7b09f473b9"],
        );
    }
}
