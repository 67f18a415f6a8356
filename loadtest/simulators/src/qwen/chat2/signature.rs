//! The signature of a request. Source: wire/qwen.md §11.5.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::request::percent_decode;

/// What is signed, besides the salt and the time, which make the secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    /// The device id of the registration.
    pub(super) device: &'a str,
    /// The query as it was sent.
    pub(super) query: &'a str,
    /// The cookie `tongyi_sso_ticket_hash`, or nothing.
    pub(super) kp: &'a str,
    pub(super) body: &'a [u8],
}

const VERSION: &str = "1.0.0";

impl Signed<'_> {
    /// `clt-acs-bfg` and `clt-acs-sign` under a salt, at a time in milliseconds.
    pub(super) fn sign(&self, salt: &str, reqt: &str) -> (String, String) {
        let secret = format!("{salt}:{reqt}");
        let bfg = match self.body {
            [] => String::new(),
            body => hmac(&secret, body),
        };
        let values: String = pairs(self.query).map(|(_, value)| value).collect();
        let text = [self.device, VERSION, &values, self.kp, &bfg].concat();
        let sign = hmac(&secret, text.as_bytes());
        (bfg, sign)
    }
}

/// Names and unencoded values of a query, in its order.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name, percent_decode(value))
    })
}

fn hmac(secret: &str, message: &[u8]) -> String {
    // A key of any length will do: there is nothing to refuse.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"req_id":"0123456789abcdef0123456789abcdef","parent_req_id":"0","messages":[{"mime_type":"text/plain","content":"你好👋","meta_data":{"ori_query":"你好👋"},"status":"complete"}],"scene":"chat","sub_scene":"","scene_param":"first_turn","session_id":"fedcba9876543210fedcba9876543210","biz_id":"ai_qwen","topic_id":"00112233445566778899aabbccddeeff","model":"Qwen","from":"default","protocol_version":"v2","messages_merge":false,"chat_client":"h5","deep_search":null,"temporary":false,"params_extra":{"supports_cowork":"true"},"chat_mode":"quick","bucket":{}}"#;
    const QUERY: &str = "biz_id=ai_qwen&fe_version=1.0.0&chat_client=h5&device=pc&fr=pc&pr=qwen&ut=11111111-2222-4333-8444-555555555555&la=zh-CN&tz=Asia%2FShanghai&wv=4.9.0&ve=4.9.0&nonce=a1b2c3d4e5f&timestamp=1790000000123";

    #[test]
    fn the_vectors_of_the_page() {
        assert_eq!(BODY.len(), 566);
        let signed = Signed {
            device: "simdvidn0001",
            query: QUERY,
            kp: "",
            body: BODY.as_bytes(),
        };
        let (bfg, sign) = signed.sign("c2FsdC1vbmU", "1790000000123");
        assert_eq!(bfg, "yHHrXiCvqF3gmSUW7FDMB1J6GxoYLJduK6jvDaTf8Es=");
        assert_eq!(sign, "d8txtXQxVItK36imTc8wE/K5DVlpKG0UfgteTq1yHDU=");
        let with_kp = Signed {
            kp: "tytk_hash:0123456789abcdef0123456789abcdef",
            ..signed
        };
        let (_, sign) = with_kp.sign("c2FsdC1vbmU", "1790000000123");
        assert_eq!(sign, "Mt0r+fYff6v2GNWWXZVhxkn5nqTHgBo3oWlIzuk8Y3w=");
    }

    #[test]
    fn values_are_unencoded_and_in_order() {
        let values: String = pairs(QUERY).map(|(_, value)| value).collect();
        assert_eq!(
            values,
            "ai_qwen1.0.0h5pcpcqwen11111111-2222-4333-8444-555555555555zh-CNAsia/Shanghai4.9.04.9.0a1b2c3d4e5f1790000000123"
        );
    }
}
