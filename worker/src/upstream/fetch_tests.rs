use super::*;

#[test]
fn knows_private_addresses_in_all_their_dresses() {
    for private in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
        "2001::1",
        "ff02::1",
        "::7f00:1",
        "fec0::1",
    ] {
        assert!(!is_public(private.parse().unwrap()), "{private}");
    }
    for public in [
        "1.1.1.1",
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
}

fn client() -> Client {
    // What main does at start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(Default::default())
}

#[actix_web::test]
async fn refuses_urls_that_are_no_public_https() {
    let client = client();
    for (url, expected) in [
        ("http://example.com/a.png", FetchError::BadUrl),
        ("file:///etc/passwd", FetchError::BadUrl),
        ("https://user@127.0.0.1/", FetchError::BadUrl),
        ("nonsense", FetchError::BadUrl),
        ("https://127.0.0.1/a.png", FetchError::NotPublic),
        ("https://localhost:8443/a.png", FetchError::NotPublic),
        ("https://[::1]/a.png", FetchError::NotPublic),
        ("https://[::ffff:10.0.0.1]/", FetchError::NotPublic),
        ("https://2130706433/", FetchError::NotPublic),
    ] {
        let error = attachment(&client, &Policy::default(), url, None, "x", &|_| true)
            .await
            .unwrap_err();
        assert!(
            error == expected || (error == FetchError::NoSuchHost && url.contains("2130706433")),
            "{url}: {error:?}"
        );
    }
}

#[actix_web::test]
async fn decodes_data_urls() {
    let client = client();
    let policy = Policy {
        most_bytes: 10,
        ..Policy::default()
    };
    let get = async |source: &str, name| {
        attachment(&client, &policy, source, name, "stem", &|_| true).await
    };
    let picture = get("data:image/jpeg;base64,/9g", None).await.unwrap();
    assert_eq!(
        (
            picture.name.as_str(),
            picture.content_type.as_str(),
            picture.bytes.as_ref()
        ),
        ("stem.jpg", "image/jpeg", &[0xff, 0xd8][..])
    );
    assert!(picture.is_image());
    let hostile = get("data:image/png\r\nX: y;base64,/9g", None)
        .await
        .unwrap();
    assert_eq!(hostile.content_type, "application/octet-stream");
    assert_eq!(
        get("data:text/plain,hello", None).await,
        Err(FetchError::BadData)
    );
    assert_eq!(
        get("data:image/png;base64,@@@", None).await,
        Err(FetchError::BadData)
    );
    assert_eq!(
        get("data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAA", None).await,
        Err(FetchError::TooLarge)
    );
    assert_eq!(
        get("aGk=", Some("notes.pdf")).await.unwrap().content_type,
        "application/pdf"
    );
}

async fn get(source: &str, name: Option<&str>) -> Result<Attachment, FetchError> {
    attachment(&client(), &Policy::default(), source, name, "stem", &|_| {
        true
    })
    .await
}

const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

#[actix_web::test]
async fn base64_comes_in_lines_with_blanks_and_in_both_alphabets() {
    let plain = get(&format!("data:image/png;base64,{PNG}"), None)
        .await
        .unwrap();
    let lines = PNG
        .as_bytes()
        .chunks(20)
        .map(|line| std::str::from_utf8(line).unwrap());
    let lines: Vec<&str> = lines.collect();
    for written in [
        format!("data:image/png;base64, {PNG}"),
        format!("data:image/png;base64,{}", lines.join("\n")),
        format!(" DATA:image/png; Base64,{}\r\n", lines.join("\r\n ")),
        format!(
            "data:image/png;charset=utf-8;base64,{}",
            PNG.replace('+', "%2B").replace('/', "%2F")
        ),
        format!("data:;base64,{}", PNG.replace('+', "-").replace('/', "_")),
        format!("data:image/png;name=a.png;base64,{PNG}=="),
    ] {
        assert_eq!(get(&written, None).await.as_ref(), Ok(&plain), "{written}");
    }
    assert_eq!(
        get("data:image/png;base64,a b*c", None).await,
        Err(FetchError::BadData)
    );
    assert_eq!(
        get("data:image/png,abc", None).await,
        Err(FetchError::BadData)
    );
}

#[actix_web::test]
async fn pictures_have_their_own_type_and_ending_whatever_is_said() {
    for (said, name, content_type, named) in [
        (
            "image/jpg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2Q==",
            None,
            "image/jpeg",
            "stem.jpg",
        ),
        ("image/jpg;base64,AAAA", None, "image/jpeg", "stem.jpg"),
        (
            ";base64,R0lGODlhAQABAAAAACw=",
            None,
            "image/gif",
            "stem.gif",
        ),
        (
            "binary/octet-stream;base64,R0lGODdhAQABAAAAACw=",
            Some("x"),
            "image/gif",
            "x.gif",
        ),
        (
            "image/png;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2Q==",
            None,
            "image/jpeg",
            "stem.jpg",
        ),
        (
            "text/plain;base64,UklGRgAAAABXRUJQVlA4",
            None,
            "image/webp",
            "stem.webp",
        ),
        (
            "application/force-download;base64,Qk1GAAAAAAAAADYAAAA=",
            None,
            "image/bmp",
            "stem.bmp",
        ),
        (
            "binary/octet-stream;base64,JVBERi0xLjQK",
            None,
            "application/pdf",
            "stem.pdf",
        ),
        (
            "binary/octet-stream;base64,AAAA",
            Some("a.png"),
            "image/png",
            "a.png",
        ),
        (
            "application/octet-stream;base64,AAAA",
            None,
            "application/octet-stream",
            "stem.bin",
        ),
        (
            "text/plain;base64,Qk0gaXMgYSBjYXI=",
            None,
            "text/plain",
            "stem.txt",
        ),
        (
            "application/zip;base64,R0lGODlhAQABAAAAACw=",
            None,
            "image/gif",
            "stem.gif",
        ),
        (
            "audio/wav;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
            Some("a.wav"),
            "image/png",
            "a.wav.png",
        ),
        (
            "application/zip;base64,Qk1GAAAAAAAAADYAAAA=",
            None,
            "application/zip",
            "stem.zip",
        ),
    ] {
        let found = get(&format!("data:{said}"), name).await.unwrap();
        assert_eq!(
            (found.content_type.as_str(), found.name.as_str()),
            (content_type, named),
            "{said}"
        );
    }
}

#[test]
fn redirects_are_resolved_as_browsers_do() {
    let policy = Policy::default();
    let target = Target::parse("https://a.example:8443/b/c/d.png?e", &policy).unwrap();
    for (location, url) in [
        ("https://x.example/y", "https://x.example/y"),
        ("//x.example/y", "https://x.example/y"),
        ("/y?z=http://q", "https://a.example:8443/y?z=http://q"),
        ("y.png", "https://a.example:8443/b/c/y.png"),
        ("./y.png#f", "https://a.example:8443/b/c/y.png"),
        ("../y.png", "https://a.example:8443/b/y.png"),
        ("../../../../y/..", "https://a.example:8443/"),
        ("?y", "https://a.example:8443/b/c/d.png?y"),
        (
            "y/2020-01-01T00:00.png",
            "https://a.example:8443/b/c/y/2020-01-01T00:00.png",
        ),
    ] {
        assert_eq!(target.follow(location).as_deref(), Ok(url), "{location}");
    }
    assert_eq!(target.follow(""), Err(FetchError::Refused));
    assert!(Target::parse(&target.follow("file:///etc/passwd").unwrap(), &policy).is_err());
}

#[test]
fn addresses_are_encoded_once() {
    for (pasted, url, name) in [
        (
            "https://a.example/图片.png",
            "https://a.example/%E5%9B%BE%E7%89%87.png",
            "图片.png",
        ),
        (
            " https://a.example/a b.png\n",
            "https://a.example/a%20b.png",
            "a b.png",
        ),
        (
            "https://a.example/a%20b.png?q=ü",
            "https://a.example/a%20b.png?q=%C3%BC",
            "a b.png",
        ),
    ] {
        assert_eq!(encoded(pasted), url);
        let target = Target::parse(&encoded(pasted), &Policy::default()).unwrap();
        assert_eq!(target.file_name().as_deref(), Some(name));
    }
}
