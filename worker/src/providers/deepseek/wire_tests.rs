use super::*;
use serde_json::from_str;

fn challenge() -> Challenge {
    from_str(
        r#"{"algorithm":"DeepSeekHashV1","challenge":"94e422f2ac55677000b92e561bb1a10da1a7fad54af93fa4706e4c1fa06eba5c","salt":"9fa6d396e71f769c77ee","signature":"5c3b59d95f2810681e60601850583b347bad470734f6aa22bb5b5ab55aa50271","difficulty":144000,"expire_at":1771229508176,"expire_after":300000,"target_path":"/api/v0/chat/completion"}"#,
    )
    .unwrap()
}

/// The header vector of section 5, from challenge to header.
#[test]
fn proves_as_the_vector_says() {
    let challenge = challenge();
    let never = std::sync::atomic::AtomicBool::new(false);
    let answer = pow::solve(&challenge.to_solve().unwrap(), &never).unwrap();
    assert_eq!(
        challenge.proof(answer, "/other"),
        "eyJhbGdvcml0aG0iOiJEZWVwU2Vla0hhc2hWMSIsImNoYWxsZW5nZSI6Ijk0ZTQyMmYyYWM1NTY3NzAwMGI5MmU1NjFiYjFhMTBkYTFhN2ZhZDU0YWY5M2ZhNDcwNmU0YzFmYTA2ZWJhNWMiLCJzYWx0IjoiOWZhNmQzOTZlNzFmNzY5Yzc3ZWUiLCJhbnN3ZXIiOjIyNTMzLCJzaWduYXR1cmUiOiI1YzNiNTlkOTVmMjgxMDY4MWU2MDYwMTg1MDU4M2IzNDdiYWQ0NzA3MzRmNmFhMjJiYjViNWFiNTVhYTUwMjcxIiwidGFyZ2V0X3BhdGgiOiIvYXBpL3YwL2NoYXQvY29tcGxldGlvbiJ9"
    );
}

#[test]
fn refuses_challenges_that_it_cannot_solve() {
    let unknown = Challenge {
        algorithm: "SHA3".to_owned(),
        ..challenge()
    };
    let short = Challenge {
        challenge: "94e4".to_owned(),
        ..challenge()
    };
    assert!(unknown.to_solve().is_err() && short.to_solve().is_err());
    let float = Challenge {
        difficulty: json!(144_000.0),
        ..challenge()
    };
    assert!(float.to_solve().is_ok());
}

#[test]
fn finds_a_new_conversation_in_either_shape() {
    for shape in [
        r#"{"id":"s","ttl_seconds":259200}"#,
        r#"{"chat_session":{"id":"s"},"ttl_seconds":259200}"#,
    ] {
        let session: Session = from_str(shape).unwrap();
        assert_eq!(session.id().as_deref(), Some("s"));
    }
}
