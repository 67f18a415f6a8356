"""What nginx does by itself: whom it asks, what it hides, how it says no."""

import collections
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from edge import Edge, Stub, wait_until


@pytest.fixture
def stubs():
    stubs = [Stub(f"w{n}") for n in range(1, 4)]
    yield stubs
    for stub in stubs:
        stub.stop()


@pytest.fixture
def edge(tmp_path, stubs):
    edge = Edge(tmp_path, stubs)
    edge.wait_ring(stubs)
    yield edge
    edge.stop()


def error_of(answer):
    """The error's fields, after checking all that a client needs to read it."""
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert len(answer.headers.get_all("X-Request-Id")) == 1 and answer.headers["X-Request-Id"]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["param"] is None and error["message"]
    return answer.status, error["type"], error["code"]


# --- whom it asks ---


def test_a_dead_worker_is_passed_over(edge, stubs):
    key = next({"Cookie": f"k={n}"} for n in range(100) if edge.get("/", {"Cookie": f"k={n}"}).worker == "w2")
    stubs[1].stop()
    started = time.monotonic()
    answer = edge.post("/", key)
    assert answer.status == 200 and answer.worker != "w2"
    assert time.monotonic() - started < 1


def test_an_address_that_swallows_connections_is_passed_over_in_a_second(edge, stubs):
    key = next({"Cookie": f"k={n}"} for n in range(100) if edge.get("/", {"Cookie": f"k={n}"}).worker == "w2")
    stubs[1].stop()
    # A full backlog drops every further SYN, as an address without a host does.
    with socket.socket() as hole:
        hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hole.bind(("127.0.0.1", stubs[1].port))
        hole.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for filler in fill:
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        before = sum(len(stub.requests) for stub in stubs)
        started = time.monotonic()
        answer = edge.post("/", key)
        assert answer.status == 200 and answer.worker != "w2"
        assert time.monotonic() - started < 2.5
        assert sum(len(stub.requests) for stub in stubs) == before + 1
        for filler in fill:
            filler.close()


def test_a_request_that_reached_a_worker_is_never_sent_again(edge, stubs):
    answer = edge.post("/break", {"Cookie": "k=1"})
    assert error_of(answer) == (502, "upstream_error", "upstream_unavailable")
    assert sum(len(stub.requests) for stub in stubs) == 1


def test_a_worker_that_says_it_drains_is_taken_out(edge, stubs):
    stubs[0].ready = 503
    edge.wait_ring(stubs[1:])
    stubs[0].ready = 200
    edge.wait_ring(stubs)


class Stopped:
    """A worker in a process of its own, which can be stopped like one that hangs: its port still takes connections."""

    def __init__(self, name):
        code = f"import edge, threading; stub = edge.Stub({name!r}); print(stub.port, flush=True); threading.Event().wait()"
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True)
        self.name, self.address = name, f"127.0.0.1:{int(self.process.stdout.readline())}"

    def tell(self, number):
        self.process.send_signal(number)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def hanging():
    hanging = [Stopped("h1"), Stopped("h2")]
    yield hanging
    for worker in hanging:
        worker.end()


def test_a_worker_that_hangs_leaves_the_ring_and_comes_back(edge, stubs, hanging):
    for worker in hanging:
        edge.add(worker)
    edge.wait_ring([*stubs, *hanging])
    # A stream of another worker, which neither reload may touch.
    cookie = next({"Cookie": f"k={n}"} for n in range(100) if edge.get("/", {"Cookie": f"k={n}"}).worker == "w2")
    outs = [{}, {}]
    threads = [threading.Thread(target=read_stream, args=(edge.port, out), kwargs={"headers": cookie}) for out in outs]
    threads[0].start()
    hanging[0].tell(signal.SIGSTOP)
    edge.wait_ring([*stubs, hanging[1]])
    threads[1].start()
    assert {edge.get("/", {"Cookie": f"k={n}"}).status for n in range(60)} == {200}
    # It stays out for as long as it is silent, and is not the reason that others are taken out late.
    time.sleep(2)
    assert edge.ring() == {worker.address for worker in (*stubs, hanging[1])}
    stubs[0].ready = 503
    wait_until(lambda: stubs[0].address not in edge.ring(), 3)
    stubs[0].ready = 200
    hanging[0].tell(signal.SIGCONT)
    edge.wait_ring([*stubs, *hanging])
    assert "h1" in {edge.get("/", {"Cookie": f"k={n}"}).worker for n in range(200)}
    for thread in threads:
        thread.join()
    assert [out["body"] for out in outs] == [WHOLE_STREAM] * 2


def test_a_worker_that_is_silent_for_a_moment_keeps_its_users(edge, stubs, hanging):
    edge.add(hanging[0])
    edge.wait_ring([*stubs, hanging[0]])
    hanging[0].tell(signal.SIGSTOP)
    time.sleep(1)
    hanging[0].tell(signal.SIGCONT)
    time.sleep(2)
    assert edge.ring() == {worker.address for worker in (*stubs, hanging[0])}
    assert edge.log.read_text().count("watcher: workers:") == 2, "it was taken out"


def test_when_all_hang_all_stay(tmp_path, hanging):
    edge = Edge(tmp_path, hanging)
    try:
        edge.wait_ring(hanging)
        for worker in hanging:
            worker.tell(signal.SIGSTOP)
        time.sleep(6)
        assert edge.ring() == {worker.address for worker in hanging}
        hanging[1].tell(signal.SIGCONT)
        # Now there is somebody, so the one that still hangs goes.
        edge.wait_ring([hanging[1]])
        hanging[0].tell(signal.SIGCONT)
        edge.wait_ring(hanging)
    finally:
        edge.stop()


def test_when_nobody_is_ready_the_worker_itself_says_why(edge, stubs):
    for stub in stubs:
        stub.ready = 503
    time.sleep(1)
    edge.wait_ring(stubs)
    answer = edge.get("/status/503")
    assert answer.json()["error"]["code"] == "from_the_worker"


def test_an_empty_list_changes_nothing(edge, stubs):
    for stub in stubs:
        edge.remove(stub)
    time.sleep(1)
    assert edge.ring() == {stub.address for stub in stubs}
    assert edge.get("/").status == 200


def test_who_comes_later_is_found(tmp_path):
    edge = Edge(tmp_path, [])
    try:
        answer = edge.get("/v1/models")
        assert error_of(answer) == (502, "upstream_error", "upstream_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        stub = Stub("late")
        edge.add(stub)
        edge.wait_ring([stub])
        assert edge.get("/v1/models").worker == "late"
        stub.stop()
    finally:
        edge.stop()


# --- streams ---


def read_stream(port, out, path="/stream", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    connection.request("POST", path, b"{}", headers or {})
    response = connection.getresponse()
    out["headers"], out["status"] = response.headers, response.status
    try:
        out["first"] = response.read1(100)
        out["first_at"] = time.monotonic()
        out["body"] = out["first"] + response.read()
    except (http.client.HTTPException, OSError) as error:
        out["body"] = repr(error).encode()


WHOLE_STREAM = b"".join(b"data: %d\n\n" % n for n in range(20))


def test_chunks_pass_at_once_and_uncompressed(edge):
    out, started = {}, time.monotonic()
    read_stream(edge.port, out, headers={"Accept-Encoding": "gzip"})
    assert out["first_at"] - started < 0.5 and out["first"] == b"data: 0\n\n"
    assert out["body"] == WHOLE_STREAM
    assert "Content-Encoding" not in out["headers"]


def test_a_reload_breaks_no_open_stream(edge, stubs):
    outs = [{} for _ in range(12)]
    threads = [threading.Thread(target=read_stream, args=(edge.port, out), kwargs={"headers": {"Cookie": f"k={n}"}}) for n, out in enumerate(outs)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    fourth = Stub("w4")
    edge.add(fourth)
    edge.wait_ring([*stubs, fourth])
    assert any(edge.get("/", {"Cookie": f"k={n}"}).worker == "w4" for n in range(60)), "nginx did not take the new list up"
    edge.remove(stubs[0])
    edge.wait_ring([*stubs[1:], fourth])
    for thread in threads:
        thread.join()
    fourth.stop()
    assert [out["body"] for out in outs] == [WHOLE_STREAM] * 12


def test_stopping_lets_open_streams_finish(edge):
    out = {}
    thread = threading.Thread(target=read_stream, args=(edge.port, out))
    thread.start()
    time.sleep(0.5)
    edge.stop()
    thread.join()
    assert out["body"] == WHOLE_STREAM
    assert edge.watcher.returncode == 0


def test_a_client_that_leaves_is_noticed_by_the_worker(edge, stubs):
    connection = http.client.HTTPConnection("127.0.0.1", edge.port)
    connection.request("POST", "/stream", b"{}")
    connection.getresponse().read1(10)
    connection.sock.close()
    connection.close()

    def logged():
        return [line for line in edge.access_log.read_text().splitlines() if json.loads(line)["status"] == 499 or json.loads(line)["bytes"] < len(WHOLE_STREAM)]

    # The stream lasts 3 s: an entry of less means that nginx let go of the worker at once. Its lines are gathered for a second.
    [line] = wait_until(lambda: [line for line in logged() if "/stream" in line], 3)
    assert json.loads(line)["duration"] < 1.5


# --- how it says no ---


def head(line, *headers):
    return "\r\n".join([line, "Host: edge", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GARBAGE\r\n\r\n", (400, "invalid_request_error", "bad_request")),
        (b"GET / HTTP/1.1\r\n\r\n", (400, "invalid_request_error", "bad_request")),
        (head("TRACE / HTTP/1.1"), (405, "invalid_request_error", "method_not_allowed")),
        (head("POST / HTTP/1.1", "Content-Length: 100001"), (413, "invalid_request_error", "request_too_large")),
        (head("POST / HTTP/1.1", "Transfer-Encoding: chunked") + b"1869f\r\n" + b"a" * 0x1869F + b"\r\n5\r\naaaaa\r\n0\r\n\r\n", (413, "invalid_request_error", "request_too_large")),
        (head(f"GET /{'a' * 40000} HTTP/1.1"), (414, "invalid_request_error", "uri_too_long")),
        (head("GET / HTTP/1.1", f"X: {'a' * 40000}"), (431, "invalid_request_error", "headers_too_large")),
        (head("POST / HTTP/1.1", "Transfer-Encoding: odd"), (501, "invalid_request_error", "not_implemented")),
        (head("GET / HTTP/9.0"), (505, "invalid_request_error", "http_version_not_supported")),
    ],
    ids=["garbage", "no host", "trace", "too large", "too large in chunks", "long path", "long header", "transfer encoding", "version"],
)  # fmt: skip
def test_its_own_errors_are_openai_shaped(edge, request_bytes, expected):
    assert error_of(edge.raw(request_bytes)) == expected


@pytest.mark.parametrize(
    "request_bytes",
    [
        head("CONNECT example.org:443 HTTP/1.1"),
        head("GET http://[::1/ HTTP/1.1"),
        head("GET /%zz HTTP/1.1"),
        head("GET /%00 HTTP/1.1"),
        head("GET /../.. HTTP/1.1"),
        head("GET / HTTP/1.1", "Host: another"),
        head("GET / HTTP/1.1", ": no name"),
        head("POST / HTTP/1.1", "Content-Length: many"),
        head("POST / HTTP/1.1", "Content-Length: 1", "Content-Length: 2"),
        head("POST / HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"),
        head("POST / HTTP/1.1", "Transfer-Encoding: chunked") + b"zz\r\n",
        head("GET /metrics HTTP/1.0"),
        b"GET /metrics HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.0\r\nContent-Length: 100001\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_whatever_it_refuses_is_said_in_the_dialect(edge, request_bytes):
    status, kind, code = error_of(edge.raw(request_bytes))
    assert 400 <= status < 600 and kind == "invalid_request_error" and code != "internal_error"


def test_head_has_the_headers_of_get_and_no_body(edge):
    for path in ("/nginx-health", "/metrics", "/v1/models"):
        get = edge.get(path)
        with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as connection:
            connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n".encode())
            whole = b"".join(iter(lambda: connection.recv(65536), b""))
        headers, _, body = whole.partition(b"\r\n\r\n")
        assert int(headers.split()[1]) == get.status and body == b""
        assert f"content-type: {get.headers['Content-Type']}" in headers.decode().lower()


def test_a_caller_of_http_1_0_gets_no_chunks(edge):
    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as connection:
        connection.sendall(b"POST /stream HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
        whole = b"".join(iter(lambda: connection.recv(65536), b""))
    headers, _, body = whole.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in headers.lower() and body == WHOLE_STREAM


@pytest.mark.parametrize(
    ("path", "headers"),
    [(path, {}) for path in ("/v1/messages", "/v1/messages?beta=true", "//v1//messages/", "/messages", "/v1/messages/count_tokens", "/anthropic/v1/messages")]
    + [("/v1/models", {"anthropic-version": "2023-06-01"})],
)
def test_anthropics_clients_get_their_own_dialect(edge, path, headers):
    answer = edge.post(path, {**headers, "X-Request-Id": "mine"}, b"a" * 100001)
    assert answer.status == 413 and answer.headers["Request-Id"] == "mine"
    body = answer.json()
    assert body["error"].pop("message") and body == {"type": "error", "error": {"type": "request_too_large"}, "request_id": "mine"}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages2", "/v1/threads/1/messages", "/x?to=/v1/messages"])
def test_nobody_else_gets_anthropics_dialect(edge, path):
    assert error_of(edge.post(path, body=b"a" * 100001)) == (413, "invalid_request_error", "request_too_large")


def test_a_body_of_the_limit_passes(edge, stubs):
    assert edge.post("/", body=b"a" * 100000).status == 200
    assert [len(body) for stub in stubs for _, _, _, body in stub.requests] == [100000]


@pytest.mark.parametrize("status", [400, 401, 404, 405, 413, 429, 500, 502, 503, 504])
def test_a_workers_errors_pass_untouched(edge, status):
    answer = edge.post(f"/status/{status}")
    assert (answer.status, answer.body) == (status, b'{"error":{"code":"from_the_worker"}}')


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "/METRICS", "/metrics?a=b", "//metrics", "/v1/../metrics", "/%6detrics", "/v1/metrics", "/admin", "/admin/keys", "/v1/v1/admin/x", "/v1/..%2fmetrics"]
)  # fmt: skip
def test_inside_matters_stay_inside(edge, stubs, path):
    assert error_of(edge.get(path)) == (404, "invalid_request_error", "not_found")
    assert not any(stub.requests for stub in stubs)


def test_similar_names_are_not_hidden(edge):
    assert edge.get("/metrics-of-mine").status == edge.get("/v1/administrators").status == 200


# --- headers ---


def seen(edge, headers):
    return edge.get("/echo", headers).json()["headers"]


def test_a_request_id_is_made_or_kept(edge):
    assert len(seen(edge, {})["x-request-id"]) == 32
    assert seen(edge, {"X-Request-Id": "mine-1"})["x-request-id"] == "mine-1"
    for unfit in ["a" * 129, "with space", "tab\there", 'a"b', "a\\b", "ümlaut".encode().decode("latin-1")]:
        assert len(seen(edge, {"X-Request-Id": unfit})["x-request-id"]) == 32
    assert edge.get("/metrics", {"X-Request-Id": "mine-2"}).headers["X-Request-Id"] == "mine-2"


def test_forwarded_headers(edge):
    headers = seen(edge, {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"})
    assert headers["x-forwarded-for"] == "192.0.2.7, 127.0.0.1" and headers["x-forwarded-proto"] == "https"
    assert seen(edge, {"X-Forwarded-Proto": "gopher"})["x-forwarded-proto"] == "http"
    assert "connection" not in headers


def test_the_query_reaches_the_worker(edge):
    assert edge.get("/v1/models?a=%20b&c").json()["path"] == "/v1/models?a=%20b&c"


def test_connections_to_workers_and_clients_are_kept(edge, stubs):
    connection = http.client.HTTPConnection("127.0.0.1", edge.port)
    for _ in range(20):
        connection.request("POST", "/", b"{}")
        response = connection.getresponse()
        response.read()
        assert response.headers["Connection"] == "keep-alive"
    connection.close()


# --- logs ---


def test_logs_hold_no_query_key_or_cookie(edge, stubs):
    secret = "sk-very-secret"
    headers = {"Cookie": f"c={secret}", "Authorization": f"Bearer {secret}", "x-api-key": secret, "Referer": f"http://a/?{secret}"}
    edge.get(f"/v1/models?key={secret}", headers)
    edge.get(f"/metrics?key={secret}", headers)
    edge.post(f"/break?key={secret}", headers)
    edge.raw(head(f"TRACE /?key={secret} HTTP/1.1"))
    edge.raw(head(f"GET /?key={secret} HTTP/1.1", f"X: {'a' * 40000}"))
    for stub in stubs:
        stub.stop()
    edge.get(f"/v1/models?key={secret}", headers)
    edge.stop()
    access, errors = edge.access_log.read_text(), edge.log.read_text()
    assert "Connection refused" in errors, "nothing to look through"
    assert secret not in access and secret not in errors
    lines = [json.loads(line) for line in access.splitlines()]
    fields = {"time", "request_id", "method", "path", "status", "bytes", "duration", "upstream_addr", "upstream_status", "worker", "sticky"}
    assert all(set(line) == fields for line in lines)
    by_path = collections.Counter(line["path"] for line in lines)
    assert by_path["/v1/models"] == 2 and by_path["/metrics"] == 1
