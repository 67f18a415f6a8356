use super::*;
use crate::accounts::jwt::sample;

fn read(pairs: &[(&str, &str)]) -> (Vec<(usize, Account)>, Problems) {
    let (mut problems, vars) = (Problems::default(), Vars::new(pairs.iter().copied()));
    let accounts = accounts(&vars, &Kept::default(), Patience::default(), &mut problems);
    (accounts, problems)
}

/// Token and cookie of the only account.
fn sent(pairs: &[(&str, &str)]) -> (String, String) {
    let (accounts, problems) = read(pairs);
    assert!(problems.errors.is_empty(), "{problems:?}");
    assert_eq!(accounts.len(), 1, "{pairs:?}");
    let access = accounts[0].1.tokens.latest().unwrap();
    (
        access.token.expose().to_owned(),
        access.cookie.expose().to_owned(),
    )
}

#[test]
fn either_of_the_two_is_enough_and_makes_the_other() {
    let token = sample(r#"{"id":"u","exp":4102444800}"#);
    let plain = format!("token={token}");
    let whole = format!("cna=x; token={token}; ssxmod_itna=1-a;acw_tc=\"b\"");
    for (pairs, cookie) in [
        (
            vec![("INTL_AUTHORIZATION", format!("Bearer {token}"))],
            &plain,
        ),
        (
            vec![("INTL_AUTHORIZATION", format!("bearer {token}"))],
            &plain,
        ),
        (vec![("INTL_AUTHORIZATION", token.clone())], &plain),
        (
            vec![(
                "INTL_AUTHORIZATION",
                format!("authorization: Bearer {token}"),
            )],
            &plain,
        ),
        (vec![("INTL_COOKIE", whole.clone())], &whole),
        (vec![("INTL_COOKIE", token.clone())], &plain),
        (
            vec![
                ("INTL_AUTHORIZATION", format!("Bearer {token}")),
                ("INTL_COOKIE", "cna=x; acw_tc=y".to_owned()),
            ],
            &"cna=x; acw_tc=y".to_owned(),
        ),
    ] {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, it)| (*name, &**it)).collect();
        assert_eq!(sent(&pairs), (token.clone(), cookie.clone()), "{pairs:?}");
    }
}

#[test]
fn of_two_tokens_the_one_that_ends_later_is_used() {
    let early = sample(r#"{"id":"u","exp":4102444800}"#);
    let late = sample(r#"{"id":"u","exp":4102444900}"#);
    for (header, cookie) in [(&early, &late), (&late, &early)] {
        let pairs = [
            ("INTL_AUTHORIZATION", header.as_str()),
            ("INTL_COOKIE", &format!("a=b; token={cookie}; c=d")),
        ];
        let expected = (late.clone(), format!("a=b; token={late}; c=d"));
        assert_eq!(sent(&pairs), expected);
        let (_, problems) = read(&pairs);
        assert_eq!(problems.warnings.len(), 1, "{problems:?}");
    }
}

#[test]
fn accounts_go_by_their_numbers() {
    let tokens: Vec<String> = (0..5)
        .map(|at| sample(&format!(r#"{{"id":"{at}","exp":4102444800}}"#)))
        .collect();
    let both = format!("{}, {}", tokens[0], tokens[4]);
    let (accounts, problems) = read(&[
        ("INTL_AUTHORIZATION", &both),
        ("INTL_BX_UA", "231!abc"),
        ("INTL_COOKIE_2", &format!("token={}", tokens[1])),
        ("INTL_BX_UA_2", "231!def"),
        ("INTL_EMAIL_4", "x@example.com"),
        ("INTL_PASSWORD_4", "p"),
    ]);
    assert!(problems.errors.is_empty(), "{problems:?}");
    let numbers: Vec<(usize, &str)> = accounts
        .iter()
        .map(|(number, account)| (*number, account.variable.as_str()))
        .collect();
    assert_eq!(
        numbers,
        [
            (1, "INTL_AUTHORIZATION"),
            (2, "INTL_COOKIE_2"),
            (4, "INTL_EMAIL_4"),
            (5, "INTL_AUTHORIZATION"),
        ]
    );
    let bx_ua = |at: usize| {
        let parts = &accounts[at].1.parts;
        parts.bx_ua.as_ref().map(|it| it.expose().to_owned())
    };
    assert_eq!(bx_ua(0).as_deref(), Some("231!abc"));
    assert_eq!(bx_ua(1).as_deref(), Some("231!def"));
    assert_eq!(bx_ua(3), None);
    assert!(accounts[2].1.tokens.latest().is_none());
    assert_eq!(accounts[2].1.login_variable(), "INTL_EMAIL_4");
    assert_eq!(accounts[0].1.end(), Some(4_102_444_800));
    assert_eq!(accounts[2].1.end(), None);
    assert!(!format!("{accounts:?}").contains("eyJ"));
}

#[test]
fn complains_about_what_is_no_account() {
    for pairs in [
        &[("INTL_COOKIE", "cna=x; acw_tc=y")][..],
        &[("INTL_EMAIL", "x@example.com")],
        &[("INTL_AUTHORIZATION", "a b\u{7f}c")],
    ] {
        let (_, problems) = read(pairs);
        assert!(!problems.errors.is_empty(), "{pairs:?}");
    }
    assert!(read(&[("INTL_BX_UA", "231!x")]).0.is_empty());
}

#[test]
fn an_end_that_has_come_is_known() {
    let ended = sample(r#"{"id":"u","exp":1000}"#);
    let (accounts, _) = read(&[("INTL_AUTHORIZATION", &ended)]);
    let access = accounts[0].1.tokens.latest().unwrap();
    assert!(access.has_ended(1000) && !access.has_ended(999));
    let (accounts, _) = read(&[("INTL_AUTHORIZATION", "opaque-token")]);
    assert!(!accounts[0].1.tokens.latest().unwrap().has_ended(u64::MAX));
}

/// Section 6.4: where nobody has pasted what the page would tell, and a login is all that there is.
#[test]
fn a_login_without_a_browsers_cookie_tells_of_a_device() {
    let login = [("INTL_EMAIL", "a@b.c"), ("INTL_PASSWORD", "p")];
    let token = sample(r#"{"id":"u","exp":4102444800}"#);
    let cookie = format!("token={token}; ssxmod_itna=1-a");
    for (more, tells) in [
        (vec![], true),
        (vec![("INTL_COOKIE", "cna=x; acw_tc=y")], true),
        (vec![("INTL_COOKIE", &*cookie)], false),
        (vec![("QWEN_INTL_DEVICE_COOKIES", "false")], false),
    ] {
        let pairs = [&login[..], &more].concat();
        let (accounts, problems) = read(&pairs);
        assert!(problems.errors.is_empty(), "{problems:?}");
        assert_eq!(accounts[0].1.device.is_some(), tells, "{more:?}");
    }
    let (accounts, _) = read(&[("INTL_AUTHORIZATION", &token)]);
    assert!(accounts[0].1.device.is_none());
}
