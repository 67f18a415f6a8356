"""Programs that people point at the gateway: `scripts/test` installs them into .clients, and from then on they need no network."""

import json
import os
import subprocess

from edge import ROOT

CLIENTS = ROOT / ".clients"
MODULES = CLIENTS / "node_modules"
NODE = MODULES / ".bin" / "node"
SCRIPTS = ROOT / "tests" / "e2e" / "clients"

# Nobody's own settings, keys and proxies.
KEPT = ("PATH", "LANG", "TERM")


def environment(**more):
    return {name: os.environ[name] for name in KEPT if name in os.environ} | more


def run_node(script, asked, *arguments):
    """Runs a script of this folder with Node 22, which the newest SDKs need; it is given `asked` and answers with JSON."""
    # Modules are looked for beside the file that asks for them, and these lie elsewhere.
    copy = CLIENTS / script
    copy.write_text((SCRIPTS / script).read_text())
    return answer([str(NODE), str(copy), *arguments], asked, environment())


def run_python(script, asked, version):
    """The same with the Python SDK of that version."""
    path = CLIENTS / "python" / version
    assert path.is_dir(), f"{path} is missing: scripts/test installs it"
    return answer(["python3", str(SCRIPTS / script)], asked, environment(PYTHONPATH=str(path), PYTHONNOUSERSITE="1"))


def answer(command, asked, env):
    done = subprocess.run(command, input=json.dumps(asked), env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout)
