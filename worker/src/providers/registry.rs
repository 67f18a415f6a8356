//! Which provider answers for which model id: aliases from `MODEL_ROUTES`, listed models, `provider/model`, and
//! ids that a provider accepts without listing them, in this order.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use super::{
    Model, Provider,
    card::{Card, Variable},
};
use crate::{
    chat::{
        Asked, ChatRequest, Field, Invalid, Message, Part, Support, Tool, fields, media::Makes,
        normal, tools::ToolKind,
    },
    impossible::OrImpossible as _,
    settings::{Problems, Settings, Target, Tools, Vars, problems},
};

/// One line a provider. The order decides between providers that accept the same unlisted id.
pub const PROVIDERS: &[&Card] = &[
    // Before the domestic site, which takes any name of the family.
    &super::qwen_intl::CARD,
    &super::qwen::CARD,
    &super::xinghuo::CARD,
    &super::deepseek::CARD,
    &super::kimi::CARD,
    &super::langfast::CARD,
    &super::doubao::CARD,
    &super::metaso::CARD,
    &super::minimax::CARD,
    &super::zhipu::CARD,
    &super::flowgpt::CARD,
    &super::ernie::CARD,
    &super::openai::CARD,
];

/// The variable with the address of the API that a key is for, where the owner gives one: such a key may be anything, as an
/// API of one's own may want none. `None` of the credentials of services that are where they are.
pub fn address_of(credential: &str) -> Option<String> {
    let (_, address) = lane_of(credential)?;
    Some(address)
}

/// As [`address_of`], behind the number of the API's lane.
pub fn lane_of(credential: &str) -> Option<(&str, String)> {
    api_keys().find_map(|(key, address)| {
        let number = key.number_in(credential)?;
        Some((number, address.replace('#', number)))
    })
}

/// What the owner sets for an API, `n` for its number: named where a caller is told that only an API can do something.
pub fn api_variable() -> String {
    let first = api_keys().next();
    let named = first.map(|(_, address)| address.replace('#', "n"));
    named.or_impossible("one card is that of APIs")
}

/// The keys of APIs that are where their owner says, each with the variable of that address.
fn api_keys() -> impl Iterator<Item = (&'static Variable, &'static str)> {
    let credentials = PROVIDERS.iter().flat_map(|card| card.credentials());
    credentials.filter_map(|(key, _)| Some((key, *key.needs().first()?)))
}

/// A provider and the model to ask it for.
#[derive(Clone)]
pub struct Candidate {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// Its model.
    pub model: Model,
    /// Where its tools and formats come from.
    pub tools: Tools,
}

impl Candidate {
    /// Where a field's fate is told in a word: `native`, `emulated` or `off`.
    pub fn origin(&self, field: Field) -> &'static str {
        match self.support(field) {
            Support::Honoured => "native",
            Support::Emulated => "emulated",
            Support::Ignored | Support::Refused => "off",
        }
    }

    /// What becomes of a request field here.
    pub fn support(&self, field: Field) -> Support {
        let support = fields::support(self.provider.fields_of(&self.model), field);
        let is_of_tools = matches!(
            field,
            // Of an alias (`"tools": …`) or of `TOOLS`: the owner's word, where the model has no tools of its own.
            Field::Tools | Field::ToolChoice | Field::ParallelToolCalls
        );
        match (self.tools, support) {
            (Tools::Off, _) if is_of_tools => Support::Refused,
            (Tools::Native | Tools::Off, Support::Emulated)
                if is_of_tools || field == Field::Format =>
            {
                Support::Refused
            }
            _ => support,
        }
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider.name(), self.model.id)
    }
}

/// The candidates for a request, in order of preference; never empty.
#[derive(Clone, Debug)]
pub struct Route {
    /// The first one is what the caller asked for.
    pub candidates: Vec<Candidate>,
}

impl Route {
    /// The tools and formats that the client asks for and that the gateway has in the place of the provider, in the client's
    /// own spelling.
    pub fn emulated<'a>(&'a self, request: &'a ChatRequest) -> impl Iterator<Item = &'a str> {
        let first = self.candidates.first();
        let is_emulated = move |asked: &&Asked| {
            matches!(asked.field, Field::Tools | Field::Format)
                && first.is_some_and(|first| first.support(asked.field) == Support::Emulated)
        };
        request
            .asked
            .iter()
            .filter(is_emulated)
            .map(|asked| &*asked.name)
    }

    /// The fields that the client set and that have no effect with the provider that it asked for, in its own spelling; tools
    /// (`tools.TYPE`) and attachments in results (`tool_result.image`) that do not reach the model.
    pub fn ignored<'a>(&'a self, request: &'a ChatRequest) -> impl Iterator<Item = Cow<'a, str>> {
        let first = self.candidates.first();
        let is_ignored = move |asked: &&Asked| {
            first.is_some_and(|first| first.support(asked.field) == Support::Ignored)
        };
        let named = request
            .asked
            .iter()
            .filter(is_ignored)
            .map(|asked| Cow::Borrowed(&*asked.name));
        let is_blind = first.is_some_and(|first| !first.model.vision);
        let unseen = unseen(request).filter(move |_| is_blind);
        let is_rendered =
            first.is_some_and(|first| first.support(Field::Tools) != Support::Honoured);
        let hosted = hosted(request).filter(move |_| is_rendered);
        named.chain(hosted).chain(unseen.map(Cow::Borrowed))
    }
}

/// Most characters of a type that is named.
const MOST_TYPE: usize = 64;
/// Most types that are named: a header has room for so many.
const MOST_TYPES: usize = 32;

/// Tools that only their own service runs: whoever has the tools for a provider has not these. Source: doors.md section 1.
fn hosted<'a>(request: &'a ChatRequest) -> impl Iterator<Item = Cow<'a, str>> {
    let mut names = Vec::new();
    let is_hosted = |tool: &&Tool| matches!(tool.kind, ToolKind::Hosted);
    for tool in request.tools.iter().filter(is_hosted) {
        // A header takes no other characters, and the type is the caller's own word.
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let kind: String = tool.name.chars().filter(is_plain).take(MOST_TYPE).collect();
        let name = Cow::Owned(format!("tools.{kind}"));
        if names.len() < MOST_TYPES && !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter()
}

/// What tools have shown, for models that see nothing: a screenshot must not end a session, so it is left out and named, here
/// and in the result itself. Of what the caller asks about himself a model without eyes is refused instead.
fn unseen<'a>(request: &'a ChatRequest) -> impl Iterator<Item = &'a str> {
    let results = request.messages.iter().filter(|it| normal::is_result(it));
    let mut shown = results.flat_map(Message::attachments);
    let is_picture = |part: &Part| matches!(part, Part::ImageUrl { .. });
    let (mut has_pictures, mut has_files) = (false, false);
    while let Some(part) = shown.next().filter(|_| !(has_pictures && has_files)) {
        has_pictures |= is_picture(part);
        has_files |= !is_picture(part);
    }
    let pictures: Option<&'a str> = has_pictures.then_some("tool_result.image");
    let files: Option<&'a str> = has_files.then_some("tool_result.file");
    pictures.into_iter().chain(files)
}

/// Why a request has no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nobody knows the model.
    UnknownModel,
    /// Every candidate needs a question that it can read, and this part of it is none.
    OddPart(Invalid),
    /// Every candidate refuses some field; this is the one that the first of them refuses, as the caller spells it.
    Unsupported(String),
    /// The model is known, and makes nothing of the kind.
    Unable(Makes),
}

/// All providers and aliases.
#[derive(Debug)]
pub struct Registry {
    providers: Vec<Arc<dyn Provider>>,
    /// Who lists an id, as places in `providers`: to look through all lists for every request costs a cache miss an id.
    listed: HashMap<String, Vec<usize>>,
    routes: BTreeMap<String, Route>,
    /// `TOOLS`.
    tools: Tools,
}

impl Registry {
    /// Builds every provider; what is wrong goes to `problems`.
    pub fn new(vars: &Vars, settings: &Settings, problems: &mut Problems) -> Self {
        warn_of_placeholders(vars, problems);
        let providers: Vec<_> = PROVIDERS
            // An API lane is several providers with one card.
            .iter()
            .flat_map(|card| (card.configure)(vars, settings, problems))
            .collect();
        let routing = &settings.providers;
        let registry = Self::of(providers, &routing.model_routes, routing.tools, problems);
        // At start and not at the first picture: a name without a provider is the owner's mistake.
        if let Some(model) = &settings.http.image_model
            && registry.resolve(model).is_none()
        {
            problems.push(format!(
                "IMAGE_MODEL: {model:?} is a model that no provider has"
            ));
        }
        registry
    }

    /// These providers, and aliases (`MODEL_ROUTES`) that lead to them; what leads nowhere goes to `problems`.
    fn of(
        providers: Vec<Arc<dyn Provider>>,
        aliases: &BTreeMap<String, Vec<Target>>,
        tools: Tools,
        problems: &mut Problems,
    ) -> Self {
        let mut listed = HashMap::<String, Vec<usize>>::new();
        for (place, provider) in providers.iter().enumerate() {
            for model in provider.models() {
                // Places and not `Arc`s: the list is in the order of the registry, which decides among equals.
                listed.entry(model.id.clone()).or_default().push(place);
            }
        }
        let mut registry = Self {
            providers,
            listed,
            routes: BTreeMap::new(),
            tools,
        };
        for (alias, targets) in aliases {
            let mut candidates = Vec::new();
            for target in targets {
                match registry.candidate(&target.model) {
                    Some(candidate) => candidates.push(Candidate {
                        tools: target.tools.unwrap_or(candidate.tools),
                        ..candidate
                    }),
                    None => problems.push(format!(
                        "MODEL_ROUTES: {alias:?} leads to {:?}, which no provider has",
                        target.model
                    )),
                }
            }
            // Also an empty one: `renew` does not read aliases again, and `resolve` passes it over.
            registry.routes.insert(alias.clone(), Route { candidates });
        }
        registry
    }

    /// The candidates that can do what a request depends on.
    ///
    /// # Errors
    /// Why there is none.
    pub fn route_for(&self, request: &ChatRequest) -> Result<Route, NoRoute> {
        let mut route = self.resolve(&request.model).ok_or(NoRoute::UnknownModel)?;
        if let Some(odd) = &request.odd_part {
            // Whoever is asked in other words than the caller's has none for this part, and it would vanish in silence.
            let dialect = request.verbatim.as_ref().map(|body| body.dialect);
            route.candidates.retain(|candidate| {
                dialect.is_some_and(|dialect| candidate.provider.takes_body_in(dialect))
            });
            if route.candidates.is_empty() {
                return Err(NoRoute::OddPart(odd.clone()));
            }
        }
        let mut refused = None;
        route.candidates.retain(|candidate| {
            let is_refused = |asked: &&Asked| candidate.support(asked.field) == Support::Refused;
            let first = request.asked.iter().find(is_refused);
            // The first candidate's first: the caller asked for that one.
            refused = refused.or(first);
            first.is_none()
        });
        match refused {
            // An alias whose every target refuses; with one that does not, nobody hears of the others.
            Some(asked) if route.candidates.is_empty() => {
                Err(NoRoute::Unsupported(asked.name.to_string()))
            }
            Some(_) | None => Ok(route),
        }
    }

    /// The candidates for a model id that draw.
    ///
    /// # Errors
    /// Why there is none: 404 or 400.
    pub fn route_to_draw(&self, id: &str) -> Result<Route, NoRoute> {
        self.route_to(Makes::Image, id, |it| {
            it.provider
                .images()
                .is_some_and(|images| images.draws(&it.model).is_some())
        })
    }

    /// The candidates for a model id that make videos.
    ///
    /// # Errors
    /// As [`Registry::route_to_draw`].
    pub fn route_to_film(&self, id: &str) -> Result<Route, NoRoute> {
        self.route_to(Makes::Video, id, |it| {
            it.provider
                .videos()
                .is_some_and(|videos| videos.films(&it.model).is_some())
        })
    }

    fn route_to(
        &self,
        what: Makes,
        id: &str,
        is_able: impl Fn(&Candidate) -> bool,
    ) -> Result<Route, NoRoute> {
        let mut route = self.resolve(id).ok_or(NoRoute::UnknownModel)?;
        route.candidates.retain(is_able);
        if route.candidates.is_empty() {
            return Err(NoRoute::Unable(what));
        }
        Ok(route)
    }

    /// The way back to a job: the provider of this name and no other, with the model that it was asked for. `None` where
    /// this worker has neither.
    pub fn route_back(&self, provider: &str, model: &str) -> Option<Route> {
        // By name and not by id: aliases may have changed since the job was accepted.
        let named = |it: &&Arc<dyn Provider>| it.name() == provider;
        let provider = self.providers.iter().find(named)?;
        let model = provider.accept(model)?;
        Some(Route {
            candidates: vec![Candidate {
                provider: Arc::clone(provider),
                model,
                tools: self.tools,
            }],
        })
    }

    /// The route of a model id; `None` when nobody knows it.
    pub fn resolve(&self, id: &str) -> Option<Route> {
        if let Some(route) = self
            .routes
            .get(id)
            .filter(|route| !route.candidates.is_empty())
        {
            return Some(route.clone());
        }
        self.candidate(id).map(|candidate| Route {
            candidates: vec![candidate],
        })
    }

    fn candidate(&self, id: &str) -> Option<Candidate> {
        let of = |provider: &Arc<dyn Provider>, model| self.own(provider, model);
        let listing = self.listed.get(id).into_iter().flatten();
        let listing = listing.filter_map(|&place| self.providers.get(place));
        // Who lists an id answers to it, even where it begins with another provider's name, as the ids of routers do.
        // Where several providers list an id, one that has an account comes first.
        if let Some(provider) = listing.min_by_key(|provider| !provider.accounts().is_configured())
        {
            return provider.find(id).map(|model| of(provider, model));
        }
        if let Some((name, model)) = id.split_once('/')
            && let Some(provider) = self
                .providers
                .iter()
                .find(|provider| provider.name() == name)
            && let Some(model) = provider.accept(model)
        {
            return Some(of(provider, model));
        }
        // As with listed ones: bare numbers are bots of several services.
        let accepting = self.providers.iter();
        let accepting = accepting.filter_map(|provider| Some((provider, provider.find(id)?)));
        accepting
            .min_by_key(|(provider, _)| !provider.accounts().is_configured())
            .map(|(provider, model)| of(provider, model))
    }

    /// A provider's model, as it is asked by its own name.
    pub fn own(&self, provider: &Arc<dyn Provider>, model: Model) -> Candidate {
        Candidate {
            provider: Arc::clone(provider),
            model,
            tools: self.tools,
        }
    }

    /// All providers.
    pub fn providers(&self) -> &[Arc<dyn Provider>] {
        &self.providers
    }

    /// The aliases of `MODEL_ROUTES`, in alphabetical order.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &Route)> {
        self.routes
            .iter()
            .map(|(alias, route)| (alias.as_str(), route))
    }

    /// Whether some configured provider leaves the counting of tokens to the gateway.
    pub fn counts_tokens(&self) -> bool {
        let counts = |provider: &&Arc<dyn Provider>| !provider.reports_usage();
        let mut counting = self.providers.iter().filter(counts);
        // Asked at each request, as accounts come and go: a vocabulary that nobody needs is not loaded.
        counting.any(|provider| provider.accounts().census().ready > 0)
    }

    /// Whether any provider has an account that can be used now.
    pub fn is_usable(&self) -> bool {
        self.providers
            .iter()
            .any(|provider| provider.accounts().is_usable())
    }

    /// Reads all credentials anew and puts them in place, all or none.
    ///
    /// # Errors
    /// What is wrong; then everything is as it was. Warnings are said in the log.
    pub fn renew(&self, vars: &Vars) -> Result<(), Vec<String>> {
        let mut problems = Problems::default();
        warn_of_placeholders(vars, &mut problems);
        let renewals: Vec<_> = self
            .providers
            .iter()
            .map(|provider| provider.renew(vars, &mut problems))
            .collect();
        // All or none: half a renewal would leave a fleet with two ideas of its accounts.
        let (renewals, warnings) = problems.over(renewals)?;
        problems::log(&warnings);
        for put_in_place in renewals {
            put_in_place();
        }
        Ok(())
    }
}

fn warn_of_placeholders(vars: &Vars, problems: &mut Problems) {
    for name in vars.placeholders() {
        problems.warn(format!(
            "{name} holds a placeholder and no credential: it is not used"
        ));
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
