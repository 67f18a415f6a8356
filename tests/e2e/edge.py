"""nginx and its watcher in front of stub workers that run in this process: what the edge does, without a gateway behind it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, seconds=10, every=0.05):
    """Returns the first truthy value of `what()`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what.__doc__ or what}"
        time.sleep(every)


class Stub:
    """A worker that notes each request. The path says how it answers."""

    def __init__(self, name, port=0):
        stub = self
        self.name, self.ready, self.requests, self.connections = name, 200, [], []
        # Refuses each request, as a worker does that has no place left.
        self.full = False
        # The only key that opens the door; None: everybody may come in. How often it was asked.
        self.key, self.key_checks = None, 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

            def setup(self):
                super().setup()
                stub.connections.append(self.connection)

            def log_message(self, *_):
                pass

            def answer(self, status, body, content_type="application/json", more=()):
                self.send_response(status)
                for header in more:
                    self.send_header(*header)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Hive-Worker", stub.name)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def stream(self, pieces, pause):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream; charset=utf-8")
                self.send_header("Transfer-Encoding", "chunked")
                self.send_header("X-Hive-Worker", stub.name)
                self.end_headers()
                for n in range(pieces):
                    piece = b"data: %d\n\n" % n
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                    time.sleep(pause)
                self.wfile.write(b"0\r\n\r\n")

            def do(self):
                if self.path == "/ready":
                    return self.answer(stub.ready, b"{}")
                if self.path == "/admin/key":
                    stub.key_checks += 1
                    return self.check_key()
                body = self.read_body()
                stub.requests.append((self.command, self.path, dict(self.headers), body))
                path = self.path.partition("?")[0]
                if stub.full:
                    elsewhere = self.headers.get("X-Hive-Elsewhere")
                    redirect = [("X-Accel-Redirect", elsewhere)] if elsewhere else []
                    self.answer(503, b'{"error":{"code":"overloaded"}}', more=[("Retry-After", "2"), *redirect])
                elif path == "/break":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                elif path == "/stream":
                    self.stream(20, 0.15)
                elif path.startswith("/status/"):
                    self.answer(int(path[8:]), b'{"error":{"code":"from_the_worker"}}')
                else:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    self.answer(200, json.dumps({"path": self.path, "headers": headers}).encode())

            def check_key(self):
                if stub.key is None or self.headers.get("Authorization") == f"Bearer {stub.key}":
                    self.send_response(204)
                else:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", "Bearer")
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def read_body(self):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            do_GET = do_POST = do_HEAD = do_OPTIONS = do_DELETE = do

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """As a killed process: the port is closed, and so is every connection."""
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended before


class Answer:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body
        self.worker = response.headers["X-Hive-Worker"]

    def json(self):
        return json.loads(self.body)


class Edge:
    """nginx by its watcher. `workers/` holds a file for each worker, as scripts/up does it."""

    def __init__(self, directory, stubs, **settings):
        self.directory, self.port = Path(directory), free_port()
        self.workers, self.prefix = self.directory / "workers", self.directory / "nginx"
        self.access_log, self.log = self.directory / "access", self.directory / "log"
        self.workers.mkdir()
        for stub in stubs:
            self.add(stub)
        self.access_log.touch()
        settings = {
            "WATCH_INTERVAL": "0.2",
            "MAX_BODY_BYTES": "100000",
            "WORKERS_DIR": str(self.workers),
            "NGINX_LISTEN": f"127.0.0.1:{self.port}",
            "ACCESS_LOG": str(self.access_log),
            **settings,
        }
        command, environment = [ROOT / "nginx/watcher", "--prefix", self.prefix], {"PATH": os.environ["PATH"] + ":/usr/sbin", **settings}
        if image := os.environ.get("NGINX_IMAGE"):
            # The nginx of an image instead of this machine's, as the same user and with the same files.
            variables = [f"--env={name}={value}" for name, value in settings.items()]
            mounts = [f"--volume={path}:{path}" for path in (self.directory, ROOT / "nginx")]
            user = f"--user={os.getuid()}:{os.getgid()}"
            command = ["docker", "run", "--rm", "--network=host", user, *variables, *mounts, f"--entrypoint={command[0]}", image, *command[1:]]
            environment = dict(os.environ)
        with self.log.open("w") as log:
            self.watcher = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        wait_until(self.healthy)

    def healthy(self):
        try:
            return self.get("/nginx-health").status == 200
        except OSError:
            return False

    def add(self, stub):
        (self.workers / stub.name).write_text(stub.address + "\n")

    def remove(self, stub):
        (self.workers / stub.name).unlink()

    def ring(self):
        """The addresses that nginx calls."""
        lines = (self.prefix / "workers.conf").read_text().splitlines()
        return {line.split()[1] for line in lines if " down" not in line}

    def wait_ring(self, stubs):
        wanted = {stub.address for stub in stubs}
        wait_until(lambda: self.ring() == wanted)
        time.sleep(0.3)  # nginx reads the file a moment after it was written

    def request(self, method, path, headers=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.request("GET", path, headers)

    def post(self, path, headers=None, body=b"{}"):
        return self.request("POST", path, headers, body)

    def raw(self, request):
        """Sends bytes as they are; returns status, headers and body of what comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return Answer(response, response.read())

    def stop(self):
        if self.watcher.poll() is None:
            self.watcher.send_signal(signal.SIGTERM)
            try:
                self.watcher.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.watcher.pid, signal.SIGKILL)
                self.watcher.wait()
