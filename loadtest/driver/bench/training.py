"""The load that the profile for release builds is taken under (scripts/profile): what a worker does all day, and every provider once."""

import json
import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path

import growth
from driver import Driver
from gateways import Emulator, Gateway, Worker, fetch
from measures import Bench, Pace, all_measures
from processes import LOAD_CORE, Failed, Process, free_port, raise_file_limit, stop_all

# Each model streams, and answers in one piece, so many times: enough to be more than the start, little beside the loads.
TURNS = 2
MESSAGES = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "Hello!"},
    {"role": "assistant", "content": "Hello, how can I help?"},
    {"role": "user", "content": "为什么天空是蓝色的？ Explain it in “two” lines:\n\tfirst \\ second."},
]


class Simulated(Gateway):
    """A worker whose accounts are all those of the simulators."""

    def __init__(self, bins, folder):
        port = free_port()
        super().__init__("simulated", f"http://127.0.0.1:{port}")
        accounts, ready = folder / "simulators.env", folder / "simulators.ready"
        command = [bins / "hive2api-loadtest", "simulate", "--pace", 1, "--accounts", 3, "--env-file", accounts, "--ready-file", ready]
        simulators = Process("simulators", command, folder, core=LOAD_CORE)
        simulators.wait_until(ready.exists)
        self.key = f"sk-{secrets.token_hex(24)}"
        env = {"ACCOUNTS_FILE": str(accounts), "API_MASTER_KEY": self.key, "HOST": "127.0.0.1", "PORT": str(port), "NO_PROXY": "127.0.0.1"}
        worker = Process("simulated", [bins / "hive2api-worker"], folder, env)
        worker.wait_port(port)
        self.parts = [worker, simulators]

    def chat(self):
        """The conversation with each model, streamed and whole."""
        for model in (one["id"] for one in json.loads(fetch(self, "/v1/models"))["data"]):
            for stream in (True, False) * TURNS:
                answer = fetch(self, "/v1/chat/completions", {"model": model, "messages": MESSAGES, "stream": stream})
                if b'"finish_reason":"stop"' not in answer:
                    raise Failed(f"{model} answered {answer[-300:]!r}")


def train(bins, folder):
    driver, emulator = Driver(bins, folder), Emulator(bins, folder)
    worker = Worker(bins, emulator, folder)
    bench = Bench(driver, Pace(seconds=2, long=3))
    for measure in all_measures(bench):
        if not measure.once:
            measure.take(worker)
    for size, make in ((2 << 10, growth.history), (64 << 10, growth.history), (1 << 20, growth.history), (1 << 20, growth.image)):
        _, load = make(folder, size)
        bench.run(worker, *load, "-c", 2, "--duration", 1)
    if bench.problems:
        raise Failed(f"errors: {bench.problems}")
    simulated = Simulated(bins, folder)
    simulated.chat()
    # Counts are written when a worker ends by itself.
    for one in (worker, simulated):
        one.parts[0].stop(signal.SIGTERM)
        if one.parts[0].child.returncode:
            raise Failed(f"{one.name} ended with {one.parts[0].child.returncode}")


if __name__ == "__main__":
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="hive2api-profile-") as place:
        try:
            train(Path(os.environ["BIN"]), Path(place))
        except Failed as error:
            sys.exit(f"profile: {error}")
        finally:
            stop_all()
