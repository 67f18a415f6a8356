//! What a refusal means: whose fault it is, and what the caller can do. Codes and types say most, then the words, then
//! the status. Source: OpenAI's public API reference, and those of the servers that speak its protocol.

use crate::{
    chat::{Kind, ProviderError},
    providers::said::Said,
};

const CONTEXT_CODES: &[&str] = &[
    "context_length",
    "string_above_max_length",
    "prompt_too_long",
    "input_too_long",
    "context_window",
];
const CONTEXT_WORDS: &[&str] = &[
    "maximum context length",
    "context length",
    "context window",
    "context size",
    "max_model_len",
    "maximum model length",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "too many tokens",
    "too many input tokens",
    "maximum number of tokens",
    "maximum number of input tokens",
    "maximum prompt length",
    "input token count",
    "exceeds the token limit",
    "exceeded model token limit",
    "range of input length",
    "`inputs` tokens + `max_new_tokens` must be",
    "exceeds the model's maximum",
    "reduce the length of the",
    "上下文长度",
    "上下文过长",
    "超出最大长度",
    "输入过长",
];
const FILTER_CODES: &[&str] = &[
    "content_filter",
    "content_policy",
    "responsibleaipolicyviolation",
    "data_inspection_failed",
    "moderation",
    "sensitive",
];
const FILTER_WORDS: &[&str] = &[
    "content management policy",
    "requires moderation",
    "input was flagged",
    "was flagged",
    "safety system",
    "content policy",
    "inappropriate content",
];
const KEY_CODES: &[&str] = &[
    "invalid_api_key",
    "incorrect_api_key",
    "api_key_invalid",
    "invalid_authentication",
    "authentication_error",
    "unauthenticated",
    "expired_api_key",
    "account_deactivated",
];
const KEY_WORDS: &[&str] = &[
    "invalid api key",
    "incorrect api key",
    "api key not valid",
    "invalid api-key",
    "api key is invalid",
    "api key expired",
    "invalid_api_key",
    "invalid x-api-key",
    "invalid token",
    "no auth credentials",
];
const QUOTA_CODES: &[&str] = &[
    "insufficient_quota",
    "insufficient_balance",
    "billing",
    "arrearage",
    "insufficient_user_quota",
    "quota_exceeded",
];
const QUOTA_WORDS: &[&str] = &[
    "insufficient balance",
    "insufficient credits",
    "exceeded your current quota",
    "requires more credits",
    "credit balance is too low",
];
const MODEL_CODES: &[&str] = &[
    "model_not_found",
    "modelnotfound",
    "model_not_supported",
    "invalid_model",
    "unknown_model",
    "deploymentnotfound",
    "model_not_available",
];
/// Where the status leaves open what is meant.
const MODEL_WORDS: &[&str] = &[
    "model not exist",
    "model not found",
    "model does not exist",
    "unknown model",
    "invalid model",
    "unsupported model",
    "not a valid model",
    "no such model",
    "no endpoints found",
    "模型不存在",
];
/// Of a model, where the status says that something is not there or not allowed.
const MISSING_WORDS: &[&str] = &[
    "not found",
    "not exist",
    "unknown",
    "not supported",
    "not available",
    "not have access",
    "not allowed",
    "no access",
    "不存在",
];
const PATH_WORDS: &[&str] = &[
    "invalid url",
    "unknown request url",
    "no route",
    "cannot post",
    "page not found",
];

/// What an HTTP error status and its body mean for the key in `variable` of a lane.
pub(super) fn refusal(status: u16, body: &[u8], variable: &str) -> ProviderError {
    classify(status, &Said::body(body), variable)
}

/// The same for an error in a stream, whose status we do not see.
pub(super) fn in_stream(said: &Said, variable: &str) -> ProviderError {
    let is = |words: &[&str]| words.iter().any(|word| said.words.contains(word));
    let guess = || {
        if is(&["rate_limit", "too_many_requests", "ratelimit", "throttl"]) {
            429
        } else if is(&[
            "invalid_request",
            "badrequest",
            "bad_request",
            // Guessed by its words: a stream has no status of its own.
            "invalid_argument",
            "validation",
        ]) {
            400
        } else if is(&["not_found", "notfound"]) {
            404
        } else {
            500
        }
    };
    classify(said.status.unwrap_or_else(guess), said, variable)
}

/// A page for people where an answer was expected, or a redirect: the base URL is wrong.
pub(super) fn wrong_place(what: &str, variable: &str) -> ProviderError {
    let base_url = variable.replace("_API_KEY", "_BASE_URL");
    ProviderError::new(
        Kind::Protocol,
        format!("{what}, which is no answer of an API: check {base_url}"),
    )
}

fn classify(status: u16, said: &Said, variable: &str) -> ProviderError {
    let message = said.message.to_lowercase();
    let coded = |codes: &[&str]| codes.iter().any(|code| said.words.contains(code));
    let worded = |words: &[&str]| words.iter().any(|word| message.contains(word));
    // A rate, too, is counted in tokens.
    let is_rate = status == 429
        || coded(&["rate_limit", "ratelimit"])
        || worded(&["rate limit", "per minute"]);
    let is_request = matches!(status, 400 | 404 | 413 | 422 | 500..);
    if coded(CONTEXT_CODES) || (is_request && !is_rate && worded(CONTEXT_WORDS)) {
        let error = ProviderError::new(
            Kind::ContextLength,
            "the conversation is too long for this model",
        );
        return error.saying(&said.message);
    }
    if coded(FILTER_CODES) || (matches!(status, 400 | 403 | 451) && worded(FILTER_WORDS)) {
        let error = ProviderError::new(
            Kind::Moderated,
            "the upstream's moderation refused the request",
        );
        return error.saying(&said.message);
    }
    if status == 402
        || coded(QUOTA_CODES)
        || (matches!(status, 400 | 403 | 429) && worded(QUOTA_WORDS))
    {
        return ProviderError::new(
            Kind::QuotaSpent,
            format!("the quota of {variable} is spent"),
        );
    }
    let is_missing =
        matches!(status, 403 | 404) && message.contains("model") && worded(MISSING_WORDS);
    // Anthropic's own words: "model: NAME".
    let is_named = coded(&["not_found_error"]) && message.starts_with("model:");
    let is_model = coded(MODEL_CODES) || worded(MODEL_WORDS) || is_missing || is_named;
    // The model's row first: a model that is not there is not a key that is wrong.
    if is_model && matches!(status, 400 | 403 | 404 | 422) {
        let error = ProviderError {
            param: Some("model".to_owned()),
            ..ProviderError::new(
                Kind::ModelNotFound,
                "the upstream does not know this model, or not for this key",
            )
        };
        return error.saying(&said.message);
    }
    if status == 401 || (matches!(status, 400 | 403) && (coded(KEY_CODES) || worded(KEY_WORDS))) {
        return ProviderError::new(
            Kind::AuthExpired,
            format!("{variable} was refused; set a valid key"),
        );
    }
    by_status(status, said, variable, worded(PATH_WORDS))
}

fn by_status(status: u16, said: &Said, variable: &str, is_path: bool) -> ProviderError {
    let with_code = |error: ProviderError| {
        let error = error.with_param(&said.param);
        if said.code.is_empty() {
            error
        } else {
            error.with_code(&said.code)
        }
    };
    match status {
        300..400 => wrong_place(&format!("the upstream redirects (HTTP {status})"), variable),
        // 405 as well: a path of another API answers so.
        404 | 405 => wrong_place(
            &format!("the upstream has nothing at this path (HTTP {status})"),
            variable,
        )
        .saying(&said.message),
        400 if is_path => {
            wrong_place("the upstream has nothing at this path", variable).saying(&said.message)
        }
        // A region, a scenario, a plan, in short: this request. A key that is bad says so in words or by 401.
        403 => ProviderError::new(Kind::Forbidden, "the upstream does not allow this request")
            .saying(&said.message),
        429 => ProviderError::new(Kind::RateLimited, "too many requests").saying(&said.message),
        408 | 409 | 425 | 500.. if said.words.contains("rate_limit") => {
            ProviderError::new(Kind::RateLimited, "too many requests").saying(&said.message)
        }
        504 | 524 => ProviderError::new(
            Kind::Timeout,
            format!("the upstream was too slow (HTTP {status})"),
        )
        .saying(&said.message),
        408 | 409 | 425 | 500.. => ProviderError::new(
            Kind::Unavailable,
            format!("the upstream failed (HTTP {status})"),
        )
        .saying(&said.message),
        400..500 => with_code(
            ProviderError::new(Kind::BadRequest, "the upstream refused the request")
                .saying(&said.message),
        ),
        _ => ProviderError::new(
            Kind::Protocol,
            format!("the upstream answered with HTTP {status}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> Kind {
        refusal(status, body.as_bytes(), "OPENAI_COMPAT_1_API_KEY").kind
    }

    #[test]
    fn tells_apart_whose_fault_it_is() {
        for (status, body, expected) in [
            (
                400,
                r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#,
                Kind::ContextLength,
            ),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 8192 tokens.","code":400}"#,
                Kind::ContextLength,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"The input token count (9) exceeds the maximum number of tokens allowed (8).","status":"INVALID_ARGUMENT"}}]"#,
                Kind::ContextLength,
            ),
            (
                422,
                r#"{"detail":[{"loc":["body","messages"],"msg":"Prompt is too long","type":"value_error"}]}"#,
                Kind::ContextLength,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid request: Your request exceeded model token limit: 8192","type":"invalid_request_error"}}"#,
                Kind::ContextLength,
            ),
            (
                422,
                r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096","error_type":"validation"}"#,
                Kind::ContextLength,
            ),
            (
                400,
                r#"{"error":{"message":"Range of input length should be [1, 30720]","code":"invalid_parameter_error"}}"#,
                Kind::ContextLength,
            ),
            (
                429,
                r#"{"error":{"message":"Request too large: 9000 tokens per minute, maximum context length irrelevant"}}"#,
                Kind::RateLimited,
            ),
            (
                400,
                r#"{"error":{"message":"filtered","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                Kind::Moderated,
            ),
            (
                403,
                r#"{"error":{"code":403,"message":"Your chosen model requires moderation and your input was flagged"}}"#,
                Kind::Moderated,
            ),
            (
                403,
                r#"{"error":{"message":"Project does not have access to model gpt-x","code":"model_not_found"}}"#,
                Kind::ModelNotFound,
            ),
            (
                403,
                r#"{"error":{"message":"Not here.","code":"unsupported_country_region_territory"}}"#,
                Kind::Forbidden,
            ),
            (403, "<html>Forbidden</html>", Kind::Forbidden),
            (
                403,
                r#"{"error":{"message":"Invalid API key","code":"invalid_api_key"}}"#,
                Kind::AuthExpired,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
                Kind::AuthExpired,
            ),
            (401, "", Kind::AuthExpired),
            (
                402,
                r#"{"error":{"message":"Insufficient credits"}}"#,
                Kind::QuotaSpent,
            ),
            (
                429,
                r#"{"error":{"type":"insufficient_quota"}}"#,
                Kind::QuotaSpent,
            ),
            (
                404,
                r#"{"error":{"message":"model \"x\" not found, try pulling it first"}}"#,
                Kind::ModelNotFound,
            ),
            (
                404,
                r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","code":404}"#,
                Kind::ModelNotFound,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid model 'x'. Permitted models can be found in the documentation","type":"invalid_model","code":400}}"#,
                Kind::ModelNotFound,
            ),
            (
                400,
                r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}"#,
                Kind::ModelNotFound,
            ),
            (
                400,
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model.","param":"max_tokens","code":"unsupported_parameter"}}"#,
                Kind::BadRequest,
            ),
            (
                400,
                r#"{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","code":"model_not_found"}}"#,
                Kind::ModelNotFound,
            ),
            (
                404,
                r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#,
                Kind::ModelNotFound,
            ),
            (404, "404 page not found", Kind::Protocol),
            (404, "<html>404</html>", Kind::Protocol),
            (404, r#"{"detail":"Not Found"}"#, Kind::Protocol),
            (404, "", Kind::Protocol),
            (405, r#"{"detail":"Method Not Allowed"}"#, Kind::Protocol),
            (301, "", Kind::Protocol),
            (422, r#"{"detail":"x"}"#, Kind::BadRequest),
            (413, "<html>too large</html>", Kind::BadRequest),
            (500, "Internal Server Error", Kind::Unavailable),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                Kind::Unavailable,
            ),
        ] {
            assert_eq!(kind(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_caller_learns_what_is_wrong() {
        for (status, body, words) in [
            (404, "Not Found", "OPENAI_COMPAT_1_BASE_URL"),
            (
                422,
                r#"{"detail":[{"loc":["body","temperature"],"msg":"must be less than 2","type":"value_error"}]}"#,
                "temperature: must be less than 2",
            ),
            (
                400,
                r#"{"object":"error","message":"max_tokens must be at least 1","code":400}"#,
                "max_tokens must be at least 1",
            ),
            (400, "bad temperature", "bad temperature"),
        ] {
            let error = refusal(status, body.as_bytes(), "OPENAI_COMPAT_1_API_KEY");
            assert!(error.message.contains(words), "{}", error.message);
        }
        let error = refusal(
            422,
            br#"{"detail":[{"loc":["body","temperature"],"msg":"x"}]}"#,
            "K",
        );
        assert_eq!(error.param.as_deref(), Some("temperature"));
    }
}
