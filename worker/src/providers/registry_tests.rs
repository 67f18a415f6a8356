use super::{super::testing::Fake, *};

fn fake(name: &'static str, accounts: usize, models: &[&str]) -> Fake {
    let mut fake = Fake::new(name, accounts);
    fake.models = models.iter().map(|id| Model::new(*id, *id, 0)).collect();
    fake
}

fn registry(routes: &[(&str, &[&str])], fakes: Vec<Fake>) -> (Registry, Vec<String>) {
    registry_with(Tools::Native, routes, fakes)
}

fn registry_with(
    tools: Tools,
    routes: &[(&str, &[&str])],
    fakes: Vec<Fake>,
) -> (Registry, Vec<String>) {
    let routes = routes.iter().map(|(alias, targets)| {
        let targets = targets.iter().map(|&target| Target::from(target)).collect();
        ((*alias).to_owned(), targets)
    });
    let fakes = fakes
        .into_iter()
        .map(|fake| Arc::new(fake) as Arc<dyn Provider>);
    let mut problems = Problems::default();
    let registry = Registry::of(fakes.collect(), &routes.collect(), tools, &mut problems);
    (registry, problems.errors)
}

fn resolved(registry: &Registry, id: &str) -> Vec<String> {
    let route = registry.resolve(id);
    let candidates = route.into_iter().flat_map(|route| route.candidates);
    candidates
        .map(|candidate| format!("{candidate:?}"))
        .collect()
}

#[test]
fn an_alias_leads_to_its_targets_in_their_order() {
    let fakes = vec![fake("a", 1, &["m", "n"]), fake("b", 1, &["m2"])];
    let (registry, problems) = registry(&[("best", &["b/m2", "n"]), ("m", &["m2"])], fakes);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(resolved(&registry, "best"), ["b/m2", "a/n"]);
    // An alias hides what is listed under its name; not where the provider is named.
    assert_eq!(resolved(&registry, "m"), ["b/m2"]);
    assert_eq!(resolved(&registry, "a/m"), ["a/m"]);
    let aliases: Vec<&str> = registry.aliases().map(|(alias, _)| alias).collect();
    assert_eq!(aliases, ["best", "m"]);
}

#[test]
fn an_alias_to_nowhere_is_a_mistake() {
    let (registry, problems) = registry(
        &[("x", &["m", "nobody"]), ("y", &["nobody"])],
        vec![fake("a", 1, &["m"])],
    );
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("\"x\"") && problems[0].contains("\"nobody\""));
    assert_eq!(resolved(&registry, "x"), ["a/m"]);
    assert!(resolved(&registry, "y").is_empty());
}

#[test]
fn who_lists_an_id_comes_before_who_is_named_in_it() {
    let mut named = fake("a", 1, &["m"]);
    named.accepts = &["odd"];
    let (registry, _) = registry(&[], vec![named, fake("router", 1, &["a/m", "m3"])]);
    assert_eq!(resolved(&registry, "a/m"), ["router/a/m"]);
    assert_eq!(resolved(&registry, "a/odd"), ["a/odd"]);
    assert_eq!(resolved(&registry, "router/m3"), ["router/m3"]);
    for nobodys in ["odd", "a/m3", "b/m", "", "/", "a/"] {
        assert!(resolved(&registry, nobodys).is_empty(), "{nobodys}");
    }
}

#[test]
fn of_several_who_list_an_id_one_with_an_account_answers() {
    for (accounts, expected) in [
        ([0, 1, 1], "b/m"),
        ([1, 1, 0], "a/m"),
        ([0, 0, 0], "a/m"),
        ([0, 0, 1], "c/m"),
    ] {
        let fakes = ["a", "b", "c"].into_iter().zip(accounts);
        let (registry, _) = registry(
            &[],
            fakes
                .map(|(name, number)| fake(name, number, &["m"]))
                .collect(),
        );
        assert_eq!(resolved(&registry, "m"), [expected], "{accounts:?}");
    }
}

#[test]
fn what_a_service_lists_beyond_is_found_last() {
    let mut first = fake("a", 1, &["m"]);
    first.discovered = vec![Model::new("new", "new", 0), Model::new("n", "n", 0)];
    let (registry, _) = registry(&[], vec![first, fake("b", 0, &["n"])]);
    assert_eq!(resolved(&registry, "new"), ["a/new"]);
    assert_eq!(resolved(&registry, "n"), ["b/n"]);
    let provider = &registry.providers()[0];
    assert!(provider.is_listed("m") && provider.is_listed("new") && !provider.is_listed("x"));
}

#[test]
fn credentials_are_renewed_everywhere_or_nowhere() {
    let (registry, _) = registry(&[], vec![fake("a", 0, &["m"]), fake("b", 0, &["n"])]);
    assert!(!registry.is_usable());
    let problems = registry
        .renew(&Vars::new([("FAKE_TOKEN", "b")]))
        .unwrap_err();
    assert_eq!(problems, ["b is wrong"]);
    assert!(!registry.is_usable(), "a was fine, and is as it was");
    registry.renew(&Vars::new([("FAKE_TOKEN", "x")])).unwrap();
    assert!(
        registry
            .providers()
            .iter()
            .all(|provider| provider.accounts().is_configured())
    );
}

/// wire/qwen_intl.md section 5: two sites share one family of names.
#[test]
fn each_of_the_two_qwen_sites_has_its_names() {
    let vars = Vars::new([
        ("API_MASTER_KEY", "sk-1234567890"),
        ("QWEN_TOKEN", "ticket$abcdef0123456789"),
        ("INTL_AUTHORIZATION", "Bearer opaque0123456789"),
    ]);
    let mut problems = Problems::default();
    let settings = Settings::read(&vars, &mut problems);
    let registry = Registry::new(&vars, &settings, &mut problems);
    assert!(problems.errors.is_empty(), "{problems:?}");
    let is_domestic = |provider: &&Arc<dyn Provider>| provider.name() == "qwen";
    let domestic = registry.providers().iter().find(is_domestic).unwrap();
    for model in domestic.models() {
        for (suffix, name) in [
            ("", "qwen"),
            ("-search", "qwen"),
            ("-image", "qwen_intl"),
            ("-video", "qwen_intl"),
        ] {
            let id = format!("{}{suffix}", model.id);
            assert_eq!(resolved(&registry, &id), [format!("{name}/{id}")]);
        }
    }
    for id in [
        "qwen3.7-plus",
        "qwen3-vl-plus-thinking-search",
        "qwen-intl/qwen3.5-plus",
        "wanx-v1",
        "animate-v1",
    ] {
        assert_eq!(resolved(&registry, id), [format!("qwen_intl/{id}")]);
    }
}

/// A web chat and an API, and an alias that leads to both.
fn configured() -> Registry {
    let vars = Vars::new([
        ("API_MASTER_KEY", "sk-1234567890"),
        ("TOOLS", "native"),
        ("OPENAI_COMPAT_1_NAME", "api"),
        ("OPENAI_COMPAT_1_BASE_URL", "https://api.example/v1"),
        ("OPENAI_COMPAT_1_API_KEY", "sk-2345678901"),
        ("OPENAI_COMPAT_1_MODELS", "large"),
        (
            "MODEL_ROUTES",
            r#"{"both": ["qwen/qwen-max", "api/large"]}"#,
        ),
    ]);
    let mut problems = Problems::default();
    let settings = Settings::read(&vars, &mut problems);
    let registry = Registry::new(&vars, &settings, &mut problems);
    assert!(problems.errors.is_empty(), "{problems:?}");
    registry
}

fn request(model: &str, content: &str, more: &str) -> ChatRequest {
    let body = format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":{content}}}]{more}}}"#
    );
    crate::http::openai::body::read(body.into()).unwrap()
}

#[test]
fn only_candidates_that_can_do_it_are_left() {
    const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
    const ODD: &str = r#"[{"type":"video_url","video_url":{"url":"u"}}]"#;
    let registry = configured();
    let route = |model: &str, content: &str, more: &str| {
        let route = registry.route_for(&request(model, content, more))?;
        Ok(format!("{:?}", route.candidates))
    };
    assert_eq!(
        route("both", r#""x""#, ""),
        Ok("[qwen/qwen-max, api/large]".to_owned())
    );
    for (content, more) in [(r#""x""#, TOOLS), (ODD, ""), (ODD, TOOLS)] {
        assert_eq!(
            route("both", content, more),
            Ok("[api/large]".to_owned()),
            "{content} {more}"
        );
    }
    assert_eq!(
        route("qwen/qwen-max", r#""x""#, TOOLS),
        Err(NoRoute::Unsupported("tools".to_owned()))
    );
    // Another door's request is put into words anew, and there are none for such a part.
    let mut foreign = request("both", ODD, "");
    foreign.verbatim = None;
    let route_of_foreign = registry.route_for(&foreign).map(|_| ());
    assert_eq!(
        route_of_foreign,
        Err(NoRoute::OddPart(foreign.odd_part.unwrap()))
    );
    let odd = route("qwen/qwen-max", ODD, TOOLS);
    assert!(matches!(odd, Err(NoRoute::OddPart(_))), "{odd:?}");
    assert_eq!(route("nobody", r#""x""#, ""), Err(NoRoute::UnknownModel));
}

#[test]
fn what_has_no_effect_is_told_of_the_first_candidate() {
    let registry = configured();
    let ignored = |model: &str| {
        let request = request(model, r#""x""#, r#","temperature":0.5,"stop":"a""#);
        let route = registry.route_for(&request).unwrap();
        route
            .ignored(&request)
            .map(Cow::into_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(ignored("both"), ["temperature"]);
    assert_eq!(ignored("large"), [""; 0]);
}

#[test]
fn tools_come_from_where_the_settings_say() {
    const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"f"}}],"response_format":{"type":"json_object"}"#;
    let request = request("a/m", r#""x""#, TOOLS);
    let routes: BTreeMap<String, Vec<Target>> = [(
        "off".to_owned(),
        vec![Target {
            model: "a/m".to_owned(),
            tools: Some(Tools::Off),
        }],
    )]
    .into();
    for (tools, origin, emulated) in [
        (
            Tools::Emulate,
            "emulated",
            Some(vec!["response_format", "tools"]),
        ),
        (Tools::Native, "off", None),
        (Tools::Off, "off", None),
    ] {
        let fake = Arc::new(fake("a", 1, &["m"])) as Arc<dyn Provider>;
        let mut problems = Problems::default();
        let registry = Registry::of(vec![fake], &routes, tools, &mut problems);
        let candidate = registry.resolve("a/m").unwrap().candidates.remove(0);
        assert_eq!(candidate.origin(Field::Tools), origin);
        let route = registry.route_for(&request);
        assert_eq!(
            route
                .as_ref()
                .ok()
                .map(|route| route.emulated(&request).collect::<Vec<_>>()),
            emulated
        );
        // A route's own word counts before that of the gateway.
        let off = ChatRequest {
            model: "off".to_owned(),
            ..request.clone()
        };
        assert!(matches!(
            registry.route_for(&off),
            Err(NoRoute::Unsupported(_))
        ));
    }
}

#[test]
fn what_the_model_is_not_shown_is_told() {
    const MORE: &str = r#","tools":[{"type":"function","function":{"name":"f"}},{"type":"web_search"},{"type":"a b,c"},{"type":"web_search"}],
        "messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"1","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]"#;
    let request =
        crate::http::openai::body::read(format!(r#"{{"model":"a/m"{MORE}}}"#).into()).unwrap();
    let told = |tools: Tools, sees: bool| {
        let mut fake = fake("a", 1, &["m"]);
        for model in &mut fake.models {
            model.vision = sees;
        }
        let (registry, _) = registry_with(tools, &[], vec![fake]);
        let route = registry.resolve("a/m").unwrap();
        let names: Vec<String> = route.ignored(&request).map(Cow::into_owned).collect();
        names
    };
    let hosted = ["tools.web_search", "tools.abc"];
    assert_eq!(told(Tools::Emulate, true), hosted);
    assert_eq!(
        told(Tools::Emulate, false),
        [hosted[0], hosted[1], "tool_result.image"]
    );
}
