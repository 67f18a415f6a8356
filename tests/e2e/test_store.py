"""The store at its worst, under load: workers of our own that share a file or a server, which is stopped, slowed, filled, deleted and
damaged meanwhile. Nobody waits for it, nobody is failed for its sake, and when it is back it knows everything."""

import asyncio
import collections
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
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
    """Between workers and a server: lets bytes through at once, late, or not at all."""

    def __init__(self, port):
        self.port, self.to, self.delay, self.is_silent = free_port(), port, 0, False

    async def pipe(self, reader, writer):
        try:
            while piece := await reader.read(65536):
                while self.is_silent:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(self.delay)
                writer.write(piece)
                await writer.drain()
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


def test_a_server_that_is_slow_silent_gone_and_back_fails_nobody(pack, server):
    async def run():
        async with Proxy(server.port) as proxy:
            urls = await asyncio.to_thread(pack.start, 2, STORE_URL=server.url(proxy.port))
            key = await asyncio.to_thread(make_key, urls[0], name="ann", limits={"requests_per_minute": 1_000_000, "tokens_per_day": 1_000_000_000})
            closed = await asyncio.to_thread(make_key, urls[0], name="strict", fail_closed=True, limits={"requests_per_minute": 1_000_000})
            for url in urls:
                await asyncio.to_thread(introduce, url, key["key"])
                await asyncio.to_thread(introduce, url, closed["key"])
            async with Callers(urls, key["key"]) as callers:
                await asyncio.sleep(1)
                proxy.delay = 0.3
                await asyncio.sleep(3)
                proxy.delay, proxy.is_silent = 0, True
                await asyncio.sleep(3)
                async with httpx.AsyncClient(timeout=30) as client:
                    for url in urls:
                        answer, _ = await ask(client, url, closed["key"])
                        assert answer.status_code == 503, answer.text
                proxy.is_silent = False
                await asyncio.to_thread(server.end)
                await asyncio.sleep(3)
                assert [await asyncio.to_thread(metric, url, "hive_store_up") for url in urls] == [0, 0]
                again = await asyncio.to_thread(Server, pack.folder / "server", server.port)
                server.child = again.child
                for _ in range(100):
                    if [await asyncio.to_thread(metric, url, "hive_store_up") for url in urls] == [1, 1]:
                        break
                    await asyncio.sleep(0.1)
                else:
                    raise AssertionError("the server was not found again")
                await asyncio.sleep(1)
            assert set(callers.statuses) == {200}, callers.wrong[:3]
            for url in urls:
                asked, too_long = await asyncio.to_thread(waited, url)
                # A machine that builds something else meanwhile wakes some late, whoever they waited for.
                assert asked > 50 and too_long <= asked / 20, (asked, too_long)
            # Everything that was used meanwhile is there.
            total = callers.statuses[200] + sum(SAID[url, key["key"]] for url in urls)
            for _ in range(100):
                if (await asyncio.to_thread(used, urls[0])).get(key["id"]) == total:
                    break
                await asyncio.sleep(0.2)
            assert (await asyncio.to_thread(used, urls[0]))[key["id"]] == total
            async with httpx.AsyncClient(timeout=30) as client:
                assert (await ask(client, urls[0], closed["key"]))[0].status_code == 200
            print(dict(callers.statuses), f"slowest {callers.slowest:.2f} s")

    asyncio.run(run())
    # One line says that it has gone, one that it is back, each time; not one a request.
    lines = [line for line in pack.logs().splitlines() if "the store" in line]
    assert 4 <= len(lines) <= 40, lines
    assert PASSWORD not in pack.logs()


@pytest.mark.parametrize("kind", ["file", "server"])
def test_four_workers_grant_no_more_than_the_limit(pack, server, kind):
    urls = pack.start(4, STORE_URL=server.url() if kind == "server" else f"sqlite:{pack.folder}/hive.db")
    keys = [make_key(urls[0], name="rpm", limits={"requests_per_minute": 40}), make_key(urls[0], name="day", limits={"tokens_per_day": 400})]

    async def run():
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=100)) as client:
            # Not over the end of a minute, or a day.
            while time.time() % 60 > 35:
                await asyncio.sleep(1)
            asked = [ask(client, urls[n % 4], keys[0]["key"]) for n in range(120)]
            answers = [answer for answer, _ in await asyncio.gather(*asked)]
            statuses = collections.Counter(answer.status_code for answer in answers)
            assert statuses == {200: 40, 429: 80}, statuses
            refused = next(answer for answer in answers if answer.status_code == 429)
            assert refused.json()["error"]["code"] == "rate_limit_exceeded" and 0 < int(refused.headers["retry-after"]) <= 60
            assert refused.headers["x-ratelimit-limit-requests"] == "40" and refused.headers["x-ratelimit-remaining-requests"] == "0"
            # Answers may overdraw it by what is under way.
            answered = 0
            for _ in range(30):
                answers = [answer for answer, _ in await asyncio.gather(*(ask(client, url, keys[1]["key"], question("count:10")) for url in urls))]
                answered += sum(answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200)
                if all(answer.status_code == 429 for answer in answers):
                    break
            answer = answers[0]
            assert answer.status_code == 429 and answer.json()["error"]["code"] == "insufficient_quota", answer.text
            assert 300 < answered < 500, answered
            assert answer.headers["x-should-retry"] == "false" and answer.headers["x-ratelimit-remaining-tokens"] == "0"

    asyncio.run(run())
    reasons = [sum(metric(url, f'hive_refused_total{{reason="{reason}"}}') for url in urls) for reason in ("key_rate", "key_quota")]
    assert reasons[0] == 80 and reasons[1] >= 1


def sha3(secret):
    return hashlib.sha3_256(secret.encode()).hexdigest()


def test_ten_thousand_keys(pack):
    file = pack.folder / "hive.db"
    [url] = pack.start(STORE_URL=f"sqlite:{file}")
    with sqlite3.connect(file) as database:
        rows = []
        for n in range(10_000):
            record = {"id": f"key_{n:05}", "name": f"n{n}", "created_at": 1, "limits": {"requests_per_minute": 1000}}
            rows.append(("keys", sha3(f"sk-hive-{n:05}"), json.dumps(record).encode(), n + 1, 2**63 - 1))
        database.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", rows)
    database.close()
    seen, after, pages = set(), None, 0
    while True:
        started = time.monotonic()
        page = httpx.get(f"{url}/v1/keys", params={"limit": 500, **({"after": after} if after else {})}, headers=headers(), timeout=60).raise_for_status().json()
        assert time.monotonic() - started < 5
        seen |= {key["id"] for key in page["data"]}
        pages += 1
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert len(seen) == 10_000 and pages == 20
    before = waited(url, ("get",))[0]

    async def run():
        async with httpx.AsyncClient(timeout=60) as client:
            for n in (0, 5000, 9999):
                await asyncio.to_thread(introduce, url, f"sk-hive-{n:05}")
            # Known by now: a look every five seconds at most, however often it is asked with.
            for _ in range(100):
                assert (await ask(client, url, "sk-hive-00000"))[0].status_code == 200

    started = time.monotonic()
    asyncio.run(run())
    looks = waited(url, ("get",))[0] - before
    assert looks <= 9 + (time.monotonic() - started) / 5 + 1, looks
    answer = httpx.get(f"{url}/v1/keys/key_09999", headers=headers(), timeout=60)
    assert answer.json()["name"] == "n9999"


def test_a_killed_worker_loses_five_seconds_of_usage_at_most(pack):
    place = f"sqlite:{pack.folder}/hive.db"
    [url] = pack.start(STORE_URL=place)
    key = make_key(url, name="ann")
    sent = []
    while len(sent) < 60:
        httpx.post(f"{url}/v1/chat/completions", headers=headers(key["key"]), json=question(), timeout=30).raise_for_status()
        sent.append(time.monotonic())
        time.sleep(0.15)
    killed = time.monotonic()
    pack.end(signal.SIGKILL)
    safe = sum(killed - at > 5 for at in sent)
    [url] = pack.start(STORE_URL=place)
    counted = used(url)[key["id"]]
    assert 0 < safe <= counted <= len(sent), (safe, counted)
    # One that is asked to end loses nothing.
    for _ in range(5):
        httpx.post(f"{url}/v1/chat/completions", headers=headers(key["key"]), json=question(), timeout=30).raise_for_status()
    pack.end(signal.SIGTERM)
    [url] = pack.start(STORE_URL=place)
    assert used(url)[key["id"]] == counted + 5


def test_secrets_are_nowhere_in_the_file(pack):
    private = "unutterable-words-of-a-private-chat"
    [url] = pack.start(STORE_URL=f"sqlite:{pack.folder}/hive.db", STORE_SECRET="secret-of-the-store-0123", CACHE_TTL="600")
    key = make_key(url, name="ann", limits={"requests_per_minute": 100})
    for _ in range(2):
        httpx.post(f"{url}/v1/chat/completions", headers=headers(key["key"]), json=question(f"echo:{private}"), timeout=30).raise_for_status()
    time.sleep(4)
    pack.end(signal.SIGTERM)
    with sqlite3.connect(pack.folder / "hive.db") as database:
        assert database.execute("SELECT count(*) FROM entries WHERE space = 'answers'").fetchone() == (1,)
    database.close()
    credentials = re.findall(r"^[A-Z0-9_]*(?:TOKEN|COOKIE|PASSWORD|KEY)[A-Z0-9_]*='?([^'\n]{8,})'?$", pack.simulated.read_text(), re.MULTILINE)
    assert len(credentials) > 5
    for file in pack.folder.glob("hive.db*"):
        content = file.read_bytes()
        for secret in [MASTER, key["key"], "secret-of-the-store-0123", private, *credentials]:
            assert secret.encode() not in content, f"{secret[:6]}… in {file.name}"
        assert file.stat().st_mode & 0o077 == 0, file.name


def go_on(pack, url, key, harm, words, mend):
    """Under load: harm is done, the log has clear words, nobody is failed, and all is well once it is mended. How many were answered."""

    async def run():
        async with Callers([url], key, number=3) as callers:
            await asyncio.sleep(1)
            await asyncio.to_thread(harm)
            # Something must be written for it to be seen.
            for _ in range(100):
                if re.search(words, pack.logs()):
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            await asyncio.to_thread(mend)
            for _ in range(150):
                if await asyncio.to_thread(metric, url, "hive_store_up") == 1:
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(1)
        assert set(callers.statuses) == {200}, callers.wrong[:3]
        return callers

    callers = asyncio.run(run())
    assert re.search(words, pack.logs()), pack.logs()[-2000:]
    wait_until(lambda: metric(url, "hive_store_up") == 1, 10)
    assert waited(url)[1] == 0, waited(url)
    return callers.statuses[200]


def test_a_file_that_is_deleted(pack):
    """What was in it has gone with it, keys among them: who has one of the settings' goes on."""
    file = pack.folder / "hive.db"
    [url] = pack.start(STORE_URL=f"sqlite:{file}")
    done = go_on(pack, url, MASTER, lambda: [path.unlink() for path in pack.folder.glob("hive.db*")], "deleted or replaced", lambda: None)
    assert file.exists()
    # What was counted since the last batch of the old one is in the new one.
    wait_until(lambda: 0 < used(url).get("master", 0) <= done, 10)


def test_a_file_that_is_damaged(pack):
    file = pack.folder / "hive.db"
    [url] = pack.start(STORE_URL=f"sqlite:{file}")
    key = make_key(url, name="ann", limits={"requests_per_minute": 1_000_000})["key"]

    introduce(url, key)

    def damage():
        for path in pack.folder.glob("hive.db*"):
            path.unlink()
        file.write_bytes(b"this is no database\n" * 1000)
        # A key that is known here stays known.
        end = time.monotonic() + 7
        while time.monotonic() < end:
            httpx.post(f"{url}/v1/chat/completions", headers=headers(key), json=question(), timeout=30).raise_for_status()

    go_on(pack, url, MASTER, damage, "not a database", file.unlink)


def test_a_full_disk(pack):
    """A small file system where one can be mounted, else a limit on the size of files."""
    disk = pack.folder / "disk"
    disk.mkdir()
    mounted = os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("no file system can be mounted here")
    filler = disk / "filler"
    try:
        [url] = pack.start(STORE_URL=f"sqlite:{disk}/hive.db")
        key = make_key(url, name="ann", limits={"requests_per_minute": 1_000_000})

        def fill():
            file = os.open(filler, os.O_WRONLY | os.O_CREAT)
            try:
                while os.write(file, b"x" * 4096):
                    pass
            except OSError:
                pass
            os.close(file)

        introduce(url, key["key"])
        done = 1 + go_on(pack, url, key["key"], fill, "(?i)the store is gone.*full|full.*the store is gone", lambda: filler.unlink(missing_ok=True))
        # What was used meanwhile was kept, and written when there was room.
        wait_until(lambda: used(url).get(key["id"]) == done, 20)
    finally:
        pack.end()
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_cannot_be_written_to(pack):
    disk = pack.folder / "disk"
    disk.mkdir()
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        [url] = pack.start(STORE_URL=f"sqlite:{disk}/hive.db")
        key = make_key(url, name="ann", limits={"requests_per_minute": 1_000_000})
        pack.end(signal.SIGTERM)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        # It starts all the same, says why it is without its store, and callers of the settings are served.
        [url] = pack.start(STORE_URL=f"sqlite:{disk}/hive.db")
        answer = httpx.post(f"{url}/v1/chat/completions", headers=headers(), json=question(), timeout=30)
        assert answer.status_code == 200 and metric(url, "hive_store_up") == 0
        answer = httpx.post(f"{url}/v1/chat/completions", headers=headers(key["key"]), json=question(), timeout=30)
        assert answer.status_code == 503, "nobody can say whether the key is right"
        assert re.search("(?i)read-?only", pack.logs()), pack.logs()
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        wait_until(lambda: metric(url, "hive_store_up") == 1, 10)
        answer = httpx.post(f"{url}/v1/chat/completions", headers=headers(key["key"]), json=question(), timeout=30)
        assert answer.status_code == 200
    finally:
        pack.end()
        subprocess.run(["umount", disk], check=True)


def test_a_newer_file_is_refused_with_words(pack):
    file = pack.folder / "hive.db"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    environment = {"PATH": os.environ["PATH"], "API_MASTER_KEY": MASTER, "ACCOUNTS_FILE": str(pack.simulated), "STORE_URL": f"sqlite:{file}", "PORT": str(free_port())}
    said = subprocess.run([BIN / "hive2api-worker"], env=environment, capture_output=True, text=True, timeout=60)
    assert said.returncode not in (0, None) and "newer version" in said.stdout + said.stderr, said
