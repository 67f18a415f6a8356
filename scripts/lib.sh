# shellcheck shell=bash
# What the scripts share: messages, settings, and processes that are started, found again and ended by their id.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Two setups on one machine (the tests beside your own) need two of each.
RUN_DIR=${RUN_DIR:-$ROOT/.run}
ENV_FILE=${ENV_FILE:-$ROOT/.env}
# The folder of the binaries; find_binaries looks for it where the caller has not named one.
BIN=${BIN-}
# Not empty: do not wait for running streams any longer.
hurry=""

say() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# The comment at the top of a script is its help.
help() { sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$0"; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# need COMMAND [PACKAGE…]: installs the packages when the command is not there.
need() {
    local command=$1; shift
    if PATH=$PATH:/usr/sbin command -v "$command" > /dev/null; then return 0; fi
    [ $# -gt 0 ] || set -- "$command"
    command -v apt-get > /dev/null || die "$command is missing, and there is no apt-get to install it with"
    # Debian starts a service when it installs it; ours is started by us. The index may be old or empty: refresh it and try again.
    local install=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends "$@")
    say "$command is missing, so this installs it:"
    announce as_root "${install[@]}"
    if as_root "${install[@]}" > /dev/null 2>&1; then return 0; fi
    announce as_root apt-get -qq update
    announce as_root "${install[@]}"
    { as_root apt-get -qq update && as_root "${install[@]}" > /dev/null; } || die "cannot install $*"
}

# announce COMMAND…: says what is about to run. Before whatever installs something.
announce() {
    if [ "$1" = as_root ]; then
        shift
        [ "$(id -u)" = 0 ] || set -- sudo "$@"
    fi
    say "  + $*"
}

# Rust's own installer puts cargo where not every shell looks.
need_cargo() {
    # shellcheck source=/dev/null
    command -v cargo > /dev/null || . "$HOME/.cargo/env" 2> /dev/null || die "cargo is missing: install Rust from https://rustup.rs"
}

# Where cargo builds to: CARGO_TARGET_DIR or `build.target-dir` may name another folder than target.
find_binaries() {
    [ -z "$BIN" ] || return 0
    local target=""
    if command -v cargo > /dev/null; then
        target=$(cd "$ROOT" && cargo metadata --format-version 1 --no-deps --offline 2> /dev/null | grep -o '"target_directory":"[^"]*"' | cut -d '"' -f 4) || true
    fi
    BIN=${target:-${CARGO_TARGET_DIR:-$ROOT/target}}${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}/release
}

# release_build BINARY…: with the compiler's profile where scripts/profile has taken one, and the same program without it. BIN is
# where cargo says that it has put them, unless the caller has named a folder.
release_build() {
    local binary built names=()
    need cc gcc libc6-dev
    need_cargo
    for binary in "$@"; do names+=(--bin "$binary"); done
    built=$(cd "$ROOT" && RUSTFLAGS="${RUSTFLAGS-} $(worker/pgo/flags)" cargo build --quiet --release --locked "${names[@]}" --message-format json-render-diagnostics \
        | { grep -o '"executable":"[^"]*"' || true; } | cut -d '"' -f 4 | tail -n 1) || die "the build failed"
    if [ -z "$BIN" ]; then
        BIN=$(dirname "$built")
    fi
}

# need_binary NAME…: what is missing is said here, not by what fails later for want of it.
need_binary() {
    local name
    for name in "$@"; do
        [ -x "$BIN/$name" ] || die "there is no $name in $BIN: build it (without --no-build), or name its folder in BIN"
    done
}

# The Debian mirror that this machine uses, for what is fetched past apt's own lists.
debian_mirror() {
    local mirror
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2> /dev/null \
        | grep -oE '^(URIs:|deb) .*' | grep -oE 'https?://[^ ]*/debian(/| |$)' | head -n 1 || true)
    [ -n "$mirror" ] || die "no Debian mirror in /etc/apt: name one in MIRROR"
    printf '%s' "${mirror%[/ ]}"
}

# setting NAME [DEFAULT]: the environment wins over .env. The worker has the parser; before there is one, this reads plain values.
setting() {
    local value
    if ! value=$([ -x "$BIN/hive2api-worker" ] && ACCOUNTS_FILE=$ENV_FILE "$BIN/hive2api-worker" setting "$1" 2> /dev/null); then
        value=${!1-}
        if [ -z "$value" ] && [ -r "$ENV_FILE" ]; then
            value=$(sed -n "1s/^\xef\xbb\xbf//; s/\r$//; s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$ENV_FILE" \
                | tail -n 1 | sed "s/[[:space:]]\{1,\}#.*//; s/[[:space:]]*$//; s/^'\(.*\)'$/\1/; s/^\"\(.*\)\"$/\1/")
        fi
    fi
    printf '%s' "${value:-${2-}}"
}

# Where the store keeps its file: DATA_DIR, else beside the settings.
data_dir() {
    local dir
    dir=$(setting DATA_DIR)
    (cd "${dir:-$(dirname "$ENV_FILE")}" && pwd)
}

# has_accounts COMMAND…: whether the worker, called by this command, sees a provider with an account. What it could not start with
# ends the script, in the worker's own words.
has_accounts() {
    local code=0
    "$@" accounts > /dev/null || code=$?
    case $code in
        0) return 0 ;;
        1) return 1 ;;
        *) die "the worker cannot start with these settings" ;;
    esac
}

# A key of our own, in a .env that only its owner can read.
make_env_file() {
    [ ! -e "$ENV_FILE" ] || return 0
    local key
    key=sk-$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    # No argument of any command holds the key: every user of the machine may read those.
    (
        umask 077
        if [ -r "$ROOT/.env.example" ]; then
            key=$key awk '/^[# ]*API_MASTER_KEY=/ { print "API_MASTER_KEY=" ENVIRON["key"]; next } { print }' "$ROOT/.env.example" > "$ENV_FILE"
        fi
        grep -qs '^API_MASTER_KEY=' "$ENV_FILE" || echo "API_MASTER_KEY=$key" >> "$ENV_FILE"
    )
    say "made $ENV_FILE with a random API_MASTER_KEY"
}

answers_on() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# Below the range that the kernel hands out to clients.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        if ! answers_on "$port" && ! grep -qsr ":$port\$" "$RUN_DIR/workers"; then echo "$port"; return; fi
    done
}

# --- processes: RUN_DIR/pid/NAME holds "PID STARTED", so that a pid that was given to somebody else is never ours ---

started_at() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null | cut -d ' ' -f 20; }

# start NAME COMMAND…: in a session of its own, so that Ctrl-C reaches only the script that ends things in order. A function as COMMAND
# sets the environment and ends in `session`.
start() {
    local name=$1 pid; shift
    mkdir -p "$RUN_DIR/pid" "$RUN_DIR/log"
    # Two connections a stream, and many streams.
    ulimit -Sn hard 2> /dev/null || true
    if [ "$(type -t "$1")" != function ]; then set -- session "$@"; fi
    "$@" < /dev/null >> "$RUN_DIR/log/$name" 2>&1 &
    pid=$!
    echo "$pid $(started_at "$pid")" > "$RUN_DIR/pid/$name"
}

# Takes the place of the subshell, whose pid is known.
session() { exec setsid "$@"; }

pid_of() { cut -d ' ' -f 1 "$RUN_DIR/pid/$1" 2> /dev/null; }

alive() {
    local pid started
    read -r pid started 2> /dev/null < "$RUN_DIR/pid/$1" || return 1
    [ -n "$started" ] && [ "$(started_at "$pid")" = "$started" ] && ! grep -qs '^State:[[:space:]]*Z' "/proc/$pid/status"
}

# processes [PREFIX]: names of what was started, in the order of their numbers.
processes() { (cd "$RUN_DIR/pid" 2> /dev/null && find . -name "${1-}*" -type f | sed 's|^\./||' | sort -V) || true; }

signal() { if alive "$2"; then kill "-$1" "$(pid_of "$2")" 2> /dev/null || true; fi; }

# wait_gone SECONDS NAME…: true when all have ended.
wait_gone() {
    local left=$(($1 * 10)) name; shift
    for name in "$@"; do
        while alive "$name"; do
            if [ -n "$hurry" ] || [ "$((left--))" -le 0 ]; then return 1; fi
            sleep 0.1
        done
    done
}

# A whole session at once, when nothing else helped.
kill_group() { if alive "$1"; then kill -KILL -- "-$(pid_of "$1")" 2> /dev/null || true; fi; }

# orphans NAME: the processes of its session when the first one is gone, which nobody else would end. The number of a session is not
# given again while one of it lives.
orphans() {
    local pid started
    read -r pid started 2> /dev/null < "$RUN_DIR/pid/$1" || return 0
    if alive "$1"; then return 0; fi
    # Somebody else's by now, or it is about to be taken from the list by its parent.
    [ ! -e "/proc/$pid" ] || [ "$(started_at "$pid")" = "$started" ] || return 0
    cat /proc/[0-9]*/stat 2> /dev/null \
        | awk -v session="$pid" '{ id = $1; sub(/.*\) /, "") } $1 != "Z" && $4 == session { print id }' || true
}

# end_orphans SIGNAL NAME
end_orphans() {
    local pid
    for pid in $(orphans "$2"); do kill "-$1" "$pid" 2> /dev/null || true; done
}

# --- RUN_DIR: made by `up`, and only what `up` has made is ever deleted ---

made_run_dir() { [ -f "$RUN_DIR/.made-by-hive2api" ]; }

# Whether `up` may take the folder: its own, a new one, or an empty one.
may_take_run_dir() {
    if made_run_dir || [ ! -e "$RUN_DIR" ]; then return 0; fi
    [ -d "$RUN_DIR" ] && [ -z "$(ls -A "$RUN_DIR")" ]
}

take_run_dir() {
    remove_run_dir
    mkdir -p "$RUN_DIR"
    chmod 700 "$RUN_DIR"
    echo "scripts/up has made this folder; scripts/down deletes what is in it." > "$RUN_DIR/.made-by-hive2api"
}

# What `up` and what it starts write there, by name; the folder goes if nothing else is in it.
remove_run_dir() {
    made_run_dir || return 0
    (cd "$RUN_DIR" && rm -rf pid log workers nginx accounts accounts.env accounts.env.tokens hive2api.db hive2api.db-wal hive2api.db-shm hive2api.rdb store.conf simulators.env bin docker .made-by-hive2api)
    rmdir "$RUN_DIR" 2> /dev/null || say "$RUN_DIR stays: there is something in it that scripts/up has not made"
}

# Ends everything in the order in which nothing is lost: no new requests, running streams to their end, then their upstreams.
stop_all() {
    made_run_dir || return 0
    local name running drain tries
    mapfile -t running < <(processes worker-)
    drain=$(setting DRAIN_TIMEOUT 120)
    signal TERM nginx
    # Where the watcher was killed: its nginx lets go of the port, and its open streams finish.
    end_orphans QUIT nginx
    # INT and not TERM: nobody sends new requests any more, so the grace would be waited for in vain.
    for name in "${running[@]}"; do signal INT "$name"; done
    wait_gone $((drain + 10)) "${running[@]}" nginx || for name in "${running[@]}" nginx; do kill_group "$name"; done
    for ((tries = 0; tries < 20; tries++)); do
        [ -n "$(orphans nginx)" ] || break
        sleep 0.1
    done
    end_orphans KILL nginx
    signal TERM simulators
    # Last: the workers have written what was used.
    signal TERM store
    for name in simulators store; do wait_gone 5 "$name" || kill_group "$name"; done
    remove_run_dir
}

# --- the store: a Valkey, or a Redis where Debian has that one, which this machine alone reaches ---

need_store_server() {
    if store_server > /dev/null; then return 0; fi
    # Debian has one of them, by release.
    if [ -n "$(apt-cache madison valkey-server 2> /dev/null)" ]; then need valkey-server; else need redis-server; fi
}

store_server() { PATH=$PATH:/usr/sbin command -v valkey-server || PATH=$PATH:/usr/sbin command -v redis-server; }

# start_store FOLDER: on a free port, with a password that no argument of a process shows; STORE_URL names it from here on. What it
# knows is written to FOLDER within five seconds of a change, and when it is ended.
start_store() {
    local password port tries
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    port=$(free_port)
    (
        umask 077
        printf '%s\n' "bind 127.0.0.1" "port $port" "requirepass $password" "daemonize no" "dir \"$1\"" "dbfilename hive2api.rdb" \
            "save 5 1" "appendonly no" > "$RUN_DIR/store.conf"
    )
    start store store
    for ((tries = 0; tries < 100; tries++)); do
        if answers_on "$port"; then
            export STORE_URL="redis://:$password@127.0.0.1:$port"
            return 0
        fi
        if ! alive store; then break; fi
        sleep 0.1
    done
    say "the store's server did not start:"
    tail -n 20 "$RUN_DIR/log/store" >&2
    return 1
}

# Becomes the server; its file is its owner's alone.
store() {
    umask 077
    session "$(store_server)" "$RUN_DIR/store.conf"
}

# The environment in which `up` was called, for what `scale` starts later. Empty: this one.
hive_env=()
load_env() {
    mapfile -d '' -t hive_env < "/proc/$(pid_of nginx)/environ"
    BIN=$(cat "$RUN_DIR/bin")
}

# In a subshell: its environment becomes hive_env. Not by `env`, whose arguments every user of the machine may read.
become_hive_env() {
    local variable
    for variable in $(compgen -e); do unset "$variable" 2> /dev/null || true; done
    for variable in "${hive_env[@]}"; do
        # Functions and the like are the shell's own.
        if [[ ${variable%%=*} =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]]; then export "${variable?}" 2> /dev/null || true; fi
    done
}

# worker NAME PORT BINARY: becomes a worker.
worker() {
    [ ${#hive_env[@]} = 0 ] || become_hive_env
    export HOST=127.0.0.1 PORT=$2 WORKER_NAME=$1 ACCOUNTS_FILE
    ACCOUNTS_FILE=$(< "$RUN_DIR/accounts")
    session "$3"
}

# start_worker N: RUN_DIR/workers/NAME holds its address, and nginx calls it, once it answers.
start_worker() {
    local name=worker-$1 port
    port=$(free_port)
    start "$name" worker "$name" "$port" "$BIN/hive2api-worker"
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if ! alive "$name"; then
            say "$name did not start:"
            tail -n 20 "$RUN_DIR/log/$name" >&2
            return 1
        fi
        if curl -q -fs --noproxy '*' -o /dev/null --max-time 2 "http://127.0.0.1:$port/health"; then
            mkdir -p "$RUN_DIR/workers"
            echo "127.0.0.1:$port" > "$RUN_DIR/workers/$name"
            return 0
        fi
        sleep 0.1
    done
    say "$name does not answer /health:"
    tail -n 20 "$RUN_DIR/log/$name" >&2
    return 1
}

# ring_has ADDRESS: whether nginx calls it.
ring_has() { grep -qsF "server $1 " "$RUN_DIR/nginx/workers.conf"; }

# wait_ring has|lacks ADDRESS: the watcher looks every second.
wait_ring() {
    local tries
    for ((tries = 0; tries < 50; tries++)); do
        case $1 in
            has) ! ring_has "$2" || return 0 ;;
            lacks) ring_has "$2" || return 0 ;;
        esac
        sleep 0.1
    done
    return 1
}

# stop_worker NAME: out of the ring first, then SIGTERM; its streams run to their end.
stop_worker() {
    local name=$1 address
    address=$(cat "$RUN_DIR/workers/$name" 2> /dev/null || true)
    rm -f "$RUN_DIR/workers/$name"
    [ -z "$address" ] || wait_ring lacks "$address" || say "nginx still calls $name"
    signal TERM "$name"
    wait_gone $(($(setting DRAIN_TIMEOUT 120) + 10)) "$name" || kill_group "$name"
    rm -f "$RUN_DIR/pid/$name"
}
