"""Workers of a test's own that share a store: a file or a server, a proxy before it that is slow, silent or torn, and callers under load."""

import asyncio
import collections
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from edge import ROOT, free_port, wait_until

MASTER = "sk-master-0123456789abcdef"
PASSWORD = "a-password-of-the-tests"
MODEL = "sim-chat"
# What a request may wait for the store, and what a busy machine and a debug build add to its clock.
PATIENCE = 0.25
BIN = Path(os.environ.get("BIN") or ROOT / "target/release")


class Simulators:
    """Some providers of a test's own, so that nobody else uses their accounts."""

    def __init__(self, folder, *names, accounts=1, pace=5, generation="both"):
        self.file = folder / "of-this-test.env"
        command = [BIN / "hive2api-loadtest", "simulate", "--accounts", str(accounts), "--pace", str(pace), "--generation", generation, "--env-file", self.file, *names]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.file.exists() and self.file.stat().st_size, 30)
        lines = self.file.read_text().splitlines()
        self.settings = {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}

        # Everything is in the environment: workers whose accounts are the test's own look at an empty file.
        nothing = folder / "no-accounts.env"
        nothing.write_text("\n")
        self.settings["ACCOUNTS_FILE"] = str(nothing)

    def url(self, variable):
        return "/".join(self.settings[variable].split("/")[:3])

    def fault(self, variable, name, **more):
        httpx.post(f"{self.url(variable)}/__sim/fault", json={"name": name, **more}).raise_for_status()

    def well(self, variable):
        httpx.delete(f"{self.url(variable)}/__sim/fault").raise_for_status()

    def state(self, variable):
        return httpx.get(f"{self.url(variable)}/__sim/state").json()

    def asked(self, variable, step="ask"):
        """When each question came, or another call, in milliseconds."""
        calls = httpx.get(f"{self.url(variable)}/__sim/log").json()
        calls = calls["calls"] if isinstance(calls, dict) else calls
        return [call["at_ms"] for call in calls if call["step"] == step]

    def end(self):
        self.child.kill()
        self.child.wait()


class Pack:
    """Workers that share a store, and the simulators behind them."""

    def __init__(self, folder, simulated):
        self.folder, self.simulated, self.workers = folder, simulated, []

    def start(self, number=1, before=(), **settings):
        ports = [free_port() for _ in range(number)]
        for port in ports:
            name = f"w{len(self.workers) + 1}"
            environment = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(port), "API_MASTER_KEY": MASTER, "WORKER_NAME": name,
                           "ACCOUNTS_FILE": str(self.simulated), "WORKER_THREADS": "1", "DRAIN_GRACE": "0", **settings}  # fmt: skip
            log = (self.folder / f"{name}.log").open("a")
            child = subprocess.Popen([*before, BIN / "hive2api-worker"], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            self.workers.append((child, f"http://127.0.0.1:{port}", self.folder / f"{name}.log"))
        for child, url, log in self.workers[-number:]:
            wait_until(lambda: answers(url), 60)
            assert child.poll() is None, log.read_text()
        return [url for _, url, _ in self.workers[-number:]]

    def logs(self):
        return "".join(log.read_text() for _, _, log in self.workers)

    def end(self, how=signal.SIGKILL):
        for child, _, _ in self.workers:
            if child.poll() is None:
                child.send_signal(how)
        for child, _, _ in self.workers:
            child.wait(30)
        self.workers.clear()


def answers(url):
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulators")
    file = folder / "simulators.env"
    child = subprocess.Popen([BIN / "hive2api-loadtest", "simulate", "--env-file", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: file.exists() and file.stat().st_size, 30)
    yield file
    child.kill()
    child.wait()


@pytest.fixture
def play(tmp_path):
    """Plays some providers for this test alone."""
    playing = []

    def begin(*names, **more):
        playing.append(Simulators(tmp_path, *names, **more))
        return playing[-1]

    yield begin
    for simulators in playing:
        simulators.end()


@pytest.fixture(params=["file", "server"])
def place(request, tmp_path):
    """Where the store of a test is, once a file and once a server."""
    if request.param == "file":
        return f"sqlite:{tmp_path}/hive.db"
    return request.getfixturevalue("server").url()


@pytest.fixture
def pack(tmp_path, simulated):
    pack = Pack(tmp_path, simulated)
    yield pack
    pack.end()


class Server:
    """A Valkey or Redis of the test's own."""

    def __init__(self, folder, port=None):
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        assert program, "valkey-server or redis-server must be installed"
        self.port = port or free_port()
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--requirepass", PASSWORD, "--save", "", "--appendonly", "yes", "--dir", folder]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.listens, 10)

    def listens(self):
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def url(self, port=None):
        return f"redis://:{PASSWORD}@127.0.0.1:{port or self.port}"

    def empty(self):
        """Takes all that is in it, as its owner may; it goes on answering."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(f"AUTH {PASSWORD}\r\nFLUSHALL\r\nQUIT\r\n".encode())
            said = b"".join(iter(lambda: connection.recv(100), b""))
        assert said == b"+OK\r\n" * 3, said

    def end(self):
        self.child.terminate()
        self.child.wait(10)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    yield server
    server.child.kill()
    server.child.wait()


def headers(key=MASTER):
    return {"Authorization": f"Bearer {key}"}


def make_key(url, **settings):
    return httpx.post(f"{url}/v1/keys", headers=headers(), json=settings, timeout=30).raise_for_status().json()


# How often it took.
SAID = collections.Counter()


def introduce(url, key):
    """The first look at a key is at the store, and takes longer than it may where the machine is busy."""
    for _ in range(100):
        answer = httpx.post(f"{url}/v1/chat/completions", headers=headers(key), json=question(), timeout=30)
        if answer.status_code == 200:
            SAID[url, key] += 1
            return
        assert answer.status_code == 503, answer.text
        time.sleep(0.05)
    raise AssertionError(answer.text)


def question(text="echo:hello", **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


async def ask(client, url, key, body=None):
    started = time.monotonic()
    answer = await client.post(f"{url}/v1/chat/completions", headers=headers(key), json=body or question())
    return answer, time.monotonic() - started


class Callers:
    """Some who ask without a pause, on all workers, and what became of it."""

    def __init__(self, urls, key, number=4, pause=0.02):
        self.urls, self.key, self.number, self.pause = urls, key, number, pause
        self.statuses, self.slowest, self.is_over, self.wrong = collections.Counter(), 0, False, []

    async def caller(self, client, n):
        url = self.urls[n % len(self.urls)]
        while not self.is_over:
            answer, took = await ask(client, url, self.key)
            self.statuses[answer.status_code] += 1
            self.slowest = max(self.slowest, took)
            if answer.status_code != 200:
                self.wrong.append(answer.text[:200])
            await asyncio.sleep(self.pause)

    async def __aenter__(self):
        self.client = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=200))
        self.tasks = [asyncio.create_task(self.caller(self.client, n)) for n in range(self.number)]
        return self

    async def __aexit__(self, *_):
        self.is_over = True
        await asyncio.gather(*self.tasks)
        await self.client.aclose()


def metric(url, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0


def waited(url, operations=("get", "claim", "hold")):
    """How often requests have waited for the store, and how often for longer than they may."""
    text = httpx.get(f"{url}/metrics").text
    asked = in_time = 0
    for operation in operations:
        found = re.findall(rf'^hive_store_seconds_(count|bucket){{operation="{operation}"(?:,le="{PATIENCE}")?}} (\S+)$', text, re.MULTILINE)
        figures = {name: float(number) for name, number in found}
        asked, in_time = asked + figures.get("count", 0), in_time + figures.get("bucket", 0)
    return asked, asked - in_time


def used(url, **more):
    query = "&".join(f"{name}={value}" for name, value in more.items())
    data = httpx.get(f"{url}/v1/usage?group_by=key&{query}", headers=headers(), timeout=30).raise_for_status().json()["data"]
    return {row["key"]: row["requests"] for row in data}


class Proxy:
    """Between workers and a server: lets bytes through at once, late, or not at all, or cuts connections amid them."""

    def __init__(self, port):
        self.port, self.to, self.delay, self.is_silent, self.cuts = free_port(), port, 0, False, False

    async def pipe(self, reader, writer):
        try:
            while piece := await reader.read(65536):
                while self.is_silent:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(self.delay)
                if self.cuts:
                    piece = piece[: len(piece) // 2]
                writer.write(piece)
                await writer.drain()
                if self.cuts:
                    break
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(self, reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pipe(reader, back), self.pipe(there, writer))

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.server.close()
