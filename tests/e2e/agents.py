"""Coding agents as their users run them, each configured as docs/clients.md has it. Their models are simulated and follow a script."""

import json
import subprocess

import httpx
from clients import CLIENTS, MODULES, environment
from scripted import answers

# What `scripts/test programs` installs.
MORE = CLIENTS / "more"
# A port that nobody listens on: whatever is asked beyond this machine fails at once.
NOWHERE = "http://127.0.0.1:9"


class Agent:
    """A program in a folder of its own, in front of one simulated model. What kinds of agents differ in is below."""

    # The tools that write a file, replace a text in it and read it, as functions of a file's whole path.
    write = replace = read = None

    def __init__(self, gateway, directory, simulator, model, is_web):
        self.gateway, self.lane, self.model, self.is_web = gateway, gateway.simulators[simulator], model, is_web
        self.home, self.work = directory / "home", directory / "work"
        for folder in (self.home, self.work):
            folder.mkdir(parents=True)
        self.configure()

    def configure(self):
        pass

    def put(self, path, text):
        path = self.home / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def says(self, *said):
        for script in answers(self.is_web, *said):
            httpx.post(f"{self.lane.url}/__sim/script", json=script).raise_for_status()

    def environment(self, **more):
        return environment(
            HOME=str(self.home), XDG_CONFIG_HOME=str(self.home / ".config"), XDG_DATA_HOME=str(self.home / ".local/share"), XDG_CACHE_HOME=str(self.home / ".cache"),
            HTTP_PROXY=NOWHERE, HTTPS_PROXY=NOWHERE, http_proxy=NOWHERE, https_proxy=NOWHERE, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1", **more,
        )  # fmt: skip

    def run(self, prompt="Do what is to be done.", seconds=180):
        env = self.environment(**self.settings())
        # Run by Node 22, as their authors want a newer one than Debian has.
        env["PATH"] = f"{MODULES / '.bin'}:{env['PATH']}"
        done = subprocess.run(self.command(prompt), cwd=self.work, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
        done.said = done.stdout + done.stderr
        return done

    def settings(self):
        return {}

    def asks(self):
        """What the model was asked, as texts."""
        return [f"{call.get('prompt')} {call.get('turns')}" for call in self.lane.log() if call.get("prompt") or call.get("turns")]


class OpenCode(Agent):
    def configure(self):
        model = {"limit": {"context": 128000, "output": 8192}}
        provider = {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": f"{self.gateway.url}/v1", "apiKey": "{env:HIVE_KEY}"}, "models": {self.model: model}}
        self.put(".config/opencode/opencode.json", json.dumps({"provider": {"hive": provider}, "model": f"hive/{self.model}"}))

    def settings(self):
        # The last two: it looks for its maker's servers else.
        return {"HIVE_KEY": self.gateway.key, "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}

    def command(self, prompt):
        program = min(MODULES.glob("opencode-linux-*/bin/opencode"))
        # A title, since it has the model make one else, beside the first turn.
        return [str(program), "run", "--title", "task", "--auto", prompt]

    def write(self, path, text):
        return "write", {"filePath": str(path), "content": text}

    def replace(self, path, old, new):
        return "edit", {"filePath": str(path), "oldString": old, "newString": new}

    def read(self, path):
        return "read", {"filePath": str(path)}


class QwenCode(Agent):
    def settings(self):
        return {"OPENAI_BASE_URL": f"{self.gateway.url}/v1", "OPENAI_API_KEY": self.gateway.key, "OPENAI_MODEL": self.model}

    def command(self, prompt):
        return [str(MODULES / ".bin" / "qwen"), "--auth-type", "openai", "--yolo", prompt]

    def write(self, path, text):
        return "write_file", {"file_path": str(path), "content": text}

    def replace(self, path, old, new):
        return "edit", {"file_path": str(path), "old_string": old, "new_string": new}

    def read(self, path):
        return "read_file", {"file_path": str(path)}


class Cline(Agent):
    def configure(self):
        auth = [self.program(), "auth", "-p", "openai", "-k", self.gateway.key, "-m", self.model, "-b", f"{self.gateway.url}/v1"]
        done = subprocess.run(auth, env=self.environment(), cwd=self.work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def program(self):
        return str(MORE / "node_modules" / ".bin" / "cline")

    def command(self, prompt):
        return [self.program(), prompt]

    def write(self, path, text):
        return "editor", {"path": str(path), "new_text": text}

    def replace(self, path, old, new):
        return "editor", {"path": str(path), "old_text": old, "new_text": new}

    def read(self, path):
        return "read_files", {"files": [{"path": str(path)}]}


class Continue(Agent):
    def configure(self):
        self.put(
            "config.yaml",
            f"""name: hive
version: 0.0.1
models:
  - name: hive
    provider: openai
    model: {self.model}
    apiBase: {self.gateway.url}/v1
    apiKey: {self.gateway.key}
    roles: [chat, edit, apply, autocomplete]
""",
        )

    def command(self, prompt):
        return [str(MORE / "node_modules" / ".bin" / "cn"), "--config", str(self.home / "config.yaml"), "--auto", "-p", prompt]

    def write(self, path, text):
        return "Write", {"filepath": str(path), "content": text}

    def replace(self, path, old, new):
        edit = {"old_string": old, "new_string": new}
        # Models whose names it takes for able ones are offered this tool instead.
        if "qwen" in self.model:
            return "MultiEdit", {"file_path": str(path), "edits": [edit]}
        return "Edit", {"file_path": str(path), **edit}

    def read(self, path):
        return "Read", {"filepath": str(path)}


class Aider(Agent):
    """Has no tools: its changes are texts of the answer."""

    def settings(self):
        return {"OPENAI_API_BASE": f"{self.gateway.url}/v1", "OPENAI_API_KEY": self.gateway.key}

    def command(self, prompt):
        quiet = ["--yes-always", "--no-git", "--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--no-show-release-notes"]
        return [str(MORE / "aider" / "bin" / "aider"), "--model", f"openai/{self.model}", "--edit-format", "diff", *quiet, "--message", prompt, "note.txt"]
