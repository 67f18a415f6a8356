"""Several workers behind nginx: who gets whom, and what happens when workers come and go."""

import collections
import os
import signal
import subprocess
import threading
import time

import httpx
import pytest
from conftest import WORKERS
from edge import ROOT, wait_until
from test_clients import ask, collect

# A reload closes idle connections of clients. Before nginx 1.27.4 (keepalive_min_timeout) a request that is sent in the same
# millisecond meets the closing connection, as it may with any HTTP/1.1 server; clients send it again. These tests count what
# the gateway loses, so each request of theirs has a connection of its own.
FRESH = {"Connection": "close"}
KEYS = [f"user={n}" for n in range(300)]


def who(gateway, header="Cookie", keys=KEYS):
    """Which worker each key gets. Without a valid API key: even a refusal names its worker."""
    with httpx.Client(base_url=gateway.url, headers=FRESH) as client:
        return {key: client.get("/v1/models", headers={header: key}).headers["x-hive-worker"] for key in keys}


@pytest.fixture
def back_to_three(gateway):
    yield
    gateway.script("scale", str(WORKERS))


@pytest.mark.parametrize("header", ["Cookie", "Authorization", "X-Session-Id"])
def test_300_of_300_keys_keep_their_worker(gateway, header):
    first = who(gateway, header)
    assert len(set(first.values())) == WORKERS
    assert min(collections.Counter(first.values()).values()) > 50
    assert who(gateway, header) == first


def test_a_fourth_worker_takes_at_most_30_percent(gateway, back_to_three):
    # A quarter is fair. With this many keys 30 % is far beyond what chance alone adds.
    keys = [f"user={n}" for n in range(1200)]
    three = who(gateway, keys=keys)
    gateway.script("scale", "4")
    wait_until(lambda: "worker-4" in set(who(gateway).values()), 10)
    four = who(gateway, keys=keys)
    moved = [key for key in keys if three[key] != four[key]]
    assert 0 < len(moved) <= 0.3 * len(keys)
    assert {four[key] for key in moved} == {"worker-4"}, "only the new worker gets anything"
    gateway.script("scale", "3")
    assert who(gateway, keys=keys) == three


def long_stream(gateway, header, out, count=60):
    with gateway.client() as client:
        stream = client.chat.completions.create(model="qwen-plus", messages=ask(f"pace:100 count:{count}"), stream=True, extra_headers=header)
        out["worker"] = stream.response.headers["x-hive-worker"]
        out["text"] = collect(stream)[1].split()


def test_scaling_breaks_no_open_stream(gateway, back_to_three):
    """Two reloads, one new worker and one that drains, under streams on every worker."""
    gateway.script("scale", "4")
    wait_until(lambda: len(set(who(gateway).values())) == 4, 10)
    # Three keys of each worker: by chance alone a worker could be left without a stream.
    four = who(gateway)
    keys = [key for worker in sorted(set(four.values())) for key in [key for key in KEYS if four[key] == worker][:3]]
    streams = [({}, {"Cookie": key, **FRESH}) for key in keys]
    threads = [threading.Thread(target=long_stream, args=(gateway, header, out)) for out, header in streams]
    for thread in threads:
        thread.start()
    wait_until(lambda: all("worker" in out for out, _ in streams), 10)
    assert len({out["worker"] for out, _ in streams}) == 4
    leaving = gateway.pid("worker-4")
    gateway.script("scale", "3")
    for thread in threads:
        thread.join()
    assert [out["text"] for out, _ in streams] == [[str(n) for n in range(1, 61)]] * len(streams)
    assert not os.path.exists(f"/proc/{leaving}/exe")


def test_a_roll_replaces_every_worker_under_open_streams(gateway):
    before = who(gateway)
    keys = [next(key for key in KEYS if before[key] == worker) for worker in sorted(set(before.values()))]
    streams = [({}, {"Cookie": key, **FRESH}) for key in keys]
    threads = [threading.Thread(target=long_stream, args=(gateway, header, out)) for out, header in streams]
    for thread in threads:
        thread.start()
    wait_until(lambda: all("worker" in out for out, _ in streams), 10)
    old = {name: gateway.pid(name) for name in gateway.workers()}
    gateway.script("roll")
    for thread in threads:
        thread.join()
    assert {out["worker"] for out, _ in streams} == set(old)
    assert [out["text"] for out, _ in streams] == [[str(n) for n in range(1, 61)]] * len(streams)
    assert set(who(gateway).values()) == set(gateway.workers()) and not set(gateway.workers()) & set(old)
    assert not any(os.path.exists(f"/proc/{pid}/exe") for pid in old.values())
    # The names that the other tests know are free again.
    gateway.script("roll")
    assert set(gateway.workers()) == set(old)


def test_a_killed_workers_keys_go_elsewhere_at_once(gateway, back_to_three):
    before = who(gateway)
    theirs = [key for key in KEYS if before[key] == "worker-3"]
    os.kill(gateway.pid("worker-3"), signal.SIGKILL)
    with gateway.client() as client:
        for key in theirs[:20]:
            answer = client.chat.completions.with_raw_response.create(model="qwen-plus", messages=ask("echo:ok"), extra_headers={"Cookie": key})
            assert answer.headers["x-hive-worker"] != "worker-3"
            assert answer.parse().choices[0].message.content == "ok"
    after = who(gateway)
    assert {key: after[key] for key in KEYS if key not in theirs} == {key: before[key] for key in KEYS if key not in theirs}


def test_sigterm_alone_loses_nothing(gateway, back_to_three):
    """As a container runtime does it: nobody tells nginx, the watcher sees /ready."""
    out, header = {}, next({"Cookie": key, **FRESH} for key, worker in who(gateway).items() if worker == "worker-2")
    thread = threading.Thread(target=long_stream, args=(gateway, header, out, 80))
    thread.start()
    wait_until(lambda: "worker" in out, 10)
    url = gateway.workers()["worker-2"]
    os.kill(gateway.pid("worker-2"), signal.SIGTERM)
    failed, workers, end = [], [], time.monotonic() + 6
    wait_until(lambda: httpx.get(f"{url}/ready").status_code == 503, 2)
    with gateway.client() as client:
        while time.monotonic() < end:
            try:
                answer = client.chat.completions.with_raw_response.create(model="qwen-plus", messages=ask("echo:ok"), extra_headers=header)
                workers.append(answer.headers["x-hive-worker"])
            except Exception as error:  # noqa: BLE001 - whatever it is, a request was lost
                failed.append(repr(error))
            time.sleep(0.02)
    thread.join()
    assert not failed
    assert out["worker"] == "worker-2" and out["text"] == [str(n) for n in range(1, 81)]
    assert workers[-1] != "worker-2"
    wait_until(lambda: not os.path.exists(f"/proc/{gateway.pid('worker-2')}/exe"), 10)


def test_metrics_are_for_the_inside(gateway):
    assert httpx.get(f"{gateway.url}/metrics", headers=gateway.headers()).json()["error"]["code"] == "not_found"
    for url in gateway.workers().values():
        assert "hive_build_info" in httpx.get(f"{url}/metrics").text


def test_the_limit_of_a_body_is_the_same_at_both(gateway):
    with httpx.Client(headers=gateway.headers(), timeout=60) as client:
        too_large = b'{"a":"' + b"a" * (64 << 20) + b'"}'
        for url in (gateway.url, *gateway.workers().values()):
            answer = client.post(f"{url}/v1/chat/completions", content=too_large, headers={"Content-Type": "application/json"})
            assert answer.status_code == 413 and answer.json()["error"]["code"] == "request_too_large"


def test_up_refuses_to_run_twice(gateway):
    again = gateway.script("up", "--no-build", "--detach", check=False)
    assert again.returncode != 0 and "runs already" in again.stderr


def test_the_printed_curl_line_works(gateway):
    line = next(line for line in gateway.said.stdout.splitlines() if line.startswith("try it")).removeprefix("try it").strip()
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.endswith("data: [DONE]\n\n")
    assert "SIMULATORS" in gateway.said.stderr


@pytest.mark.parametrize("script", ["up", "down", "scale", "roll", "test", "base-images", "hf-space"])
def test_every_script_has_help(script):
    said = subprocess.run([ROOT / "scripts" / script, "--help"], capture_output=True, text=True, check=True).stdout
    assert f"scripts/{script}" in said and "usage" in said
