"""The single container of compose/huggingface: built from the folder that scripts/hf-space writes, run as a Space runs it (uid 1000,
read-only but for /tmp, settings from the environment alone). Run by `scripts/test docker`."""

import collections
import http.client
import json
import os
import re
import subprocess
import threading
import time

import httpx
import openai
import pytest
from edge import ROOT, free_port, wait_until
from providers import PLAIN

IMAGE = os.environ.get("HIVE_SPACE_IMAGE", "hive2api-space:test")
SIMULATOR_IMAGE = os.environ.get("HIVE_SIMULATOR_IMAGE", "hive2api-simulator:test")
KEY = "sk-of-the-space"
WORKERS = 3
FRESH = {"Connection": "close"}


def run(*command, check=True, env=None):
    return subprocess.run(command, capture_output=True, text=True, check=check, env={**os.environ, **(env or {})}, timeout=1800)


def docker(*arguments, env=None):
    return run("docker", *arguments, env=env).stdout.strip()


def build(tag, *arguments):
    done = run("docker", "build", f"--network={os.environ.get('BUILD_NETWORK', 'default')}", "--tag", tag, *arguments, check=False, env={"DOCKER_BUILDKIT": "1"})
    assert done.returncode == 0, done.stderr[-3000:]


def hf_space(*arguments, check=True):
    return run(ROOT / "scripts/hf-space", *arguments, check=check)


class Space:
    """A container of the image. Its settings are environment variables and stand on no command line."""

    def __init__(self, settings, *options, user="1000:1000", port=7860):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        names = [f"--env={name}" for name in settings]
        hardening = ["--read-only", "--tmpfs=/tmp", f"--user={user}", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        self.id = docker("run", "--detach", *hardening, f"--publish=127.0.0.1:{self.port}:{port}", *names, *options, IMAGE, env=settings)

    def log(self):
        done = run("docker", "logs", self.id)
        return done.stdout + done.stderr

    def state(self):
        return json.loads(docker("inspect", self.id))[0]["State"]

    def ended(self):
        """The exit code; fails when it does not end."""
        return wait_until(lambda: None if self.state()["Running"] else [self.state()["ExitCode"]], 60)[0]

    def gets(self, path):
        try:
            return httpx.get(self.url + path, headers=FRESH, timeout=5).status_code
        except httpx.TransportError:
            return None

    def pids(self, of):
        """The container's own pids of what is called so, the oldest first, each with its environment."""
        shown = r"tr '\0\n' '  '"
        script = f'for p in /proc/[0-9]*; do printf "%s|%s|%s\\n" "${{p#/proc/}}" "$({shown} < $p/cmdline)" "$({shown} < $p/environ)"; done 2> /dev/null'
        lines = [line.split("|", 2) for line in docker("exec", self.id, "sh", "-c", script).splitlines()]
        return {int(pid): environment for pid, command, environment in sorted(lines, key=lambda line: int(line[0])) if re.search(of, command)}

    def kill(self, pid):
        docker("exec", self.id, "sh", "-c", f"kill -9 {pid}")

    def client(self):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=60)

    def who(self, count=100):
        with httpx.Client(base_url=self.url, headers=FRESH) as client:
            return {f"user={n}": client.get("/v1/models", headers={"Cookie": f"user={n}"}).headers["x-hive-worker"] for n in range(count)}

    def remove(self):
        docker("rm", "--force", self.id)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("huggingface") / "space"
    # What lies around in a checkout and must not be pushed.
    secret = ROOT / "worker/.env.of-a-test"
    secret.write_text("DEEPSEEK_TOKEN=not-for-the-public\n")
    try:
        hf_space(folder)
    finally:
        secret.unlink()
    return folder


@pytest.fixture(scope="module")
def image(folder):
    # As the Space does it: that folder and official base images.
    build(IMAGE, folder)


@pytest.fixture(scope="module")
def upstream(image):
    """The simulators in a network of their own; their settings, and the network's name."""
    build(SIMULATOR_IMAGE, "--file", ROOT / "worker/Dockerfile", "--target", "simulator", ROOT)
    network = f"hive2api-test-{free_port()}"
    docker("network", "create", network)
    script = 'exec hive2api-loadtest simulate --host "$(hostname -i)" --env-file /simulated/simulators.env'
    simulators = docker("run", "--detach", "--init", f"--network={network}", "--entrypoint=/bin/sh", SIMULATOR_IMAGE, "-c", script)
    try:
        text = wait_until(lambda: run("docker", "exec", simulators, "cat", "/simulated/simulators.env", check=False).stdout, 20)
        settings = dict(line.split("=", 1) for line in text.splitlines())
        yield {name: value.strip("'") for name, value in settings.items()}, network
    finally:
        docker("rm", "--force", simulators)
        docker("network", "rm", network)


@pytest.fixture(scope="module")
def running(upstream):
    settings, network = upstream
    space = Space({**settings, "API_MASTER_KEY": KEY, "WORKERS": str(WORKERS)}, f"--network={network}")
    try:
        wait_until(lambda: space.gets("/ready") == 200 or not space.state()["Running"], 30)
        assert space.state()["Running"], space.log()
        yield space
    finally:
        space.remove()


def is_whole(space):
    """every worker answers"""
    try:
        return len(set(space.who(30).values())) == WORKERS
    except (httpx.TransportError, KeyError):
        return False


@pytest.fixture
def space(running):
    """The running container, recovered from the test before."""
    wait_until(lambda: is_whole(running), 40, 0.5)
    return running


def ask(content):
    return [{"role": "user", "content": content}]


class Stream(threading.Thread):
    """A chat that takes seconds."""

    def __init__(self, space, count=40, cookie="user=0"):
        super().__init__(daemon=True)
        self.space, self.count, self.cookie = space, count, cookie
        self.worker, self.words, self.error = None, [], None
        self.start()
        wait_until(lambda: self.words or self.error, 10)

    def run(self):
        try:
            with self.space.client() as client:
                messages = ask(f"pace:100 count:{self.count}")
                stream = client.chat.completions.create(model="qwen-plus", messages=messages, stream=True, extra_headers={"Cookie": self.cookie, **FRESH})
                self.worker = stream.response.headers["x-hive-worker"]
                for chunk in stream:
                    self.words += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        except (openai.APIError, httpx.TransportError) as error:
            self.error = error

    def is_whole(self):
        self.join(60)
        return not self.error and "".join(self.words).split() == [str(n) for n in range(1, self.count + 1)]


def test_the_folder_is_a_space_without_secrets(folder):
    front = (folder / "README.md").read_text().split("---\n")[1]
    assert {"sdk: docker", "app_port: 7860", "title: hive2api"} <= set(front.splitlines())
    assert len(re.search("^short_description: (.*)$", front, re.MULTILINE)[1]) <= 60
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if path.name.startswith(".env") or b"not-for-the-public" in path.read_bytes()]
    # A Space takes text; other files would need LFS.
    assert max(path.stat().st_size for path in files) < 1 << 20


def test_a_folder_with_something_in_it_is_left_alone(folder, tmp_path):
    clone = tmp_path / "clone"
    (clone / ".git").mkdir(parents=True)
    (clone / ".git/config").write_text("mine")
    (clone / "worker").mkdir()
    (clone / "worker/of-an-earlier-version.rs").touch()
    refused = hf_space(clone, check=False)
    assert refused.returncode != 0 and "--force" in refused.stderr and not (clone / "Dockerfile").exists()
    hf_space("--force", clone)
    assert (clone / ".git/config").read_text() == "mine" and not (clone / "worker/of-an-earlier-version.rs").exists()
    written = {path.relative_to(clone) for path in clone.rglob("*") if ".git" not in path.parts}
    assert written == {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.mark.parametrize("model", [model for _, model in PLAIN])
def test_the_sdk_chats_streaming_and_whole(space, model):
    with space.client() as client:
        assert client.chat.completions.create(model=model, messages=ask("echo:hello")).choices[0].message.content == "hello"
        chunks = client.chat.completions.create(model=model, messages=ask("echo:hello"), stream=True)
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "hello"


def test_users_keep_their_worker(space):
    first = space.who()
    assert set(first.values()) == {f"worker-{n}" for n in range(1, WORKERS + 1)}
    assert min(collections.Counter(first.values()).values()) > 10
    assert space.who() == first


def test_a_killed_worker_breaks_only_its_own_streams(space):
    before = space.who()
    # Two users of each worker.
    users = [[user for user in before if before[user] == worker][:2] for worker in sorted(set(before.values()))]
    streams = [Stream(space, cookie=user) for pair in users for user in pair]
    victim = next(pid for pid, line in space.pids(of="^hive2api-worker").items() if "WORKER_NAME=worker-2 " in line)
    space.kill(victim)
    killed = time.monotonic()
    with space.client() as client:
        for user in users[1]:
            answer = client.chat.completions.with_raw_response.create(model="qwen-plus", messages=ask("echo:ok"), extra_headers={"Cookie": user, **FRESH})
            assert answer.parse().choices[0].message.content == "ok"
    wait_until(lambda: any("WORKER_NAME=worker-2 " in line for line in space.pids(of="^hive2api-worker").values()), 5)
    assert time.monotonic() - killed < 5
    assert [stream.is_whole() for stream in streams] == [stream.worker != "worker-2" for stream in streams]
    wait_until(lambda: space.who() == before, 20, 0.5)


@pytest.mark.parametrize("what", ["/opt/hive2api/watcher", "nginx: master"])
def test_a_killed_front_comes_back(space, what):
    stream, before = Stream(space), space.log().count("nginx has ended")
    space.kill(next(iter(space.pids(of=what))))
    wait_until(lambda: space.log().count("nginx has ended") > before, 10)
    wait_until(lambda: space.gets("/ready") == 200, 15)
    assert stream.is_whole(), stream.error
    # One of each again, for good, and no dead process left.
    wait_until(lambda: len(space.pids(of="nginx: master")) == len(space.pids(of="/opt/hive2api/watcher --prefix")) == 1, 10)
    assert space.log().count("nginx has ended") == before + 1
    assert "<defunct>" not in docker("top", space.id, "-eo", "pid,args")


def test_nginx_knows_no_secret(space):
    # nginx itself writes over what the kernel shows of it, and it has what its watcher has.
    environments = "".join(space.pids(of="/opt/hive2api/watcher").values())
    assert "NGINX_LISTEN=7860" in environments
    assert KEY not in environments and "COOKIE" not in environments and "TOKEN" not in environments


def test_without_a_key_it_refuses_and_says_where_to_set_it(image):
    space = Space({"DEEPSEEK_TOKEN": "something"})
    try:
        assert space.ended() == 78
        assert space.log().count("API_MASTER_KEY is empty") == 1 and "Variables and secrets" in space.log()
    finally:
        space.remove()


def test_a_wrong_setting_ends_it_with_a_word(image):
    for name, value in ("WORKERS", "many"), ("PORT", "http"), ("REQUEST_TIMEOUT", "soon"), ("STICKY_SPREAD", "perhaps"):
        space = Space({"API_MASTER_KEY": KEY, name: value})
        try:
            assert space.ended() == 78 and name in space.log()
        finally:
            space.remove()


def test_it_lists_missing_credentials_and_takes_any_port_and_user(image, running):
    space = Space({"API_KEYS": f"alice:{KEY}", "PORT": "10000", "WORKERS": "1"}, user="4321:0", port=10000)
    try:
        wait_until(lambda: space.gets("/health") == 200, 20)
        listed = set(re.findall(r"^  - ([a-z_]+): [A-Z]", space.log(), re.MULTILINE))
        assert "WARNING: no provider has a credential" in space.log()
        # Every provider of the worker must be in it. Lanes have names that their owner gave them.
        known = set(httpx.get(f"{running.url}/health").json()["providers"]) - {"sim", "rsim", "asim"}
        assert listed | {"openai"} == known | {"openai"}
    finally:
        space.remove()


def test_sizes(space, capsys):
    script = "for p in /proc/[0-9]*; do echo \"$(cat $p/comm) $(awk '/^Pss:/ { print $2 }' $p/smaps_rollup)\"; done 2> /dev/null; true"
    pss = collections.Counter()
    for line in docker("exec", space.id, "sh", "-c", script).splitlines():
        name, _, kib = line.partition(" ")
        pss[name] += int(kib or 0)
    size = json.loads(docker("image", "inspect", IMAGE))[0]["Size"]
    assert pss["hive2api-worker"] > 0
    with capsys.disabled():
        print(f"\nspace image: {size / 1e6:.1f} MB; PSS of {WORKERS} workers {pss['hive2api-worker'] / 1024:.1f} MiB, nginx {pss['nginx'] / 1024:.1f} MiB, all {sum(pss.values()) / 1024:.1f} MiB")


def test_sigterm_lets_open_streams_finish(space):
    """Last, because it ends the container."""
    stream = Stream(space, count=50)
    # A question that is still being sent: nginx has it, and no worker has seen it yet.
    question = json.dumps({"model": "sim-chat", "messages": ask("echo:late")}).encode()
    upload = http.client.HTTPConnection("127.0.0.1", space.port, timeout=20)
    upload.putrequest("POST", "/v1/chat/completions")
    for name, value in {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Content-Length": str(len(question))}.items():
        upload.putheader(name, value)
    upload.endheaders(question[:20])
    docker("kill", "--signal=TERM", space.id)
    wait_until(lambda: space.gets("/health") is None, 2)
    said = len(stream.words)
    upload.send(question[20:])
    assert json.loads(upload.getresponse().read())["choices"][0]["message"]["content"] == "late"
    assert stream.is_whole(), stream.error
    assert len(stream.words) > said, "the stream was over before nginx had stopped listening"
    assert space.ended() == 0 and "drained" in space.log()
