"""compose/compose.yaml for real: images, stickiness, scaling, renewal of credentials. Run by `scripts/test docker`."""

import collections
import json
import os
import re
import subprocess

import httpx
import pytest
from conftest import Gateway
from edge import ROOT, free_port, wait_until
from providers import PLAIN


class Containers(Gateway):
    def up(self, workers=3):
        # The plain variables of docker's client, and what a mirror of images or packages may need.
        names = ("DOCKER_HOST", "DOCKER_CONFIG", "BUILD_NETWORK", "HIVE_WORKER_IMAGE", "HIVE_NGINX_IMAGE", "HIVE_SIMULATOR_IMAGE")
        self.environment |= {name: os.environ[name] for name in names if name in os.environ}
        # Beside a gateway of your own, and not in its place.
        self.project = self.environment["COMPOSE_PROJECT_NAME"] = f"hive2api-test-{self.port}"
        self.said = self.script("up", "--docker", "--detach", "--simulators", "--workers", str(workers), *self.images())
        self.key = next(line.split()[1] for line in self.said.stdout.splitlines() if line.startswith("key"))

    @staticmethod
    def images():
        """`PREBUILT=1`: the images are there, as when the tests before this one have built them."""
        return ["--no-build"] if os.environ.get("PREBUILT") else []

    def compose(self, *arguments):
        command = ["docker", "compose", "-f", ROOT / "compose/compose.yaml", "--profile", "simulators", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def inspect(self, service):
        """What docker says of the first container of a service."""
        container = self.compose("ps", "--quiet", service).split()[0]
        return json.loads(docker("inspect", container))[0]


def docker(*arguments, check=True):
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check).stdout


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
        for _, model in PLAIN:
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


def test_containers_are_healthy_and_without_rights(containers):
    def all_healthy():
        return set(containers.compose("ps", "--format", "{{.Health}}").split()) == {"healthy"}

    wait_until(all_healthy, 30, 1)
    for service in ("nginx", "worker"):
        seen = containers.inspect(service)
        assert seen["HostConfig"]["ReadonlyRootfs"] and seen["HostConfig"]["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in seen["HostConfig"]["SecurityOpt"]
        processes = docker("top", seen["Id"], "-eo", "pid,uid").splitlines()[1:]
        assert processes and not [line for line in processes if line.split()[1] == "0"]
        assert seen["Config"]["Image"] == containers.environment.get(f"HIVE_{service.upper()}_IMAGE", f"hive2api-{service}")


def test_an_upload_above_a_mebibyte_fits_a_read_only_nginx(containers):
    """nginx keeps it in a file meanwhile."""
    body = {"model": "sim-chat", "messages": [{"role": "user", "content": "echo:" + "a" * (3 << 20)}]}
    answer = httpx.post(f"{containers.url}/v1/chat/completions", json=body, headers=containers.headers(), timeout=60)
    assert answer.status_code == 200 and len(answer.content) > 3 << 20


def test_the_workers_image_holds_nothing_but_the_worker(containers, capsys):
    image = json.loads(docker("image", "inspect", containers.inspect("worker")["Image"]))[0]
    container = docker("create", image["Id"]).strip()
    names = subprocess.run(f"docker export {container} | tar -t", shell=True, capture_output=True, text=True, check=True).stdout
    docker("rm", container)
    files = {name for name in names.splitlines() if not name.endswith("/") and not re.match(r"dev/|\.dockerenv|etc/(hosts|hostname|mtab|resolv.conf)", name)}
    libraries = {name for name in files if re.fullmatch(r"lib(64)?/([a-z0-9_-]+/)?(ld-linux|libc|libgcc_s|libm)[^/]*\.so[.0-9]*", name)}
    assert files - libraries == {"usr/local/bin/hive2api-worker", "etc/passwd", "etc/group", "etc/nsswitch.conf"}
    assert image["Config"]["User"] == "10001:10001" and image["Size"] < 45e6
    with capsys.disabled():
        print(f"\nworker image: {image['Size'] / 1e6:.1f} MB")


def test_labels_say_the_version(containers):
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    for service in ("nginx", "worker"):
        labels = containers.inspect(service)["Config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == version
        assert labels["org.opencontainers.image.title"] == f"hive2api-{service}"


def test_a_worker_finds_a_provider_by_name(containers):
    """The image has no system around it, so glibc alone asks docker's name server."""
    port, name, question = free_port(), f"{containers.project}-names", {"model": "sim-chat", "messages": [{"role": "user", "content": "echo:found"}]}
    lane = re.findall("^(OPENAI_COMPAT_1_.*)=(.*)$", containers.compose("exec", "-T", "simulators", "cat", "/simulated/simulators.env"), re.MULTILINE)
    settings = ["--env=ALLOW_ANONYMOUS=true", *(f"--env={name}=" + re.sub("//[0-9.]+:", "//simulators:", value.strip("'")) for name, value in lane)]
    assert "//simulators:" in "".join(settings)
    image = containers.inspect("worker")["Config"]["Image"]
    docker("run", "--detach", "--rm", "--read-only", f"--name={name}", f"--network={containers.project}_default", f"--publish=127.0.0.1:{port}:8080", *settings, image)
    try:

        def answer():
            """a chat through a worker that knows its provider by name"""
            try:
                return httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=question).json()
            except httpx.TransportError:
                return None

        assert wait_until(answer, 20)["choices"][0]["message"]["content"] == "found"
    finally:
        docker("stop", name)


def test_containers_may_take_as_long_as_a_drain(containers):
    example = (ROOT / ".env.example").read_text()
    grace, drain = (int(re.search(rf"^#{name}=(\d+)", example, re.MULTILINE)[1]) for name in ("DRAIN_GRACE", "DRAIN_TIMEOUT"))
    for service in ("nginx", "worker"):
        assert containers.inspect(service)["Config"]["StopTimeout"] > grace + drain


def test_the_worker_has_no_door_of_its_own(containers):
    assert "8080->" not in containers.compose("ps", "--format", "{{.Ports}}")
    assert httpx.get(f"{containers.url}/metrics").status_code == 404
