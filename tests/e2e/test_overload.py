"""More than a worker may take, and clients that take nothing: who is sent where, and what it costs."""

import json
import socket
import time
from pathlib import Path

import httpx
import pytest
from conftest import Gateway
from edge import Edge, Stub, wait_until
from test_clients import ask

# --- nginx in front of stubs: a refused chat is offered to the others ---


@pytest.fixture
def stubs():
    stubs = [Stub(f"w{n}") for n in range(1, 4)]
    yield stubs
    for stub in stubs:
        stub.stop()


@pytest.fixture
def edge(tmp_path, stubs):
    edge = Edge(tmp_path, stubs, MAX_BODY_BYTES="20000000")
    edge.wait_ring(stubs)
    yield edge
    edge.stop()


def asked(stubs):
    return {stub.name: len(stub.requests) for stub in stubs}


@pytest.mark.parametrize("size", [100, 900_000, 5_000_000])
def test_a_refused_chat_goes_to_another_worker_whole(edge, stubs, size):
    first = edge.post("/", {"Cookie": "k=1"}).worker
    full, others = next(stub for stub in stubs if stub.name == first), [stub for stub in stubs if stub.name != first]
    full.full = True
    for stub in stubs:
        stub.requests.clear()
    body = b"a" * size
    for _ in range(10):
        answer = edge.post("/", {"Cookie": "k=1"}, body)
        assert answer.status == 200 and answer.worker != first
        assert answer.headers["X-Hive-Sticky"] == "cookie" and "X-Accel-Redirect" not in answer.headers
    taken = [request for stub in others for request in stub.requests]
    # To one other worker, the next on the ring, so that a chat stays together there as well.
    assert len({answer.worker}) == 1 and [request[3] for request in taken] == [body] * 10
    full.full = False
    assert edge.post("/", {"Cookie": "k=1"}).worker == first


def test_only_when_all_are_full_the_client_hears_it(edge, stubs):
    for stub in stubs[:2]:
        stub.full = True
    assert {edge.post("/", {"Cookie": f"k={n}"}).worker for n in range(30)} == {"w3"}
    stubs[2].full = True
    answer = edge.post("/", {"Cookie": "k=1"})
    assert (answer.status, answer.json()["error"]["code"], answer.headers["Retry-After"]) == (503, "overloaded", "2")
    assert answer.worker in {"w1", "w2", "w3"}
    stubs[0].full = False
    assert edge.post("/", {"Cookie": "k=1"}).worker == "w1", "a refusal must not count as a failure"


def test_what_may_have_been_sent_is_not_sent_again_elsewhere(edge, stubs):
    first = edge.post("/", {"Cookie": "k=1"}).worker
    next(stub for stub in stubs if stub.name == first).full = True
    for path, status in [("/break", 502), ("/status/500", 500), ("/status/502", 502), ("/status/429", 429)]:
        before = sum(asked(stubs).values())
        assert edge.post(path, {"Cookie": "k=1"}).status == status
        # Twice the one that refused, and once the one that did not.
        assert sum(asked(stubs).values()) == before + 3, path


def test_a_503_without_a_refusal_stays_where_it_is(edge, stubs):
    answer = edge.post("/status/503")
    assert (answer.status, answer.json()["error"]["code"]) == (503, "from_the_worker")
    assert sum(asked(stubs).values()) == 1


def header_line(length):
    return {"X-Long": "a" * (length - len("X-Long: \r\n"))}


def test_headers_have_the_limits_of_the_worker(edge):
    assert edge.get("/", header_line(32 << 10)).status == 200
    assert edge.get("/", {f"X-{n}": "a" * 32_000 for n in range(3)}).status == 200
    for headers in (header_line((32 << 10) + 1), {f"X-{n}": "a" * 26_000 for n in range(4)}):
        answer = edge.get("/", headers)
        assert (answer.status, answer.json()["error"]["code"]) == (431, "headers_too_large")


# --- the real thing: two workers with few places ---

PLACES = 4


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("small"))
    gateway.environment["MAX_STREAMS"] = str(PLACES)
    gateway.up(workers=2)
    yield gateway
    gateway.script("down")


def test_places_are_filled_one_worker_after_the_other(small):
    body = {"model": "sim-chat", "messages": ask("pace:100 count:40"), "stream": True}
    # One session, so one worker is asked first.
    headers = small.headers(**{"X-Session-Id": "the same for all"})
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=small.url, headers=headers, timeout=60, limits=limits) as client:
        streams = [client.send(client.build_request("POST", "/v1/chat/completions", json=body), stream=True) for _ in range(2 * PLACES)]
        workers = [stream.headers["x-hive-worker"] for stream in streams]
        assert [stream.status_code for stream in streams] == [200] * 2 * PLACES
        assert len(set(workers[:PLACES])) == 1 and set(workers[PLACES:]) == {"worker-1", "worker-2"} - set(workers[:PLACES])
        calls = small.simulators["openai"].state()["calls"]
        for anthropic in ({}, {"anthropic-version": "2023-06-01"}):
            refused = client.post("/v1/chat/completions", json=body, headers=anthropic)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            error = refused.json()["error"]
            assert error.get("code") == "overloaded" if not anthropic else error["type"] == "overloaded_error"
        assert small.simulators["openai"].state()["calls"] == calls, "a refusal must cost nothing"
        for stream in streams:
            assert stream.read().endswith(b"data: [DONE]\n\n")
        assert client.post("/v1/chat/completions", json={**body, "messages": ask("echo:ok")}).headers["x-hive-worker"] == workers[0]
    pages = "".join(httpx.get(f"{url}/metrics").text for url in small.workers().values())
    for series in ('hive_refused_total{reason="overloaded"}', 'hive_sticky_total{by="session"}'):
        assert any(line.startswith(f"{series} ") and int(line.split()[1]) for line in pages.splitlines()), series


def pss(pid):
    """Bytes that a process and its children hold, shared ones by their share."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0  # the watcher's `sleep` has ended
    return sum(int(line.split()[1]) << 10 for line in rollup if line.startswith("Pss:")) + sum(map(pss, children))


def test_clients_that_do_not_read_cannot_fill_the_memory(gateway):
    """Each leaves some 10 MB unread; what the gateway holds is its buffers, and the kernel a few MB."""
    clients, simulator = 10, gateway.simulators["openai"]
    pids = [gateway.pid(name) for name in (*gateway.workers(), "nginx")]

    def request(text):
        body = json.dumps({"model": "sim-chat", "messages": ask(text), "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: hive\r\nAuthorization: Bearer {gateway.key}\r\nContent-Length: {len(body)}\r\n"
        connection = socket.create_connection(("127.0.0.1", gateway.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
        return connection

    for connection in [request("count:50") for _ in range(clients)]:
        while connection.recv(65536):
            pass
        connection.close()
    before = sum(map(pss, pids))
    connections = [request(f"tag:{n} pace:0 count:50000") for n in range(clients)]

    def all_are_open():
        try:
            return simulator.state()["open_streams"] == clients
        except httpx.TimeoutException:
            return False  # it is making up its answers

    wait_until(all_are_open, 30)
    peaks = []
    for _ in range(16):
        time.sleep(0.25)
        peaks.append(sum(map(pss, pids)) - before)
    assert simulator.state()["open_streams"] == clients, "the provider must be held back, not read to the end"
    print(f"{clients} clients that do not read: +{max(peaks) >> 10} KiB, the last second +{(peaks[-1] - peaks[-5]) >> 10} KiB")
    assert max(peaks) < clients * (1 << 20)
    assert peaks[-1] - peaks[-5] < 2 << 20, "it must not go on growing"
    for connection in connections:
        connection.close()
    wait_until(lambda: simulator.state()["open_streams"] == 0, 5)
