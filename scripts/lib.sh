# shellcheck shell=bash
# What the scripts share: messages, settings, and processes that are started, found again and ended by their id.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Two setups on one machine (the tests beside your own) need two of each.
RUN_DIR=${RUN_DIR:-$ROOT/.run}
ENV_FILE=${ENV_FILE:-$ROOT/.env}
BIN=${BIN:-$ROOT/target/release}
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
    say "installing $* (for $command)"
    # Debian starts a service when it installs it; ours is started by us. The index may be old or empty: refresh it and try again.
    local install=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends "$@")
    as_root "${install[@]}" > /dev/null 2>&1 \
        || { as_root apt-get -qq update && as_root "${install[@]}" > /dev/null; } || die "cannot install $*"
}

# The Debian mirror that this machine uses, for what is fetched past apt's own lists.
debian_mirror() {
    local mirror
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2> /dev/null \
        | grep -oE '^(URIs:|deb) .*' | grep -oE 'https?://[^ ]*/debian(/| |$)' | head -n 1 || true)
    [ -n "$mirror" ] || die "no Debian mirror in /etc/apt: name one in MIRROR"
    printf '%s' "${mirror%[/ ]}"
}

# setting NAME [DEFAULT]: the environment wins over .env. Only for plain values: the worker has the real parser.
setting() {
    local value=${!1-}
    if [ -z "$value" ] && [ -r "$ENV_FILE" ]; then
        value=$(sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$ENV_FILE" | tail -n 1 \
            | sed "s/[[:space:]]\{1,\}#.*//; s/[[:space:]]*$//; s/^'\(.*\)'$/\1/; s/^\"\(.*\)\"$/\1/")
    fi
    printf '%s' "${value:-${2-}}"
}

# Names of credentials that have a value, in the environment or in .env.
credentials() {
    local names='(CN_ACCOUNT_[0-9]+_COOKIE|INTL_COOKIE|INTL_AUTHORIZATION|XINGHUO_COOKIE|OPENAI_COMPAT_[0-9]+_BASE_URL'
    names+='|FLOWGPT_BEARER_TOKEN|LANGFAST_ANON_KEY|DEEPSEEK_EMAIL|DEEPSEEK_MOBILE|(DEEPSEEK|KIMI|METASO|DOUBAO|QWEN|ZHIPU|MINIMAX)_TOKEN)(_[0-9]+)?'
    { env; cat "$ENV_FILE" 2> /dev/null || true; } \
        | grep -E "^[[:space:]]*(export[[:space:]]+)?${names}[[:space:]]*=" \
        | grep -vE "=[[:space:]]*(\"\"|'')?[[:space:]]*(#.*)?$" \
        | sed 's/[[:space:]]*=.*//' | sort -u || true
}

# A key of our own, in a .env that only its owner can read.
make_env_file() {
    [ ! -e "$ENV_FILE" ] || return 0
    local key
    key=sk-$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    (
        umask 077
        if [ -r "$ROOT/.env.example" ]; then
            sed "s/^[# ]*API_MASTER_KEY=.*/API_MASTER_KEY=$key/" "$ROOT/.env.example" > "$ENV_FILE"
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

# start NAME COMMAND…: in a session of its own, so that Ctrl-C reaches only the script that ends things in order.
start() {
    local name=$1 pid; shift
    mkdir -p "$RUN_DIR/pid" "$RUN_DIR/log"
    # Two connections a stream, and many streams.
    ulimit -Sn hard 2> /dev/null || true
    setsid "$@" < /dev/null >> "$RUN_DIR/log/$name" 2>&1 &
    pid=$!
    echo "$pid $(started_at "$pid")" > "$RUN_DIR/pid/$name"
}

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

# Ends everything in the order in which nothing is lost: no new requests, running streams to their end, then their upstreams.
stop_all() {
    [ -d "$RUN_DIR" ] || return 0
    local name running drain
    mapfile -t running < <(processes worker-)
    drain=$(setting DRAIN_TIMEOUT 120)
    signal TERM nginx
    # INT and not TERM: nobody sends new requests any more, so the grace would be waited for in vain.
    for name in "${running[@]}"; do signal INT "$name"; done
    wait_gone $((drain + 10)) "${running[@]}" nginx || for name in "${running[@]}" nginx; do kill_group "$name"; done
    signal TERM simulators
    wait_gone 5 simulators || kill_group simulators
    rm -rf "$RUN_DIR"
}

# The environment in which `up` was called, for what `scale` starts later. Empty: this one.
hive_env=()
load_env() { mapfile -d '' -t hive_env < "/proc/$(pid_of nginx)/environ"; }

# start_worker N: RUN_DIR/workers/NAME holds its address, and nginx calls it, once it answers.
start_worker() {
    local name=worker-$1 port
    port=$(free_port)
    local vars=(HOST=127.0.0.1 PORT="$port" WORKER_NAME="$name" ACCOUNTS_FILE="$(cat "$RUN_DIR/accounts")")
    if [ ${#hive_env[@]} -gt 0 ]; then
        start "$name" env -i "${hive_env[@]}" "${vars[@]}" "$BIN/hive2api-worker"
    else
        start "$name" env "${vars[@]}" "$BIN/hive2api-worker"
    fi
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
