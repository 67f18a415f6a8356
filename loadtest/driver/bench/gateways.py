"""What is measured: the emulator alone, nginx alone, one worker, nginx and two workers, and whoever else is named."""

import json
import secrets
import signal
import urllib.error
import urllib.request

from processes import LOAD_CORE, Failed, Process, free_port, pss_kib

# Credentials are made up: the upstream is the emulator.
QWEN_TOKEN = "load-ticket"


class Gateway:
    """Something that answers at a URL, with the processes that are counted as it."""

    key = ""
    sessions = False
    cumulative = None  # arguments of the driver for a cumulative upstream

    def __init__(self, name, url):
        self.name, self.url, self.parts = name, url, []

    @property
    def pids(self):
        return [part.pid for part in self.parts]

    def watched(self):
        """The driver's arguments that count the processes."""
        return [word for pid in self.pids for word in ("--watch-pid", f"{self.name}={pid}")]

    def memory(self):
        return pss_kib(self.pids)

    def fresh(self):
        """The same once more, with nothing behind it; None where that is not ours to start."""
        return None

    def stop(self):
        for part in self.parts:
            part.stop()


class Emulator(Gateway):
    """The upstream. Asked directly, it is the base that latencies are counted from."""

    def __init__(self, bin, folder, port=0):
        port = port or free_port()
        super().__init__("direct", f"http://127.0.0.1:{port}")
        command = [bin / "hive2api-loadtest", "emulate", "--port", port]
        process = Process("emulator", command, folder, core=LOAD_CORE)
        process.wait_port(port)
        self.parts, self.port = [process], port
        self.cumulative = raw_qwen(self.url)


def raw_qwen(url):
    """Qwen's own protocol: what the worker's upstream sends, to a proxy that passes it through."""
    return ["--url", url, "--path", "/dialog/conversation", "--cumulative"]


NGINX_CONF = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
{user}
events {{ worker_connections 32768; }}
http {{
    access_log off;
    client_max_body_size 256m;
    client_body_buffer_size 1m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 100000000;
    upstream emulator {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=8192;
        location / {{
            proxy_pass http://emulator;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 3600s;
        }}
    }}
}}
"""


class Nginx(Gateway):
    """A plain reverse proxy: the least that any gateway can cost."""

    def __init__(self, emulator, folder):
        port = free_port()
        super().__init__("nginx", f"http://127.0.0.1:{port}")
        self.emulator, self.folder = emulator, folder
        place = folder / f"nginx-{port}"
        place.mkdir()
        user = "user root root;" if place.stat().st_uid == 0 else ""
        (place / "nginx.conf").write_text(NGINX_CONF.format(port=port, upstream=emulator.port, user=user))
        process = Process(place.name, ["nginx", "-p", place, "-c", place / "nginx.conf", "-e", "stderr"], folder)
        process.wait_port(port)
        self.parts = [process]
        self.cumulative = raw_qwen(self.url)

    def fresh(self):
        return Nginx(self.emulator, self.folder)

    def stop(self):
        self.parts[0].stop(signal.SIGTERM)


class Worker(Gateway):
    """One worker as it ships: key, accounts, metrics, request ids, JSON logs to a file."""

    def __init__(self, bin, emulator, folder, name="worker", command=(), key=None, store=None):
        port = free_port()
        super().__init__(name, f"http://127.0.0.1:{port}")
        self.bin, self.emulator, self.folder, self.port = bin, emulator, folder, port
        self.key = key or f"sk-{secrets.token_hex(24)}"
        upstream, settings = emulator.url, folder / "empty.env"
        settings.touch()
        env = {
            "ACCOUNTS_FILE": str(settings),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WORKER_THREADS": "1",
            "WORKER_NAME": f"{name}-{port}",
            "API_MASTER_KEY": self.key,
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "info",
            "REQUEST_TIMEOUT": "7200",
            "MAX_STREAMS": "20000",
            "MAX_BODY_BYTES": str(256 << 20),
            "OPENAI_COMPAT_1_NAME": "load",
            "OPENAI_COMPAT_1_BASE_URL": f"{upstream}/v1",
            "OPENAI_COMPAT_1_API_KEY": "sk-upstream-1,sk-upstream-2",
            "OPENAI_COMPAT_1_MODELS": "load",
            "QWEN_TOKEN": QWEN_TOKEN,
            "QWEN_BASE_URL": upstream,
            "QWEN_MAX_CONCURRENCY": "1000",
            "NO_PROXY": "127.0.0.1",
        }
        if store:
            env["STORE_URL"] = store
        process = Process(f"{name}-{port}", [*command, bin / "hive2api-worker"], folder, env)
        process.wait_port(port, 120 if command else 30)
        self.parts = [process]
        self.cumulative = ["--model", "qwen3-max"]
        # The tokenizer is loaded on a thread of its own after the start; it belongs to the memory at rest.
        ask(self)

    def fresh(self):
        return Worker(self.bin, self.emulator, self.folder, f"{self.name}-fresh")


def fetch(gateway, path, body=None):
    """What a gateway answers, with its key."""
    headers = {"Authorization": f"Bearer {gateway.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}{path}", json.dumps(body).encode() if body else None, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.read()
    except OSError as error:
        said = error.read() if isinstance(error, urllib.error.HTTPError) else ""
        raise Failed(f"{gateway.name} does not answer: {error} {said!r}") from error


def ask(gateway):
    """One request, so that a mistake in the set-up is told from a slow gateway."""
    body = {"model": "load", "messages": [{"role": "user", "content": "load:pieces=4"}]}
    if b"~3:4@" not in fetch(gateway, "/v1/chat/completions", body):
        raise Failed(f"{gateway.name} gave another answer than the emulator's")


class Cluster(Gateway):
    """The project's own nginx and workers, found by its watcher."""

    sessions = True

    def __init__(self, bin, emulator, folder, root, workers=2):
        port = free_port()
        super().__init__(f"nginx + {workers}", f"http://127.0.0.1:{port}")
        self.again = (bin, emulator, folder, root, workers)
        self.key = f"sk-{secrets.token_hex(24)}"
        self.workers = [Worker(bin, emulator, folder, f"cluster-worker-{n}", key=self.key) for n in range(workers)]
        # It asks the workers and starts curl to do so: not part of the way of a request, so it looks seldom.
        env = {
            "WORKERS": " ".join(f"127.0.0.1:{worker.port}" for worker in self.workers),
            "NGINX_LISTEN": f"127.0.0.1:{port}",
            "ACCESS_LOG": str(folder / "cluster-access.log"),
            "MAX_BODY_BYTES": str(256 << 20),
            "WATCH_INTERVAL": "86400",
        }
        prefix = folder / f"cluster-{port}"
        self.watcher = Process(f"cluster-{port}", [root / "nginx/watcher", "--prefix", prefix], folder, env)
        # Not until its port answers: `nginx -t`, which the watcher runs first, listens for a moment as well.
        pid = prefix / "nginx.pid"
        self.watcher.wait_until(lambda: pid.exists() and pid.read_text().strip())
        self.nginx = int(pid.read_text())
        ask(self)

    @property
    def pids(self):
        return [self.nginx, *(worker.pids[0] for worker in self.workers)]

    def fresh(self):
        return Cluster(*self.again)

    def stop(self):
        self.watcher.stop(signal.SIGTERM)
        for worker in self.workers:
            worker.stop()


class Peer(Gateway):
    """Another gateway that runs already and has the emulator as its upstream."""

    def __init__(self, text, key):
        name, _, place = text.partition("=")
        url, _, pid = place.partition(",")
        if not name or not url.startswith("http://") or (pid and not pid.isdigit()):
            raise Failed(f"--peer wants NAME=http://HOST:PORT[,PID], not {text!r}")
        super().__init__(name, url.rstrip("/").removesuffix("/v1"))
        self.key, self.pid = key, pid

    @property
    def pids(self):
        return [int(self.pid)] if self.pid else []

    def stop(self):
        """It is not ours."""
