"""How many instructions the worker needs, by callgrind: a figure that no noise touches.

Two loads of different length run in one process; their difference is free of start and set-up.
"""

import os
import re
import subprocess

from gateways import Worker
from processes import Failed
from verdict import Row


class Counted:
    """A worker under callgrind."""

    def __init__(self, setup):
        self.driver, self.folder, self.dumps = setup.driver, setup.folder, 0
        out = self.folder / "callgrind"
        command = ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={out}"]
        self.worker = setup.add(Worker(setup.bins, setup.emulator, self.folder, "callgrind", command))

    def instructions(self, *arguments, **options):
        """What one load costs."""
        self.dump()
        common = ("--warmup", 0, "--duration", 120)
        figures = self.driver.run(self.worker, *arguments, *common, **options)
        if figures.errors:
            raise Failed(f"errors under callgrind: {figures.what_failed()}")
        return self.dump()

    def dump(self):
        """The instructions since the last dump, which resets them."""
        command = ["vgdb", f"--pid={self.worker.pids[0]}", "dump"]
        # Valgrind's pipe is named after the HOST of its environment, which is a setting of the worker.
        env = {**os.environ, "HOST": "127.0.0.1"}
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        self.dumps += 1
        file = self.folder / f"callgrind.{self.dumps}"
        if said.returncode or not file.exists():
            raise Failed(f"vgdb: {said.stdout}{said.stderr}")
        return total(file.read_text(errors="replace"))


def total(dump):
    found = re.search(r"^(?:summary|totals):\s*(\d+)", dump, re.MULTILINE)
    if not found:
        raise Failed("callgrind's file names no total")
    return int(found[1])


def pieces(counted, short, long, every, streams=1, **options):
    """Instructions a piece: streams of two lengths."""

    def load(pieces):
        prompt = f"load:pieces={pieces},every={every}ms"
        return counted.instructions("--prompt", prompt, "-c", streams, "--requests", streams, **options)

    load(short)
    return (load(long) - load(short)) / (streams * (long - short))


def requests(counted, *arguments):
    """Instructions a request: two numbers of them, one after the other."""

    def load(number):
        return counted.instructions(*arguments, "-c", 1, "--requests", number)

    load(20)
    return (load(120) - load(20)) / 100


# Name, title, and how it is counted.
COUNTS = (
    ("ir_request", "instructions per JSON request", lambda to: requests(to, "--mode", "json")),
    ("ir_stream", "instructions per stream of one piece", lambda to: requests(to, "--prompt", "load:pieces=1")),
    ("ir_piece", "instructions per spaced piece", lambda to: pieces(to, 10, 60, 20, streams=4)),
    ("ir_cumulative", "instructions per cumulative piece, 1 to 64", lambda to: pieces(to, 1, 64, 20, cumulative=True)),
    ("ir_cumulative512", "instructions per cumulative piece, 448 to 512", lambda to: pieces(to, 448, 512, 5, cumulative=True)),
)


def measured(setup):
    """One row a count."""
    counted = Counted(setup)
    return [Row(name, title, "worker", "", round(count(counted))) for name, title, count in COUNTS]
