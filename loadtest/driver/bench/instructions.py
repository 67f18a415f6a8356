"""How many instructions the worker needs, by callgrind: a figure that little noise touches.

Two loads of different length run in one process; their difference is free of start and set-up. Threads are counted apart: what the
worker does every few seconds beside requests (the store's rounds, the accounts', memory) has threads of its own, and would be
hundreds of pieces' worth where it falls into one load and not into the other.
"""

import json
import os
import re
import statistics
import subprocess
import time
from collections import Counter
from pathlib import Path

import growth
from gateways import Worker
from processes import BESIDE, Failed
from verdict import Row


# Of a model whose tools the gateway has.
PATH = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOLS = [{"type": "function", "function": {"name": name, "description": f"To {name} a file.", "parameters": PATH}} for name in ("read", "write", "list")]


class Counted:
    """A worker under callgrind."""

    def __init__(self, setup, name="callgrind", store=None):
        self.driver, self.name, self.dumps = setup.driver, name, 0
        # Its own, so that no other worker's word in the store is read by this one.
        self.folder = setup.folder / name
        self.folder.mkdir()
        out = self.folder / "dump"
        command = ["valgrind", "--tool=callgrind", "-q", "--separate-threads=yes", f"--callgrind-out-file={out}"]
        self.worker = setup.add(Worker(setup.bins, setup.emulator, self.folder, name, command, store=store))
        self.beside = self.threads_beside()
        # The vocabulary is loaded beside the first requests; the first answer that needs it waits for it.
        self.load("--mode", "json", "--prompt", "load:pieces=1", "-c", 1, "--requests", 1, cumulative=True)

    def instructions(self, *arguments, **options):
        """What one load costs, on the threads that answer."""
        self.dump()
        self.load(*arguments, **options)
        return sum(cost for thread, cost in self.dump().items() if thread not in self.beside)

    def load(self, *arguments, **options):
        common = ("--warmup", 0, "--duration", 120)
        figures = self.driver.run(self.worker, *arguments, *common, **options)
        if figures.errors:
            raise Failed(f"errors under callgrind: {figures.what_failed()}")

    def all_of(self, load, seconds=7):
        """What a load costs on all threads, until what it has left to write is written (every three seconds, by a thread that is slow
        here); less what as many seconds cost at rest."""
        self.dump()
        started = time.monotonic()
        load()
        time.sleep(seconds)
        busy = self.dump().total()
        time.sleep(time.monotonic() - started)
        return busy - self.dump().total()

    def dump(self):
        """The instructions of each thread since the last dump, which resets them."""
        self.tell("dump")
        self.dumps += 1
        return Counter({thread: total(file.read_text(errors="replace")) for thread, file in self.files()})

    def files(self):
        """The last dump's: one a thread."""
        found = {int(file.suffix.rpartition("-")[2]): file for file in self.folder.glob(f"dump.{self.dumps}-*")}
        if not found:
            raise Failed("callgrind has written nothing")
        return found.items()

    def threads_beside(self):
        """The numbers of the threads that work beside requests."""
        (process,) = self.worker.pids
        listed = numbered(self.tell("v.info", "scheduler"))
        names = {thread: Path(f"/proc/{process}/task/{task}/comm").read_text().strip() for thread, task in listed.items()}
        if missing := set(BESIDE) - set(names.values()):
            raise Failed(f"no thread is called {', '.join(missing)}; there are {names}")
        return {thread for thread, name in names.items() if name in BESIDE or listed[thread] == process}

    def tell(self, *words):
        command = ["vgdb", f"--pid={self.worker.pids[0]}", *words]
        # Valgrind's pipe is named after the HOST of its environment, which is a setting of the worker.
        env = {**os.environ, "HOST": "127.0.0.1"}
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        if said.returncode:
            raise Failed(f"vgdb: {said.stdout}{said.stderr}")
        return said.stdout

    def top(self, lines=12):
        """The functions that the last load spent most in, beside none of the threads that are not counted."""
        costs = Counter()
        for thread, file in self.files():
            if thread not in self.beside:
                costs += own_costs(file.read_text(errors="replace"))
        whole = costs.total()
        return [f"{100 * cost / whole:>6.1f} %  {name}" for name, cost in costs.most_common(lines)]


def numbered(said):
    """The system's number of each of Valgrind's threads."""
    return {int(thread): int(task) for thread, task in re.findall(r"^Thread (\d+): .*\(lwpid (\d+)\)", said, re.MULTILINE)}


def own_costs(dump):
    """What each function cost itself, without those it called. callgrind_annotate reads a dump of a running call wrong.

    Names are given once, with a number, and by their number from then on; the line after `calls=` is the callee's cost.
    """
    names, costs, function, is_callee = {}, Counter(), None, False
    for line in dump.splitlines():
        if named := re.match(r"(c?)fn=\((\d+)\)(?: (.+))?$", line):
            called, number, name = named.groups()
            names.setdefault(number, name or number)
            function = function if called else number
        elif line.startswith("calls="):
            is_callee = True
        elif cost := re.match(r"[+*-]?\d* (\d+)$", line):
            if not is_callee:
                costs[function] += int(cost[1])
            is_callee = False
    return Counter({names.get(number, "?"): cost for number, cost in costs.items()})


def total(dump):
    found = re.search(r"^(?:summary|totals):\s*(\d+)", dump, re.MULTILINE)
    if not found:
        raise Failed("callgrind's file names no total")
    return int(found[1])


def usual(load, size, tries=3):
    """The median of several loads of a size: on a busy machine a wake-up comes twice, or two pieces come as one."""
    return statistics.median(load(size) for _ in range(tries))


def pieces(counted, short, long, every, streams=1, **options):
    """Instructions a piece: streams of two lengths."""

    def load(pieces):
        prompt = f"load:pieces={pieces},every={every}ms"
        return counted.instructions("--prompt", prompt, "-c", streams, "--requests", streams, **options)

    load(short)
    return (usual(load, long) - usual(load, short)) / (streams * (long - short))


def pieces_at(counted, door, short=10, long=60, every=50, streams=4):
    """As `pieces`, at another door than chat completions."""

    def load(pieces):
        path, members = DOORS[door]
        prompt = f"load:pieces={pieces},every={every}ms"
        file = counted.folder / f"{door}-{pieces}.json"
        file.write_text(json.dumps({"model": "load", "stream": True, **members(prompt)}))
        return counted.instructions("--path", path, "--body", file, "-c", streams, "--requests", streams)

    load(short)
    return (usual(load, long) - usual(load, short)) / (streams * (long - short))


# Path, and the members of a question.
DOORS = {
    "responses": ("/responses", lambda text: {"input": text}),
    "messages": ("/messages", lambda text: {"max_tokens": 100_000, "messages": [{"role": "user", "content": text}]}),
}


def requests(counted, *arguments, few=20, many=120):
    """Instructions a request: two numbers of them, one after the other."""

    def load(number):
        return counted.instructions(*arguments, "-c", 1, "--requests", number)

    load(few)
    return (usual(load, many) - usual(load, few)) / (many - few)


def beside_tools(counted, short=8, long=136, every=15):
    """What a piece costs where the gateway looks for calls in it and there is none, in per cent of one without tools."""

    def a_piece(tools):
        def load(pieces):
            prompt = f"load:pieces={pieces},every={every}ms,size=32"
            body = {"model": "qwen3-max", "stream": True, "messages": [{"role": "user", "content": prompt}], **tools}
            file = counted.folder / f"tools-{pieces}-{len(tools)}.json"
            file.write_text(json.dumps(body))
            return counted.instructions("--body", file, "-c", 1, "--requests", 1, cumulative=True)

        load(short)
        return (usual(load, long) - usual(load, short)) / (long - short)

    return 100 * a_piece({"tools": TOOLS}) / a_piece({})


def history(counted):
    """What a thousand bytes of history add to a request."""

    def load(size):
        _, arguments = growth.history(counted.folder, size)
        return requests(counted, *arguments, few=2, many=8)

    return (load(66_000) - load(2_000)) / 64


def a_piece(counted):
    return pieces(counted, 10, 60, 50, streams=4)


# Name, title, and how it is counted.
COUNTS = (
    ("ir_request", "instructions per JSON request", lambda to: requests(to, "--mode", "json")),
    ("ir_history", "instructions per kB of history", history),
    ("ir_stream", "instructions per stream of one piece", lambda to: requests(to, "--prompt", "load:pieces=1")),
    ("ir_piece", "instructions per spaced piece", a_piece),
    ("ir_piece_responses", "instructions per spaced piece at Responses", lambda to: pieces_at(to, "responses")),
    ("ir_piece_messages", "instructions per spaced piece at Messages", lambda to: pieces_at(to, "messages")),
    ("ir_cumulative", "instructions per cumulative piece, 1 to 64", lambda to: pieces(to, 1, 64, 20, cumulative=True)),
    ("ir_cumulative512", "instructions per cumulative piece, 448 to 512", lambda to: pieces(to, 448, 512, 10, cumulative=True)),
    ("ir_tools", "a piece beside tools, % of one without", beside_tools),
)


def a_request(counted, number=1000):
    """A JSON request on all threads: what the store's thread and the main one do for each of a batch is in it."""
    load = ("--mode", "json", "--prompt", "load:pieces=1", "-c", 1)
    counted.load(*load, "--requests", 20)
    return counted.all_of(lambda: counted.load(*load, "--requests", number)) / number


def a_lone_piece(counted):
    """Of one stream, each piece of which wakes the worker: what a busy machine makes of several at once is in no ratio then."""
    return pieces(counted, 10, 110, 40)


# Of a worker whose store is a file, as it is by itself, to one whose store is its own memory.
OF_THE_STORE = (
    ("store_request", "a JSON request with a store on disk, to none", a_request),
    ("store_piece", "a spaced piece with a store on disk, to none", a_lone_piece),
)


def measured(setup, explain=False):
    """One row a count; and what the loads spent most in, where that is asked for."""
    counted, rows, text = Counted(setup), [], []
    for name, title, count in COUNTS:
        rows.append(Row(name, title, "worker", "", round(count(counted))))
        if name.startswith("ir_piece_"):
            # To chat completions, which stand before the other doors.
            rows[-1].ratio = rows[-1].value / next(row.value for row in rows if row.name == "ir_piece")
        if explain:
            text += ["", title, *counted.top()]
    bare = Counted(setup, "callgrind-memory", store="memory:")
    for name, title, count in OF_THE_STORE:
        rows.append(Row(name, title, "worker", "×", count(counted) / count(bare)))
    return rows, text
