# shellcheck shell=bash
# The containers' side of up, down and scale; read after lib.sh.

# Where compose is not installed as a plugin, this says what to install.
need_docker() {
    command -v docker > /dev/null || die "docker is missing: https://docs.docker.com/engine/install/"
    docker info > /dev/null 2>&1 || die "the Docker daemon does not answer: is it running, and may you use it?"
    docker compose version > /dev/null 2>&1 || die "the compose plugin is missing: https://docs.docker.com/compose/install/linux/"
}

compose() { docker compose -f "$ROOT/compose/compose.yaml" "$@"; }

# What compose.yaml wants to know; remembered for down and scale.
# shellcheck disable=SC2154 # port, build, store and simulators are variables of up
docker_settings() {
    local owner
    owner=$(stat -c %u "$ENV_FILE")
    export LISTEN_PORT=$port HIVE_CONFIG_DIR HIVE_UID HIVE_GID COMPOSE_PROFILES=""
    HIVE_CONFIG_DIR=$(cd "$(dirname "$ENV_FILE")" && pwd)
    if [ "$owner" = 0 ]; then
        # Root's file, and no container runs as root: a group that nobody else has may read it.
        HIVE_UID=10001 HIVE_GID=10001
        as_root chgrp 10001 "$ENV_FILE" && as_root chmod 640 "$ENV_FILE"
    else
        HIVE_UID=$owner HIVE_GID=$(stat -c %g "$ENV_FILE")
    fi
    # compose does not read the root's .env, and nginx must know these as well.
    export MAX_BODY_BYTES BODY_STORE_BYTES STICKY_SPREAD
    MAX_BODY_BYTES=$(setting MAX_BODY_BYTES) BODY_STORE_BYTES=$(setting BODY_STORE_BYTES) STICKY_SPREAD=$(setting STICKY_SPREAD on)
    case $store in
        sqlite) export STORE_URL=sqlite: ;;
        valkey)
            COMPOSE_PROFILES=valkey
            export VALKEY_PASSWORD STORE_URL
            VALKEY_PASSWORD=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
            STORE_URL="redis://:$VALKEY_PASSWORD@valkey:6379"
            ;;
    esac
    if [ -z "$simulators" ]; then
        # The image's worker knows a credential from a placeholder.
        [ -z "$build" ] || compose build worker
        has_accounts compose run --rm --no-deps -T worker || simulators=unasked
    fi
    if [ -n "$simulators" ]; then
        COMPOSE_PROFILES=${COMPOSE_PROFILES:+$COMPOSE_PROFILES,}simulators
        export ACCOUNTS_FILE=/simulated/simulators.env API_MASTER_KEY
        API_MASTER_KEY=$(setting API_MASTER_KEY)
    fi
    take_run_dir
    export -p | grep -E ' (LISTEN_PORT|HIVE_[A-Z_]+|COMPOSE_[A-Z_]+|BUILD_NETWORK|MAX_STREAMS|MAX_BODY_BYTES|BODY_STORE_BYTES|STICKY_SPREAD|STORE_URL|VALKEY_PASSWORD|ACCOUNTS_FILE|API_MASTER_KEY)=' > "$RUN_DIR/docker"
}

# shellcheck disable=SC2154 # port, workers, detach and simulators are up's arguments
up_docker() {
    need curl
    need_docker
    answers_on "$port" && die "port $port is taken: choose another one by --port or LISTEN_PORT"
    docker_settings
    trap 'down_docker; remove_run_dir' EXIT
    trap 'exit 130' INT TERM
    compose up --detach ${build:+--build} --scale worker="$workers"
    wait_ready true || { compose logs --tail 20 >&2; die "not ready"; }
    [ -z "$simulators" ] || loud_about_simulators
    report
    if [ -n "$detach" ]; then
        trap - EXIT
        return
    fi
    say "
Ctrl-C ends it; running streams finish first."
    compose logs --follow --tail 0 &
    wait $! || true
}

# shellcheck source=/dev/null
down_docker() {
    . "$RUN_DIR/docker"
    if [ -n "$hurry" ]; then
        compose kill
    fi
    compose down --volumes --remove-orphans
}

# shellcheck source=/dev/null
scale_docker() {
    . "$RUN_DIR/docker"
    compose up --detach --no-recreate --no-build --scale worker="$1"
}

# in_ring CONTAINER: whether it is healthy and nginx calls it.
# shellcheck disable=SC2086 # one address a network
in_ring() {
    local found servers
    found=$(docker inspect --format '{{.State.Health.Status}}{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}' "$1")
    [[ $found == "healthy "* ]] || return 1
    servers=$(printf 'server %s:\n' ${found#healthy })
    compose exec -T nginx grep -qF "$servers" /tmp/hive-nginx/workers.conf
}

# shellcheck source=/dev/null disable=SC2154 # build is an argument of roll
roll_docker() {
    need_docker
    [ ! -e "$RUN_DIR/docker" ] || . "$RUN_DIR/docker"
    local old new container tries
    mapfile -t old < <(compose ps --quiet worker)
    [ ${#old[@]} -gt 0 ] || die "nothing runs: scripts/up starts it"
    [ -z "$build" ] || compose build worker
    compose up --detach --no-deps --no-recreate --no-build --scale worker=$((2 * ${#old[@]})) worker
    mapfile -t new < <(compose ps --quiet worker | grep -vxF "$(printf '%s\n' "${old[@]}")")
    for container in "${new[@]}"; do
        for ((tries = 0; tries < 120; tries++)); do
            ! in_ring "$container" || continue 2
            sleep 0.5
        done
        docker stop "${new[@]}" > /dev/null && docker rm "${new[@]}" > /dev/null
        die "the new workers do not become ready; the old ones stay"
    done
    # All at once: each has its stop_grace_period to finish its streams.
    docker stop "${old[@]}" > /dev/null
    docker rm "${old[@]}" > /dev/null
    say "replaced ${#old[@]} workers"
}
