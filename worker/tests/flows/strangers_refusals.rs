//! How other servers refuse, and what they are listed with.

use serde_json::json;

use crate::{
    strangers::{
        End, Stranger, asked, complete, hello, http, refusal, said, stream, streamed, whole,
    },
    support::question,
};

#[actix_web::test]
async fn refusals_of_other_servers() {
    for (status, body, expected, code, words) in [
        (
            "400 Bad Request",
            r#"{"object":"error","message":"This model's maximum context length is 8192 tokens.","code":400}"#,
            400,
            "context_length_exceeded",
            "8192",
        ),
        (
            "422 Unprocessable",
            r#"{"detail":[{"loc":["body","temperature"],"msg":"too hot","type":"value_error"}]}"#,
            400,
            "",
            "temperature: too hot",
        ),
        (
            "400 Bad Request",
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"bad colour\"}}"}}}"#,
            400,
            "",
            "bad colour",
        ),
        (
            "404 Not Found",
            "<html>404</html>",
            502,
            "upstream_protocol_error",
            "OPENAI_COMPAT_1_BASE_URL",
        ),
        (
            "404 Not Found",
            r#"{"detail":"Not Found"}"#,
            502,
            "upstream_protocol_error",
            "OPENAI_COMPAT_1_BASE_URL",
        ),
        (
            "404 Not Found",
            r#"{"error":{"message":"model 'x' not found"}}"#,
            404,
            "model_not_found",
            "not found",
        ),
        (
            "403 Forbidden",
            r#"{"error":{"message":"Not in your country","code":"unsupported_country_region_territory"}}"#,
            403,
            "upstream_forbidden",
            "country",
        ),
    ] {
        let upstream = Stranger::start(vec![
            ("well", stream(&complete()), End::Open),
            (
                "",
                http(status, "application/json", body.as_bytes()),
                End::Open,
            ),
        ]);
        let hive = upstream.hive(&[]);
        let reply = hive.ask("m", "hi").await;
        let error = reply.error();
        assert_eq!(
            (error.0, error.2.as_str()),
            (expected, code),
            "{}",
            reply.text
        );
        assert!(reply.text.contains(words), "{}", reply.text);
        // It was that request's fault: the next one is answered, and the worker stays ready.
        assert_eq!(hive.ask("m", "well").await.content(), "Hello", "{body}");
        assert_eq!(hive.get("/ready").await.status, 200);
    }
    let limited = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: Sun, 06 Nov 1994 08:49:41 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n";
    let reply = asked(limited.to_vec()).await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (429, "4"),
        "{}",
        reply.text
    );
}

#[actix_web::test]
async fn stream_options_are_taken_back_where_they_are_refused() {
    let refused = r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#;
    let upstream = Stranger::start(vec![
        (
            "stream_options",
            refusal("422 Unprocessable Entity", refused),
            End::Open,
        ),
        ("", stream(&complete()), End::Open),
    ]);
    let hive = upstream.hive(&[]);
    let more = json!({"stream_options": {"include_usage": true}});
    for _ in 0..2 {
        let reply = hive.stream_with("m", "hi", more.clone()).await;
        assert_eq!(said(&reply, "options").0, "Hello");
    }
    // The second question knew.
    assert_eq!(upstream.asked.lock().unwrap().len(), 3);
}

#[actix_web::test]
async fn who_lists_an_id_answers_to_it() {
    let answer =
        json!({"choices": [{"message": {"content": "from the lane"}, "finish_reason": "stop"}]});
    let upstream = Stranger::start(vec![("", whole(&answer), End::Open)]);
    let hive = upstream.hive(&[]);
    let reply = hive
        .post(&question("deepseek/deepseek-chat-v3", "hi"))
        .await;
    assert_eq!(reply.content(), "from the lane");
    assert!(upstream.asked.lock().unwrap()[0].contains(r#""model":"deepseek/deepseek-chat-v3""#));
}

#[actix_web::test]
async fn listed_models_may_stand_in_quotes_each() {
    for list in ["\"other\",\"m\"", "'other', 'm'", "other，m", "other\nm"] {
        let upstream = Stranger::start(vec![("", stream(&complete()), End::Open)]);
        let hive = upstream.hive(&[("OPENAI_COMPAT_1_MODELS", list)]);
        assert_eq!(hive.ask("m", "hi").await.content(), "Hello", "{list}");
    }
}

#[actix_web::test]
async fn what_an_upstream_quotes_of_a_credential_is_not_shown() {
    for place in ["message", "code", "param", "type"] {
        let quoted = format!(
            "{} Authorization: Bearer SK-lab-0123456789abcdef",
            "a word ".repeat(55)
        );
        let mut error = json!({"message": "bad", "type": "x", "code": "c", "param": null});
        error[place] = json!(quoted);
        let body = json!({"error": error}).to_string();
        for reply in [
            asked(refusal("400 Bad Request", &body)).await,
            streamed(stream(&format!("{}data: {body}\n\n", hello())), End::Open).await,
        ] {
            assert!(
                !reply.text.to_lowercase().contains("sk-lab"),
                "{place}: {}",
                reply.text
            );
            assert!(
                !reply.text.to_lowercase().contains("sk_lab"),
                "{place}: {}",
                reply.text
            );
        }
    }
}
