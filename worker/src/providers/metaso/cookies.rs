//! The cookies of one credential: what was pasted, and what the site adds to it while the worker runs. Source:
//! `wire/metaso.md` section 2.

/// The site's own are two or three.
const MOST: usize = 64;
const MOST_BYTES: usize = 4096;
/// What is never the site's to change: they are the login.
const LOGIN: [&str; 2] = ["uid", "sid"];

/// A jar of cookies, in the order of the header.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Cookies(Vec<(String, String)>);

impl Cookies {
    /// The cookies of a `Cookie` header.
    pub(super) fn read(header: &str) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        Self(header.split(';').filter_map(pair).collect())
    }

    /// A cookie's value; `None` when it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        // The first of two of a name, as browsers send the more exact one first.
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// Takes the value of a `Set-Cookie` header; whether anything has changed.
    pub(super) fn merge(&mut self, set: &str) -> bool {
        // Only `Max-Age=0` is looked at of the attributes: the jar lives as long as the worker.
        let mut parts = set.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return false;
        };
        let (name, value) = (name.trim(), value.trim());
        // What would end the header, or begin another cookie.
        let is_plain = |text: &str| !text.chars().any(|c| c.is_control() || c == ' ');
        if name.is_empty()
            || LOGIN.contains(&name)
            || set.len() > MOST_BYTES
            || !is_plain(name)
            || !is_plain(value)
        {
            return false;
        }
        let is_over =
            value.is_empty() || parts.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0"));
        let known = self.0.iter().position(|(known, _)| known == name);
        match known {
            Some(at) if is_over => {
                self.0.remove(at);
            }
            // A site that sets cookies without end would fill the header.
            None if is_over || self.0.len() >= MOST => return false,
            Some(at) => {
                let Some((_, known)) = self.0.get_mut(at) else {
                    return false;
                };
                if known == value {
                    return false;
                }
                value.clone_into(known);
            }
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
        true
    }

    /// The `Cookie` header.
    pub(super) fn header(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_adds_and_changes_what_is_its_own() {
        let mut cookies = Cookies::read("uid=u; sid=a=b;tid=1; x");
        for (set, changes) in [
            ("JSESSIONID=j; Path=/; HttpOnly", true),
            ("JSESSIONID=j", false),
            ("tid=2; Secure", true),
            ("uid=other", false),
            ("sid=; Max-Age=0", false),
            ("gone=; Max-Age=0", false),
            ("=x", false),
            ("nothing", false),
            ("bad=a b", false),
        ] {
            assert_eq!(cookies.merge(set), changes, "{set}");
        }
        assert_eq!(cookies.header(), "uid=u; sid=a=b; tid=2; JSESSIONID=j");
        assert!(cookies.merge("tid=3; max-age=0"));
        assert_eq!(cookies.get("tid"), None);
        for at in 0..1000 {
            cookies.merge(&format!("n{at}=v"));
        }
        assert_eq!(cookies.0.len(), MOST);
    }
}
