use super::*;

fn event<'a>(name: &'a str, payload: &'a str) -> Packet<'a> {
    Packet::Event(Event {
        name: name.into(),
        payload: Some(payload),
    })
}

/// The packets of wire/langfast.md section 6.
#[test]
fn reads_the_packets_of_the_wire_page() {
    let seconds = |seconds| Packet::Open(Duration::from_secs(seconds));
    for (message, packet) in [
        (
            r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
            seconds(45),
        ),
        (r#"0{"pingInterval":1000,"sid":"x","new":{}}"#, seconds(21)),
        (r#"0{"sid":"x"}"#, seconds(45)),
        ("1", Packet::Close),
        ("2", Packet::Ping("")),
        ("2probe", Packet::Ping("probe")),
        ("3", Packet::Idle),
        ("5", Packet::Idle),
        ("6", Packet::Idle),
        (r#"40{"sid":"wZX3oN0bSVIhsaknAAAI"}"#, Packet::Connect),
        ("40", Packet::Connect),
        ("40/,{}", Packet::Connect),
        ("40/ns,{}", Packet::Idle),
        ("41", Packet::Disconnect),
        ("41/ns", Packet::Idle),
        ("41/ns,", Packet::Idle),
        (
            r#"44{"message":"Authentication error"}"#,
            Packet::Refusal("Authentication error".to_owned()),
        ),
        (r#"44"no""#, Packet::Refusal("no".to_owned())),
        ("44", Packet::Refusal(String::new())),
        (r#"44/ns,{"message":"x"}"#, Packet::Idle),
        (r#"42["x",{"a":[1, "]"]}]"#, event("x", r#"{"a":[1, "]"]}"#)),
        (r#"42/ns,17["x",{}]"#, event("x", "{}")),
        (r#"4217["x",{}]"#, event("x", "{}")),
        (r#"42["\u4f60",null,1]"#, event("你", "null")),
        (r#"43["x"]"#, Packet::Idle),
        (r#"451-["x",{"_placeholder":true,"num":0}]"#, Packet::Idle),
        (r#"461-7["x"]"#, Packet::Idle),
    ] {
        assert_eq!(Packet::parse(message), Ok(packet), "{message}");
    }
    for message in [
        "",
        "7",
        "x",
        "4",
        "49",
        "0",
        "0[",
        "42",
        "42{}",
        "42[]",
        "42[1]",
        r#"42["x""#,
        "你",
    ] {
        assert_eq!(Packet::parse(message), Err(Unreadable), "{message}");
    }
}

#[test]
fn goes_through_the_sequence_of_the_wire_page() {
    let mut session = Session::new(r#"{"token":"a.b.c"}"#);
    let reply = |text: &str| Ok(Step::Reply(text.to_owned()));
    assert_eq!(session.receive(b"2"), reply("3"));
    assert_eq!(
        session.receive(br#"0{"pingInterval":1000,"pingTimeout":500}"#),
        reply(r#"40{"token":"a.b.c"}"#)
    );
    assert_eq!(session.pulse(), Duration::from_millis(1500));
    assert_eq!(session.receive(b"2"), reply("3"));
    assert_eq!(session.receive(br#"42["early",{}]"#), Err(Unreadable));
    assert_eq!(session.receive(br#"40{"sid":"x"}"#), Ok(Step::Connected));
    assert_eq!(session.receive(b"40"), Ok(Step::Nothing));
    assert_eq!(session.receive(b"2"), reply("3"));
    let step = session.receive(br#"42["x",{}]"#);
    assert!(matches!(step, Ok(Step::Event(_))), "{step:?}");
    assert_eq!(session.receive(b"41"), Ok(Step::Over));
    assert_eq!(session.receive(b"\xff"), Err(Unreadable));
    assert!(!format!("{session:?}").contains("a.b.c"));
}

#[test]
fn a_refusal_may_come_instead_of_the_connection() {
    let mut session = Session::new("{}");
    session.receive(b"0{}").unwrap();
    assert_eq!(
        session.receive(br#"44{"message":"no"}"#),
        Ok(Step::Refused("no".to_owned()))
    );
}

/// Every beginning of a packet is a packet, or unreadable; never a panic.
#[test]
fn every_prefix_of_a_packet_is_read_or_refused() {
    for message in [
        r#"0{"sid":"lv","pingInterval":25000,"pingTimeout":20000}"#,
        r#"42/ns,17["execution:chunk",{"content":"你好👋"}]"#,
        r#"44{"message":"Authentication error"}"#,
    ] {
        for at in 0..=message.len() {
            let mut session = Session::new("{}");
            let _ = session.receive(&message.as_bytes()[..at]);
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_message_panics(messages in proptest::collection::vec("[0-6]{0,2}(/[a-z]*,?)?[0-9]{0,3}.{0,40}", 0..6)) {
        let mut session = Session::new("{}");
        for message in messages {
            let _ = session.receive(message.as_bytes());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
        let _ = Session::new("{}").receive(&bytes);
    }
}
