"""compose/compose.yaml for real: images, stickiness, scaling, renewal of credentials. Run by `scripts/test docker`."""

import collections
import os
import subprocess

import httpx
import pytest
from conftest import Gateway
from edge import ROOT, wait_until


class Containers(Gateway):
    def up(self):
        # The plain variables of docker's client, and what a mirror of images or packages may need.
        names = ("DOCKER_HOST", "DOCKER_CONFIG", "BUILD_NETWORK")
        self.environment |= {name: os.environ[name] for name in names if name in os.environ}
        self.said = self.script("up", "--docker", "--detach", "--simulators", "--workers", "3")
        self.key = next(line.split()[1] for line in self.said.stdout.splitlines() if line.startswith("key"))

    def compose(self, *arguments):
        command = ["docker", "compose", "-f", ROOT / "compose/compose.yaml", "--profile", "simulators", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def containers(tmp_path_factory):
    gateway = Containers(tmp_path_factory.mktemp("containers"))
    try:
        gateway.up()
    except subprocess.CalledProcessError as error:
        pytest.exit(f"scripts/up --docker failed:\n{error.stdout}{error.stderr}", 3)
    yield gateway
    gateway.script("down")
    assert gateway.compose("ps", "--all", "--quiet") == ""


def who(gateway, count=100):
    with httpx.Client(base_url=gateway.url, headers={"Connection": "close"}) as client:
        return {n: client.get("/v1/models", headers={"Cookie": f"user={n}"}).headers["x-hive-worker"] for n in range(count)}


def test_a_chat_goes_all_the_way(containers):
    with containers.client() as client:
        for model in ("qwen-plus", "spark-lite", "deepseek-chat", "kimi", "gpt-4o-mini", "sim-chat"):
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "echo:hello"}])
            assert answer.choices[0].message.content == "hello"


def test_keys_stick_and_few_move(containers):
    three = who(containers)
    assert len(set(three.values())) == 3 and min(collections.Counter(three.values()).values()) > 10
    assert who(containers) == three
    containers.script("scale", "4")
    wait_until(lambda: len(set(who(containers).values())) == 4, 30, 1)
    four = who(containers)
    assert 0 < sum(three[key] != four[key] for key in three) <= 40
    containers.script("scale", "3")
    assert wait_until(lambda: who(containers) == three, 30, 1)


def test_containers_are_healthy_and_without_root(containers):
    def all_healthy():
        return set(containers.compose("ps", "--format", "{{.Health}}").split()) == {"healthy"}

    wait_until(all_healthy, 30, 1)
    for service in ("nginx", "worker"):
        assert containers.compose("exec", "-T", service, "id", "-u").strip() != "0"


def test_the_worker_has_no_door_of_its_own(containers):
    assert "8080->" not in containers.compose("ps", "--format", "{{.Ports}}")
    assert httpx.get(f"{containers.url}/metrics").status_code == 404
