"""How many instructions the worker needs, by callgrind: a figure that little noise touches.

Two loads of different length run in one process; their difference is free of start and set-up.
"""

import json
import os
import re
import subprocess
from collections import Counter

import growth
from gateways import Worker
from processes import Failed
from verdict import Row


# Of a model whose tools the gateway has.
PATH = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOLS = [{"type": "function", "function": {"name": name, "description": f"To {name} a file.", "parameters": PATH}} for name in ("read", "write", "list")]


class Counted:
    """A worker under callgrind."""

    def __init__(self, setup):
        # The costliest functions of the last load of each count.
        self.tops = {}
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


    def top(self, lines=12):
        """The functions that the last load spent most in."""
        costs = own_costs((self.folder / f"callgrind.{self.dumps}").read_text(errors="replace"))
        whole = sum(costs.values())
        return [f"{100 * cost / whole:>6.1f} %  {name}" for name, cost in costs.most_common(lines)]


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


def least(load, size, tries=8):
    """The least of several loads of a size: what the worker does every few seconds beside requests (the store, the accounts) falls into
    some of them, and would count for hundreds of pieces."""
    return min(load(size) for _ in range(tries))


def pieces(counted, short, long, every, streams=1, **options):
    """Instructions a piece: streams of two lengths."""

    def load(pieces):
        prompt = f"load:pieces={pieces},every={every}ms"
        return counted.instructions("--prompt", prompt, "-c", streams, "--requests", streams, **options)

    load(short)
    return (least(load, long) - least(load, short)) / (streams * (long - short))


def pieces_at(counted, door, short=10, long=60, every=20, streams=4):
    """As `pieces`, at another door than chat completions."""

    def load(pieces):
        path, members = DOORS[door]
        prompt = f"load:pieces={pieces},every={every}ms"
        file = counted.folder / f"{door}-{pieces}.json"
        file.write_text(json.dumps({"model": "load", "stream": True, **members(prompt)}))
        return counted.instructions("--path", path, "--body", file, "-c", streams, "--requests", streams)

    load(short)
    return (least(load, long) - least(load, short)) / (streams * (long - short))


# Path, and the members of a question.
DOORS = {
    "responses": ("/responses", lambda text: {"input": text}),
    "messages": ("/messages", lambda text: {"max_tokens": 100_000, "messages": [{"role": "user", "content": text}]}),
}


def requests(counted, *arguments, few=20, many=120, tries=1):
    """Instructions a request: two numbers of them, one after the other. Counted once, what goes on beside requests is their share."""

    def load(number):
        return counted.instructions(*arguments, "-c", 1, "--requests", number)

    load(few)
    return (least(load, many, tries) - least(load, few, tries)) / (many - few)


def beside_tools(counted, short=8, long=136, every=10):
    """What a piece costs where the gateway looks for calls in it and there is none, in per cent of one without tools."""

    def a_piece(tools):
        def load(pieces):
            prompt = f"load:pieces={pieces},every={every}ms,size=32"
            body = {"model": "qwen3-max", "stream": True, "messages": [{"role": "user", "content": prompt}], **tools}
            file = counted.folder / f"tools-{pieces}-{len(tools)}.json"
            file.write_text(json.dumps(body))
            return counted.instructions("--body", file, "-c", 1, "--requests", 1, cumulative=True)

        load(short)
        return (least(load, long) - least(load, short)) / (long - short)

    return 100 * a_piece({"tools": TOOLS}) / a_piece({})


def history(counted):
    """What a thousand bytes of history add to a request."""

    def load(size):
        _, arguments = growth.history(counted.folder, size)
        return requests(counted, *arguments, few=2, many=8, tries=4)

    return (load(66_000) - load(2_000)) / 64


# Name, title, and how it is counted.
COUNTS = (
    ("ir_request", "instructions per JSON request", lambda to: requests(to, "--mode", "json")),
    ("ir_history", "instructions per kB of history", history),
    ("ir_stream", "instructions per stream of one piece", lambda to: requests(to, "--prompt", "load:pieces=1")),
    ("ir_piece", "instructions per spaced piece", lambda to: pieces(to, 10, 60, 20, streams=4)),
    ("ir_piece_responses", "instructions per spaced piece at Responses", lambda to: pieces_at(to, "responses")),
    ("ir_piece_messages", "instructions per spaced piece at Messages", lambda to: pieces_at(to, "messages")),
    ("ir_cumulative", "instructions per cumulative piece, 1 to 64", lambda to: pieces(to, 1, 64, 20, cumulative=True)),
    ("ir_cumulative512", "instructions per cumulative piece, 448 to 512", lambda to: pieces(to, 448, 512, 5, cumulative=True)),
    ("ir_tools", "a piece beside tools, % of one without", beside_tools),
)


def measured(setup, explain=False):
    """One row a count; and what the loads spent most in, where that is asked for."""
    counted, rows, text = Counted(setup), [], []
    # The vocabulary is loaded beside the first requests; the first answer that needs it waits for it.
    counted.instructions("--mode", "json", "--prompt", "load:pieces=1", "-c", 1, "--requests", 1, cumulative=True)
    for name, title, count in COUNTS:
        rows.append(Row(name, title, "worker", "", round(count(counted))))
        if name.startswith("ir_piece_"):
            # To chat completions, which stand before the other doors.
            rows[-1].ratio = rows[-1].value / next(row.value for row in rows if row.name == "ir_piece")
        if explain:
            text += ["", title, *counted.top()]
    return rows, text
