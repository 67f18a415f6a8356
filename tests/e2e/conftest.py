"""The gateway as a user runs it: `scripts/up` with three workers, real nginx and the simulators, once for all tests."""

import os
import re
import subprocess
import time
from pathlib import Path

import httpx
import openai
import pytest
from edge import ROOT, free_port
from providers import PROVIDERS

WORKERS = 3


class Simulator:
    """One provider's simulator: what it is told to do wrong, and what it has seen."""

    def __init__(self, name, url):
        self.name, self.url = name, url

    def reset(self):
        if self.name == "langfast":
            # Its accounts are guests that the workers have signed up: a service that forgets them would be another test.
            for orders in ("fault", "script"):
                httpx.delete(f"{self.url}/__sim/{orders}").raise_for_status()
        else:
            httpx.post(f"{self.url}/__sim/reset").raise_for_status()

    def fault(self, name, **more):
        answer = httpx.post(f"{self.url}/__sim/fault", json={"name": name, **more})
        assert answer.status_code == 200, answer.text

    def state(self):
        return httpx.get(f"{self.url}/__sim/state").json()

    def log(self):
        return httpx.get(f"{self.url}/__sim/log").json()


class Gateway:
    def __init__(self, directory):
        self.run_dir, self.env_file = directory / "run", directory / ".env"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Nothing of the developer's own settings or credentials.
        keep = ("PATH", "HOME", "LANG", "USER", "TERM", "CARGO_HOME", "RUSTUP_HOME", "BIN")
        self.environment = {name: os.environ[name] for name in keep if name in os.environ}
        self.environment |= {"RUN_DIR": str(self.run_dir), "ENV_FILE": str(self.env_file), "LISTEN_PORT": str(self.port)}

    def script(self, name, *arguments, check=True):
        return subprocess.run([ROOT / "scripts" / name, *arguments], env=self.environment, check=check, capture_output=True, text=True, timeout=900)

    def up(self, workers=WORKERS):
        self.said = self.script("up", "--no-build", "--detach", "--simulators", "--workers", str(workers))
        self.key = re.search(r"^key +(\S+)", self.said.stdout, re.MULTILINE)[1]
        settings = dict(line.split("=", 1) for line in (self.run_dir / "simulators.env").read_text().splitlines())
        self.secrets = {name: value.strip("'") for name, value in settings.items() if value.strip("'") and not name.endswith(("_URL", "_NAME", "_MODELS", "_KIND"))}
        given = [(provider.name, settings[provider.variable]) for provider in PROVIDERS if provider.variable in settings]
        self.simulators = {name: Simulator(name, "/".join(url.split("/")[:3])) for name, url in given}

    def workers(self):
        """Name and URL of each worker that nginx may call."""
        return {file.name: "http://" + file.read_text().strip() for file in sorted((self.run_dir / "workers").iterdir())}

    def pid(self, name):
        return int((self.run_dir / "pid" / name).read_text().split()[0])

    def client(self, **more):
        """The official SDK, without its retries: a test wants to see the first answer."""
        return openai.OpenAI(**{"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, "timeout": 60, **more})

    def async_client(self, **more):
        limits = httpx.Limits(max_connections=200)
        return openai.AsyncOpenAI(
            **{"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, "http_client": httpx.AsyncClient(limits=limits, timeout=60), **more}
        )

    def headers(self, **more):
        return {"Authorization": f"Bearer {self.key}", **more}

    def logs(self):
        return {file.name: file.read_text(errors="replace") for file in sorted((self.run_dir / "log").iterdir())}


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    try:
        gateway.up()
    except subprocess.CalledProcessError as error:
        pytest.exit(f"scripts/up failed:\n{error.stdout}{error.stderr}", 3)
    pids = [gateway.pid(file.name) for file in (gateway.run_dir / "pid").iterdir()]
    yield gateway
    gateway.script("down")
    assert not gateway.run_dir.exists()
    # A zombie has ended; only its parent has not looked yet.
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()]
    assert not left


@pytest.fixture
def gateway(running):
    """The running gateway, with simulators that have forgotten the tests before."""
    for simulator in running.simulators.values():
        # What the test before has left behind is deleted within seconds; a deletion after the reset would look like a mistake.
        for _ in range(100):
            state = simulator.state()
            if state["open_streams"] == state["conversations"] == 0:
                break
            time.sleep(0.05)
        simulator.reset()
    return running


@pytest.fixture
def client(gateway):
    with gateway.client() as client:
        yield client


def pytest_collection_modifyitems(items):
    # The search through the logs wants to have something to search through.
    items.sort(key=lambda item: item.path.name == "test_secrets.py")


