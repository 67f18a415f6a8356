use super::*;

fn blocks(json: &str) -> Result<Vec<Block>, String> {
    serde_json::from_str::<Blocks>(json)
        .map(|Blocks(blocks)| blocks)
        .map_err(|error| error.to_string())
}

fn block(json: &str) -> Block {
    let mut blocks = blocks(&format!("[{json}]")).unwrap();
    assert_eq!(blocks.len(), 1, "{json}");
    blocks.remove(0)
}

fn text(json: &str) -> String {
    match block(json) {
        Block::Part(Part::Text { text }) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn texts_of_every_kind() {
    for (json, expected) in [
        (
            r#"{"type":"text","text":"a","cache_control":{"type":"ephemeral"},"citations":null}"#,
            "a",
        ),
        (
            r#"{"type":"document","title":"T","context":"C","source":{"type":"text","media_type":"text/plain","data":"a"}}"#,
            "T\nC\na",
        ),
        (
            r#"{"type":"document","source":{"type":"content","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}"#,
            "a\nb",
        ),
        (
            r#"{"type":"document","source":{"type":"content","content":"a"}}"#,
            "a",
        ),
        (
            r#"{"type":"search_result","source":"https://e/","title":"T","content":[{"type":"text","text":"a"}]}"#,
            "T\nhttps://e/\na",
        ),
    ] {
        assert_eq!(text(json), expected, "{json}");
    }
    assert!(matches!(blocks(r#""a""#).as_deref(), Ok([Block::Part(_)])));
    assert!(matches!(blocks("null").as_deref(), Ok([])));
}

#[test]
fn pictures_and_documents_are_data_or_addresses() {
    for (json, expected) in [
        (
            r#"{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"AAAA"}}"#,
            "data:image/jpeg;base64,AAAA",
        ),
        (
            r#"{"type":"image","source":{"type":"url","url":"https://e/a.png"}}"#,
            "https://e/a.png",
        ),
    ] {
        let Block::Part(Part::ImageUrl { image_url, .. }) = block(json) else {
            panic!("{json}")
        };
        assert_eq!(image_url.url(), expected);
    }
    let json = r#"{"type":"document","title":"a.pdf","source":{"type":"base64","media_type":"application/pdf","data":"AAAA"}}"#;
    let Block::Part(Part::File { file }) = block(json) else {
        panic!()
    };
    assert_eq!(file.filename.as_deref(), Some("a.pdf"));
    assert_eq!(
        file.file_data.as_deref(),
        Some("data:application/pdf;base64,AAAA")
    );
    for json in [
        r#"[{"type":"image","source":{"type":"file","file_id":"f"}}]"#,
        r#"[{"type":"image"}]"#,
        r#"[{"type":"document","source":{"type":"file","file_id":"f"}}]"#,
    ] {
        assert!(blocks(json).is_err(), "{json}");
    }
}

#[test]
fn calls_keep_their_arguments_as_they_are_written() {
    let Block::Call(call) = block(
        r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{"b": 1,"a":[ ]},"cache_control":{"type":"ephemeral"}}"#,
    ) else {
        panic!()
    };
    assert_eq!(&*call.function.unwrap().arguments, r#"{"b": 1,"a":[ ]}"#);
    let Block::Call(call) = block(r#"{"type":"tool_use","id":"toolu_1","name":"f"}"#) else {
        panic!()
    };
    assert_eq!(&*call.function.unwrap().arguments, "{}");
}

#[test]
fn results_have_many_forms() {
    for (json, expected, is_error) in [
        (
            r#"{"type":"tool_result","tool_use_id":"t","content":"a"}"#,
            "a",
            false,
        ),
        (r#"{"type":"tool_result","tool_use_id":"t"}"#, "", false),
        (
            r#"{"type":"tool_result","tool_use_id":"t","content":null,"is_error":true}"#,
            "",
            true,
        ),
        (
            r#"{"type":"tool_result","tool_use_id":"t","is_error":false,"content":[{"type":"text","text":"a"},{"type":"tool_reference","tool_name":"f"},{"type":"x"}]}"#,
            "a",
            false,
        ),
    ] {
        let Block::Result(result) = block(json) else {
            panic!("{json}")
        };
        assert_eq!(
            (&*texts(&result.content), result.is_error),
            (expected, is_error),
            "{json}"
        );
    }
    assert!(blocks(r#"[{"type":"tool_result","content":"a"}]"#).is_err());
}

#[test]
fn what_only_anthropic_understands_is_kept_by_name() {
    for (kind, json) in [
        (
            "redacted_thinking",
            r#"{"type":"redacted_thinking","data":"x"}"#,
        ),
        (
            "server_tool_use",
            r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"}}"#,
        ),
        (
            "web_search_tool_result",
            r#"{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","url":"u","title":"t","encrypted_content":"e"}]}"#,
        ),
        (
            "web_search_tool_result",
            r#"{"type":"web_search_tool_result","tool_use_id":"s","content":{"type":"web_search_tool_result_error","error_code":"x"}}"#,
        ),
        (
            "bash_code_execution_tool_result",
            r#"{"type":"bash_code_execution_tool_result","content":{"stdout":"a","content":[{"file_id":"f"},5]}}"#,
        ),
        (
            "container_upload",
            r#"{"type":"container_upload","file_id":"f"}"#,
        ),
        (
            "new_one",
            r#"{"type":"new_one","text":5,"source":[],"content":[5,[],{"type":"x"}],"id":{},"input":"a"}"#,
        ),
    ] {
        let Block::Foreign(known) = block(json) else {
            panic!("{json}")
        };
        assert_eq!(&*known, kind);
    }
    for json in [
        r#"[{"text":"a"}]"#,
        "[5]",
        "5",
        r#"[{"type":"text","text":5}]"#,
    ] {
        assert!(blocks(json).is_err(), "{json}");
    }
}

#[test]
fn thoughts_come_back_whatever_their_seal() {
    for (signature, expected) in [
        (r#""""#, None),
        (r#""Zm9yZWlnbg==""#, Some("Zm9yZWlnbg==")),
        ("null", None),
    ] {
        let json = format!(r#"{{"type":"thinking","thinking":"hm","signature":{signature}}}"#);
        let Block::Thought(thought) = block(&json) else {
            panic!()
        };
        assert_eq!(
            (&*thought.text, thought.signature.as_deref()),
            ("hm", expected)
        );
    }
}
