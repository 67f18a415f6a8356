//! Where the services of the chat2 generation are. Source: `wire/qwen.md` sections 2.1 and 11.2.

use crate::{
    providers::qwen::CARD,
    settings::{Problems, Vars},
};

/// Where the services are, and what the worker says of itself.
#[derive(Debug)]
pub(in crate::providers::qwen) struct Hosts {
    /// Questions.
    pub(super) chat: String,
    /// Everything about sessions.
    pub(super) api: String,
    /// Tokens and salts.
    pub(super) security: String,
    /// Pictures.
    pub(super) workspace: String,
    /// `wv` and `ve`.
    pub(super) web_version: String,
    /// `QWEN_USER_AGENT`: the browser that the cookies were made with.
    pub(in crate::providers::qwen) user_agent: String,
    /// The chat's host is the site's own, which takes questions at a reader's pace (section 11.6).
    pub(in crate::providers::qwen) is_site: bool,
}

impl Hosts {
    /// Reads the variables (section 2.1). `elsewhere` is `QWEN_BASE_URL` when that is not the site's own: a proxy or a
    /// test, which stands for all hosts that are not set.
    pub(in crate::providers::qwen) fn read(
        vars: &Vars,
        elsewhere: Option<&str>,
        user_agent: &str,
        problems: &mut Problems,
    ) -> Self {
        let mut host = |name: &str| {
            vars.base_url(
                name,
                elsewhere.unwrap_or_else(|| CARD.default_of(name)),
                problems,
            )
        };
        // An address that is unset must not lead past a proxy (section 2.1).
        let chat = host("QWEN_CHAT_BASE_URL");
        let (api, security, workspace) = (
            host("QWEN_API_BASE_URL"),
            host("QWEN_SECURITY_BASE_URL"),
            host("QWEN_WORKSPACE_BASE_URL"),
        );
        let mut text = |name: &str, default: &str| {
            let text = vars.pasted(name).unwrap_or_else(|| default.to_owned());
            // Told at start, as it would fail in every call.
            if text.chars().any(char::is_control) {
                problems.push(format!(
                    "{name} holds control characters, which no header can carry"
                ));
            }
            text
        };
        Self {
            is_site: is_site(&chat),
            chat,
            api,
            security,
            workspace,
            web_version: text("QWEN_WEB_VERSION", "4.9.0"),
            user_agent: text("QWEN_USER_AGENT", user_agent),
        }
    }
}

/// Whether an address is the service's own (section 2.1).
pub(in crate::providers::qwen) fn is_site(url: &str) -> bool {
    let uri: Option<actix_web::http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    ["tongyi.com", "aliyun.com", "qianwen.com"]
        .iter()
        .any(|site| {
            // At a dot: `notqianwen.com` is somebody else's.
            host.strip_suffix(site)
                .is_some_and(|front| front.is_empty() || front.ends_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(pairs: &[(&str, &str)], elsewhere: Option<&str>) -> Hosts {
        let (mut problems, vars) = (Problems::default(), Vars::new(pairs.iter().copied()));
        let hosts = Hosts::read(&vars, elsewhere, "agent", &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        hosts
    }

    #[test]
    fn a_proxy_stands_for_all_that_is_not_set() {
        let hosts = hosts(
            &[("QWEN_API_BASE_URL", "http://api.test/")],
            Some("http://proxy.test"),
        );
        assert_eq!(
            [&hosts.chat, &hosts.api, &hosts.security, &hosts.workspace],
            [
                "http://proxy.test",
                "http://api.test",
                "http://proxy.test",
                "http://proxy.test"
            ]
        );
        let hosts = self::hosts(&[("QWEN_WEB_VERSION", "5.0.0")], None);
        assert_eq!(
            (hosts.chat.as_str(), hosts.web_version.as_str()),
            ("https://chat2.qianwen.com", "5.0.0")
        );
        assert!(hosts.is_site);
    }

    #[test]
    fn knows_the_services_own_hosts() {
        for url in [
            "https://api.tongyi.com",
            "https://qianwen.biz.aliyun.com",
            "https://qianwen.com",
            "https://api.qianwen.com:8443",
        ] {
            assert!(is_site(url), "{url}");
        }
        for url in [
            "http://127.0.0.1:8080",
            "https://nottongyi.com",
            "https://qianwen.com.example",
            "",
        ] {
            assert!(!is_site(url), "{url}");
        }
    }
}
