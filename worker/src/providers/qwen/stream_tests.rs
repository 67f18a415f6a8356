use super::*;
use crate::accounts::Secret;

fn account() -> Account {
    Account {
        cookie: Secret::new("a=b"),
        xsrf_token: Secret::new("x"),
        variable: "QWEN_TOKEN".to_owned(),
    }
}
