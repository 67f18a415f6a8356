//! Every provider end to end against its simulator, good days and every fault, through the real HTTP door.
//! The simulators are written from the wire pages alone, without a look at the worker.

#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a test that cannot go on says so by a panic"
)]

mod accounts;
mod again;
mod callers;
mod completions;
mod contract;
mod contract_tools;
mod conversations;
mod deepseek;
mod deepseek_login;
mod deepseek_today;
mod desk;
mod door;
mod door_answers;
mod doors;
mod doubao;
mod ernie;
mod flowgpt;
mod generations;
mod images;
mod kimi;
mod kimi_tokens;
mod langfast;
mod messages;
mod messages_lane;
mod messages_paths;
mod metaso;
mod minimax;
mod minimax_accounts;
mod minimax_conversations;
mod openai;
mod owner;
mod places;
mod qwen;
mod qwen_chat2;
mod qwen_intl;
mod qwen_intl_chat_media;
mod qwen_intl_media;
mod raw;
mod relay;
mod responses;
mod responses_errors;
mod responses_state;
mod strangers;
mod strangers_members;
mod strangers_refusals;
mod support;
mod tools;
mod tools_choice;
mod tools_forms;
mod videos;
mod xinghuo;
mod xinghuo_forms;
mod xinghuo_windows;
mod zhipu;
mod zhipu_media;
mod zhipu_tokens;
