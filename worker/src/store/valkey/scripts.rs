//! The scripts, loaded into the server when it first hears of them.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));)*
    };
}

scripts! {
    PUT = "put.lua";
    REMOVE = "remove.lua";
    CLAIM = "claim.lua";
    SETTLE = "settle.lua";
    HOLD = "hold.lua";
    USAGE = "usage.lua";
    SWEEP = "sweep.lua";
}
