//! What the client says it is: constant for the life of the process, as the service dislikes mixtures. Source:
//! `wire/deepseek.md` section 4, "Headers".

use sha3::{Digest as _, Sha3_256};
use uuid::Uuid;

use crate::{
    settings::{Problems, Vars},
    upstream::Request,
};

const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";
const APP: &str = "DeepSeek/2.5.0 Android/35";
const VERSION: &str = "2.5.0";
pub(super) const SITE: &str = "https://chat.deepseek.com";

/// The headers that all requests have in common, and where they go.
#[derive(Debug)]
pub(super) struct Identity {
    /// `DEEPSEEK_BASE_URL`.
    pub(super) base_url: String,
    /// `DEEPSEEK_CLIENT_PLATFORM`; also the `os` of a login.
    pub(super) platform: String,
    user_agent: String,
    version: String,
    locale: String,
}

impl Identity {
    /// Reads the variables of section 2.
    pub(super) fn read(vars: &Vars, problems: &mut Problems) -> Self {
        let mut word = |name: &str, default: &str| {
            let value = vars.pasted(name).unwrap_or_else(|| default.to_owned());
            // Told at start, as it would fail in every call.
            if value.chars().any(char::is_control) {
                problems.push(format!("{name} holds characters that no header can carry"));
            }
            value
        };
        let platform = word("DEEPSEEK_CLIENT_PLATFORM", "web");
        // Section 4: the two identities must not be mixed.
        let agent = if platform == "android" { APP } else { BROWSER };
        Self {
            user_agent: word("DEEPSEEK_USER_AGENT", agent),
            version: word("DEEPSEEK_CLIENT_VERSION", VERSION),
            locale: word("DEEPSEEK_CLIENT_LOCALE", "zh_CN"),
            base_url: super::CARD.base_url("DEEPSEEK_BASE_URL", vars, problems),
            platform,
        }
    }

    /// The site in a browser, and not the app, which sends neither origin nor referer nor side channel.
    pub(super) fn is_site(&self) -> bool {
        self.platform != "android"
    }

    /// Whether the service itself is asked, and not something in its place.
    pub(super) fn is_real(&self) -> bool {
        self.base_url == SITE
    }

    /// The headers of a request to the service; `page`: the path of the page that sends it.
    pub(super) fn dressed(&self, request: Request, page: &str, device_id: &str) -> Request {
        let request = if self.is_site() {
            request
                .header("origin", &self.base_url)
                .header("referer", format!("{}{page}", self.base_url))
        } else {
            request.headers(&[("x-device-model", "")])
        };
        self.named(request).header("x-device-id", device_id)
    }

    /// The headers of a request to a side channel: the service's, without what names an account or a device.
    pub(super) fn dressed_aside(&self, request: Request) -> Request {
        self.named(request)
            .header("referer", format!("{}/", self.base_url))
    }

    fn named(&self, request: Request) -> Request {
        request
            .header("user-agent", &self.user_agent)
            .header("x-client-platform", &self.platform)
            .header("x-client-version", &self.version)
            .header("x-client-locale", &self.locale)
            .headers(&[
                ("accept", "*/*"),
                ("x-client-timezone-offset", "28800"),
                ("x-client-bundle-id", "com.deepseek.chat"),
            ])
    }
}

/// A device of our own for an account, the same after every start. `secret`: its token or login name, which cannot be
/// had back from the device.
pub(super) fn device_of(secret: &str) -> String {
    let hash = Sha3_256::new()
        .chain_update("x-device-id\n")
        .chain_update(secret)
        .finalize();
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(hash) {
        *byte = hashed;
    }
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// A device that somebody configured, as the service writes them; `None` when it is no UUID.
pub(super) fn device(pasted: &str) -> Option<String> {
    Uuid::try_parse(pasted).ok().map(|uuid| uuid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_uuid_that_stays_and_tells_nothing() {
        let device_id = device_of("token");
        assert_eq!(device_id, device_of("token"));
        assert_ne!(device_id, device_of("token2"));
        assert_eq!(device(&device_id).as_ref(), Some(&device_id));
        assert_eq!(Uuid::try_parse(&device_id).unwrap().get_version_num(), 4);
        assert_eq!(device("B-no-uuid"), None);
    }
}
