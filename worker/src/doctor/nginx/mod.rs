//! nginx files: their blocks, the locations that pass requests on, and what is wrong with them. The checks: the way
//! to the worker ([`proxy`]), who gets which request ([`upstream`]), sizes and logs ([`edge`]).

mod edge;
mod proxy;
mod tokenizer;
mod units;
mod upstream;

use std::sync::Arc;

pub(super) use self::tokenizer::Directive;
use self::tokenizer::{SyntaxError, is_template};
use super::{
    finding::{Finding, Location, Rule},
    setup::Setup,
    sources::Includes,
};

use crate::impossible::OrImpossible as _;

/// Includes within includes.
const DEEPEST_INCLUDE: usize = 8;

const SYNTAX: Rule = Rule::error(
    "nginx-syntax",
    "nginx does not start with such a file.",
    "Ask nginx itself: nginx -t -c FILE.",
);

/// One configuration, its includes put in where they could be found.
#[derive(Debug)]
pub(crate) struct NginxFile {
    pub(crate) directives: Vec<Directive>,
    errors: Vec<(Location, &'static str)>,
}

/// A location that passes requests on, and the blocks around it, innermost first.
#[derive(Debug)]
pub(crate) struct Proxied<'a> {
    pub(crate) pass: &'a Directive,
    pub(crate) server: Option<&'a Directive>,
    pub(crate) location: Option<&'a Directive>,
    pub(crate) levels: Vec<&'a [Directive]>,
}

impl NginxFile {
    pub(crate) fn parse(file: &Arc<str>, text: &str, includes: &Includes<'_>) -> Self {
        let mut read = Self {
            directives: Vec::new(),
            errors: Vec::new(),
        };
        read.directives = read.load(file, text, includes, 0);
        read
    }

    fn load(
        &mut self,
        file: &Arc<str>,
        text: &str,
        includes: &Includes<'_>,
        depth: usize,
    ) -> Vec<Directive> {
        match tokenizer::parse(file, text) {
            Ok(directives) => self.put_includes_in(directives, includes, depth),
            Err(SyntaxError { line, what }) => {
                self.errors.push((Location::new(file, line), what));
                Vec::new()
            }
        }
    }

    fn put_includes_in(
        &mut self,
        directives: Vec<Directive>,
        includes: &Includes<'_>,
        depth: usize,
    ) -> Vec<Directive> {
        let mut whole = Vec::new();
        for mut directive in directives {
            if let Some(block) = directive.block.take() {
                directive.block = Some(self.put_includes_in(block, includes, depth));
            }
            let found = if directive.name == "include" && depth < DEEPEST_INCLUDE {
                includes(&directive.place.file, directive.value())
            } else {
                Vec::new()
            };
            if found.is_empty() {
                whole.push(directive);
            }
            for (file, text) in found {
                whole.extend(self.load(&file, &text, includes, depth + 1));
            }
        }
        whole
    }

    /// What stands directly under `http`; the whole file where it is a piece of one.
    pub(crate) fn http(&self) -> &[Directive] {
        let http = self.directives.iter().find(|one| one.name == "http");
        http.map_or(self.directives.as_slice(), Directive::inside)
    }

    /// Every `proxy_pass`.
    pub(crate) fn proxied(&self) -> Vec<Proxied<'_>> {
        let mut found = Vec::new();
        let mut levels = vec![self.directives.as_slice()];
        collect(&self.directives, [None, None], &mut levels, &mut found);
        // Questions about a request, such as auth_request's: no chat goes there.
        found.retain(|one| !matches!(one.said("proxy_pass_request_body"), Said::Here(line) if line.value() == "off"));
        found
    }

    /// Every server block.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Directive> {
        self.http()
            .iter()
            .filter(|one| one.name == "server" && one.block.is_some())
    }

    /// The ports that it listens on, as far as they can be known.
    pub(crate) fn ports(&self) -> Vec<&str> {
        let listens = self.servers().flat_map(Directive::inside);
        listens
            .filter(|one| one.name == "listen")
            .map(|one| {
                one.value()
                    .rsplit(':')
                    .next()
                    .or_impossible("a split has one part at least")
            })
            .collect()
    }
}

/// `around`: the server and the location.
fn collect<'a>(
    directives: &'a [Directive],
    around: [Option<&'a Directive>; 2],
    levels: &mut Vec<&'a [Directive]>,
    found: &mut Vec<Proxied<'a>>,
) {
    for directive in directives {
        if directive.name == "proxy_pass" {
            found.push(Proxied {
                pass: directive,
                server: around[0],
                location: around[1],
                levels: levels.iter().rev().copied().collect(),
            });
        }
        // `upstream` and `map` hold no directives, `stream` and `mail` are no HTTP.
        let is_level =
            ["http", "server", "location", "if", "limit_except"].contains(&directive.name.as_str());
        if let (true, Some(block)) = (is_level, &directive.block) {
            let around = match directive.name.as_str() {
                "server" => [Some(directive), None],
                "location" => [around[0], Some(directive)],
                _ => around,
            };
            levels.push(block);
            collect(block, around, levels, found);
            levels.pop();
        }
    }
}

/// What a directive says in a location.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// This.
    Here(&'a Directive),
    /// Nothing, so nginx's default holds.
    Default,
    /// It cannot be known: a template's word, or a file that is not there.
    Unknown,
}

impl<'a> Proxied<'a> {
    /// What holds here: the innermost block that names the directive decides.
    pub(crate) fn said(&self, name: &str) -> Said<'a> {
        for level in &self.levels {
            if let Some(directive) = level.iter().rev().find(|one| one.name == name) {
                let is_unknown = directive.args.iter().any(|arg| is_template(arg));
                return if is_unknown {
                    Said::Unknown
                } else {
                    Said::Here(directive)
                };
            }
        }
        // Around everything stand mime types and the like; close by it may be what we look for.
        let near = self.levels.iter().take(2);
        if near.copied().flatten().any(is_unknown) {
            Said::Unknown
        } else {
            Said::Default
        }
    }

    /// The value for the upstream's header. nginx takes the headers of the innermost block that sets any.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        let sets = |one: &&Directive| one.name == "proxy_set_header";
        let level = self
            .levels
            .iter()
            .find(|level| level.iter().any(|one| sets(&one)))?;
        let own = |one: &&Directive| sets(one) && one.value().eq_ignore_ascii_case(name);
        let header = level.iter().find(own)?;
        header.args.get(1).map(String::as_str)
    }

    /// Where a directive is missed that a location should have.
    pub(crate) fn place(&self) -> &'a Location {
        &self.pass.place
    }

    /// Where a directive is missed that a server should have.
    pub(crate) fn server_place(&self) -> &'a Location {
        self.server
            .map_or_else(|| self.place(), |server| &server.place)
    }

    /// Whether questions go this way, and not only figures and probes.
    fn is_for_questions(&self) -> bool {
        let paths = self
            .location
            .map(|one| one.args.as_slice())
            .unwrap_or_default();
        let is_aside = |path: &String| {
            ["metrics", "health", "ready"]
                .iter()
                .any(|word| path.contains(word))
        };
        !paths.iter().any(is_aside)
    }
}

/// A piece that is not there to be read.
fn is_unknown(directive: &Directive) -> bool {
    let is_harmless = |path: &str| {
        path.ends_with("mime.types") || path.contains("fastcgi") || path.contains("modules")
    };
    (directive.name == "include" && !is_harmless(directive.value())) || is_template(&directive.name)
}

/// Everything about nginx.
pub(super) fn check(setup: &Setup, found: &mut Vec<Finding>) {
    for file in &setup.nginx {
        for (place, what) in &file.errors {
            found.push(SYNTAX.at(place, *what));
        }
        for proxied in file.proxied() {
            if proxied.is_for_questions() {
                proxy::check(setup, file, &proxied, found);
                edge::check(setup, file, &proxied, found);
            }
        }
        upstream::check(setup, file, found);
        edge::metrics(file, found);
    }
}

#[cfg(test)]
pub(super) fn codes(env: &str, nginx: &str) -> Vec<String> {
    let source = |kind, path: &str, text: &str| super::sources::Source {
        kind,
        path: path.into(),
        text: text.to_owned(),
        access: None,
    };
    let sources = [
        source(super::sources::Kind::Env, ".env", env),
        source(super::sources::Kind::Nginx, "nginx.conf", nginx),
    ];
    let setup = Setup::new(&sources, &|_, _| Vec::new());
    let mut found = Vec::new();
    check(&setup, &mut found);
    let report = super::finding::Report::new(2, found);
    let show = |one: &Finding| format!("{}:{} {:?}", one.code, one.line, one.severity);
    report.findings.iter().map(show).collect()
}
