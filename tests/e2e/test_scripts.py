"""The scripts themselves: what they delete, what they end, and what the arguments of their processes show. Each on a setup of its own."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
import yaml
from conftest import Gateway
from edge import ROOT, wait_until

PLANTED = "planted-0123456789"


@pytest.fixture
def own(tmp_path):
    gateway = Gateway(tmp_path)
    yield gateway
    gateway.script("down", "--now", check=False)


def nginx_of(gateway):
    """The processes of this gateway's nginx as (user, arguments)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text() == "nginx\n":
                parent = (folder / "status").read_text().split("PPid:\t")[1].split()[0]
                words = (folder / "cmdline").read_bytes() + (Path("/proc") / parent / "cmdline").read_bytes()
                if str(gateway.run_dir).encode() in words:
                    found.append((folder.stat().st_uid, words))
        except OSError:
            pass
    return found


def test_a_folder_of_somebodys_is_left_alone(own):
    own.run_dir.mkdir()
    (own.run_dir / "diary").write_text("dear diary")
    for script in ("up", "down"):
        said = own.script(script, *(["--no-build", "--detach"] if script == "up" else []), check=False)
        assert said.returncode == 1 and str(own.run_dir) in said.stderr
    assert [file.name for file in own.run_dir.iterdir()] == ["diary"]


def test_down_deletes_what_up_has_made_and_ends_an_nginx_without_its_watcher(own):
    own.run_dir.mkdir()
    own.up(workers=1)
    # Who talks to strangers is not root.
    assert len(nginx_of(own)) > 1
    assert os.getuid() != 0 or any(user != 0 for user, _ in nginx_of(own))
    (own.run_dir / "mine").write_text("")
    os.kill(own.pid("nginx"), signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{own.pid('nginx')}/exe").exists(), 5)
    assert nginx_of(own)
    own.script("down")
    wait_until(lambda: not nginx_of(own), 5)
    assert [file.name for file in own.run_dir.iterdir()] == ["mine"]


def test_no_argument_shows_a_credential(own):
    own.environment |= {"API_MASTER_KEY": f"sk-{PLANTED}", "DEEPSEEK_EMAIL": "a@example.com", "DEEPSEEK_PASSWORD": PLANTED}
    seen, is_over = set(), threading.Event()

    def look():
        while not is_over.is_set():
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = file.read_bytes()
                except OSError:
                    continue
                if PLANTED.encode() in words:
                    seen.add(words.split(b"\0")[0].decode())
            time.sleep(0.001)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        own.script("up", "--no-build", "--detach", "--workers", "1")
        for name in ("API_MASTER_KEY", "DEEPSEEK_PASSWORD"):
            del own.environment[name]
        own.script("scale", "2")
        own.script("roll")
    finally:
        is_over.set()
        looking.join()
    assert not seen
    # They have it all the same.
    environment = Path(f"/proc/{own.pid('worker-3')}/environ").read_bytes()
    assert f"DEEPSEEK_PASSWORD={PLANTED}".encode() in environment


def test_a_valkey_of_its_own(own):
    """All workers know what one of them was told; the server wants a password, shows it to nobody and goes with the rest."""
    said = own.script("up", "--no-build", "--detach", "--simulators", "--workers", "2", "--store", "valkey")
    master = {"Authorization": "Bearer " + re.search(r"^key +(\S+)", said.stdout, re.MULTILINE)[1]}
    # Started later, from the environment of the others.
    own.script("scale", "3")
    environment = Path(f"/proc/{own.pid('worker-3')}/environ").read_bytes().split(b"\0")
    [address] = [value for value in environment if value.startswith(b"STORE_URL=redis://:")]
    password, port = re.fullmatch(r"STORE_URL=redis://:([0-9a-f]{48})@127\.0\.0\.1:(\d+)", address.decode()).groups()
    assert password not in Path(f"/proc/{own.pid('store')}/cmdline").read_text()
    assert (own.run_dir / "store.conf").stat().st_mode & 0o077 == 0
    with socket.create_connection(("127.0.0.1", int(port)), 5) as stranger:
        stranger.sendall(b"DBSIZE\r\n")
        assert stranger.recv(100).startswith(b"-NOAUTH")
    first, *others = own.workers().values()
    made = httpx.post(f"{first}/v1/keys", headers=master, json={"name": "ann"}).raise_for_status().json()
    assert len(others) == 2
    for url in others:
        listed = httpx.get(f"{url}/v1/keys", headers=master).raise_for_status().json()["data"]
        assert [key["id"] for key in listed] == [made["id"]]
        assert "hive_store_up 1" in httpx.get(f"{url}/metrics").text
    pid = own.pid("store")
    own.script("down")
    assert not Path(f"/proc/{pid}/exe").exists() and not own.run_dir.exists()


def test_composes_valkey_wants_a_password_and_is_waited_for():
    services = yaml.safe_load((ROOT / "compose/compose.yaml").read_text())["services"]
    valkey, worker = services["valkey"], services["worker"]
    assert valkey["profiles"] == ["valkey"] and "ports" not in valkey
    assert "PONG" in valkey["healthcheck"]["test"][-1]
    assert worker["depends_on"]["valkey"] == {"condition": "service_healthy", "required": False}
    assert "STORE_URL" in worker["environment"]
    # What compose hands to the shell: `$$` is a dollar. Without a password it says so and does not start.
    shell, option, script = valkey["entrypoint"]
    script = script.replace("$$", "$")
    said = subprocess.run([shell, option, script], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert said.returncode == 78 and "VALKEY_PASSWORD" in said.stderr
    # The password is no part of the file, and no argument of a program.
    assert valkey["environment"] == {"VALKEY_PASSWORD": None}
    assert script.split("exec ")[1].strip() == "valkey-server /tmp/valkey.conf"


def test_placeholders_are_no_credentials_and_bad_settings_are_said(own):
    own.env_file.write_text("\ufeffAPI_MASTER_KEY=\"sk-0123456789abcdef\"\r\nQWEN_TOKEN=在这里粘贴你的Cookie\r\nKIMI_TOKEN='eyJhbGciOi...'\r\n")
    said = own.script("up", "--no-build", "--detach", "--workers", "1")
    assert "SIMULATORS" in said.stderr and "sk-0123456789abcdef\n" in said.stdout
    own.script("down")
    own.env_file.write_text("API_MASTER_KEY=sk-0123456789abcdef\nKIMI_TOKEN: hush\n")
    said = own.script("up", "--no-build", "--detach", check=False)
    assert said.returncode == 1 and "line 2 " in said.stderr and "hush" not in said.stderr
    assert not own.run_dir.exists()


def test_a_build_elsewhere_is_found_and_what_is_missing_is_said(own, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    own.environment.pop("BIN", None)
    own.environment["CARGO_TARGET_DIR"] = str(elsewhere)
    said = own.script("up", "--no-build", "--detach", check=False)
    assert said.returncode == 1 and f"there is no hive2api-worker in {elsewhere}/release" in said.stderr
    where = os.environ.get("BIN") or subprocess.run(
        ["bash", "-c", f". {ROOT}/scripts/lib.sh; find_binaries; printf %s \"$BIN\""], capture_output=True, text=True, check=True
    ).stdout
    (elsewhere / "release").mkdir(parents=True)
    for name in ("hive2api-worker", "hive2api-loadtest"):
        (elsewhere / "release" / name).symlink_to(Path(where) / name)
    own.up(workers=1)
