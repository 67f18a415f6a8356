//! DeepSeek: the web chat of chat.deepseek.com. So far its proof of work.

pub mod pow;
