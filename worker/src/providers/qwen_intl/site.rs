//! Where the service is, and what this worker says of itself to it. Source: `wire/qwen_intl.md` section 2.

use std::time::Duration;

use super::{card::CARD, oss::Version};
use crate::settings::{Problems, Vars};

/// The site; also what `Origin` and `Referer` name, wherever the calls really go.
pub(super) const SITE: &str = "https://chat.qwen.ai";
/// Where results lie.
pub(super) const CDN: &str = "https://cdn.qwenlm.ai";
/// The page's version when the wire page was written.
const WEB_VERSION: &str = "0.2.63";
const BX_V: &str = "2.5.36";
/// Pictures and videos are asked of a chat model, which hands them on.
const MEDIA_MODEL: &str = "qwen3.7-plus";

/// The settings that a call depends on.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) base_url: String,
    /// `QWEN_INTL_AUTH_BASE_URL`: logins.
    pub(super) auth_base_url: String,
    /// `QWEN_INTL_UPLOAD_BASE_URL`: in place of the store's scheme and host.
    pub(super) upload_base_url: Option<String>,
    /// `QWEN_INTL_CDN_BASE_URL`: in place of [`CDN`], when the gateway itself fetches a result.
    pub(super) cdn_base_url: String,
    /// Header `Version`, without which questions are refused.
    pub(super) web_version: String,
    /// Header `bx-v`.
    pub(super) bx_v: String,
    /// How uploads are signed.
    pub(super) oss: Version,
    /// Whom to ask for pictures, where the id names nobody.
    pub(super) image_model: String,
    /// Whom to ask for videos, where the id names nobody.
    pub(super) video_model: String,
    pub(super) poll_interval: Duration,
    pub(super) poll_timeout: Duration,
}

impl Site {
    /// Reads the settings.
    pub(super) fn read(vars: &Vars, problems: &mut Problems) -> Self {
        let base_url = CARD.base_url("QWEN_INTL_BASE_URL", vars, problems);
        // Section 2.2: the newest page has a host of its own for it, the others do not.
        let auth_base_url = vars.base_url("QWEN_INTL_AUTH_BASE_URL", &base_url, problems);
        let upload = "QWEN_INTL_UPLOAD_BASE_URL";
        let word = |name: &str, default: &str| vars.get(name).unwrap_or(default).to_owned();
        Self {
            auth_base_url,
            base_url,
            upload_base_url: vars
                // Without a default: unset means the store's own address.
                .get(upload)
                .map(|url| vars.base_url(upload, url, problems)),
            cdn_base_url: CARD.base_url("QWEN_INTL_CDN_BASE_URL", vars, problems),
            web_version: word("QWEN_INTL_WEB_VERSION", WEB_VERSION),
            bx_v: word("QWEN_INTL_BX_V", BX_V),
            oss: Version::read(vars.get("QWEN_INTL_OSS_SIGNATURE"), problems),
            image_model: word("QWEN_INTL_IMAGE_MODEL", MEDIA_MODEL),
            video_model: word("QWEN_INTL_VIDEO_MODEL", MEDIA_MODEL),
            poll_interval: Duration::from_millis(vars.number(
                "QWEN_INTL_POLL_INTERVAL_MS",
                5000,
                10,
                600_000,
                problems,
            )),
            poll_timeout: Duration::from_secs(vars.number(
                "QWEN_INTL_POLL_TIMEOUT_S",
                1200,
                1,
                86_400,
                problems,
            )),
        }
    }

    /// Where the gateway itself fetches a result from; links that clients get stay as they are.
    pub(super) fn fetched_from(&self, url: &str) -> String {
        // Only the CDN itself: a name that begins with it is somebody else's.
        match url.strip_prefix(CDN).filter(|rest| rest.starts_with('/')) {
            Some(rest) => format!("{}{rest}", self.cdn_base_url),
            None => url.to_owned(),
        }
    }
}
