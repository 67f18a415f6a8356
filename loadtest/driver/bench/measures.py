"""What is measured, and what is to be reached: the table of docs/performance.md."""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import verdict
from processes import Failed, answering, descendants, pinned

SPACED = "load:pieces=1000000,every=20ms"
# Streams that a spaced measure has open.
STREAMS = 200
HELD = "load:pieces=100000,every=2000ms"


@dataclass
class Pace:
    """How long things are looked at; --quick looks less long."""

    seconds: int = 4
    long: int = 5
    held: int = 5000
    patience: int = 60


@dataclass
class Measure:
    """One row of the table."""

    name: str
    title: str
    unit: str
    take: Callable
    # The most that the worker, and nginx with two workers, may cost compared with nginx alone.
    target: float | None = None
    cluster: float | None = None
    # The target is the number itself, not its ratio to nginx.
    absolute: bool = False
    # Subtract what the emulator takes when it is asked directly.
    above_direct: bool = False
    cumulative: bool = False
    # Once is enough: counts and memory are steady.
    once: bool = False


class Bench:
    """Takes measures of gateways."""

    def __init__(self, driver, pace):
        self.driver, self.pace = driver, pace
        self.problems = []

    def run(self, gateway, *arguments, **options):
        figures = self.driver.run(gateway, *arguments, **options)
        if figures.errors:
            self.problems.append(f"{gateway.name}: {figures.errors} errors {figures.what_failed()}")
        return figures

    def json(self, connections):
        def take(gateway):
            figures = self.run(gateway, "--mode", "json", "-c", connections, "--duration", self.pace.seconds)
            return figures.cpu_us("requests")

        return take

    def spaced(self, gateway):
        return self.run(gateway, "--prompt", SPACED, "-c", STREAMS, "--duration", self.pace.long)

    def back_to_back(self, gateway):
        prompt = "load:pieces=512"
        return self.run(gateway, "--prompt", prompt, "-c", 16, "--duration", self.pace.seconds).cpu_us("pieces")

    def cumulative(self, pieces, every):
        """Streams in every phase at once, so that the mean piece is the mean of a stream."""

        def take(gateway):
            whole = max(1, round(pieces * every / 1000))
            prompt = f"load:pieces={pieces},every={every}ms"
            arguments = ("--prompt", prompt, "-c", 50, "--warmup", whole, "--duration", max(whole, self.pace.seconds))
            return self.run(gateway, *arguments, cumulative=True).cpu_us("pieces")

        return take

    def latency(self, mode, kind, quantile="p50"):
        def take(gateway):
            arguments = ("--mode", mode, "--prompt", "load:pieces=4", "--rate", 200, "-c", 32)
            return self.run(gateway, *arguments, "--duration", self.pace.seconds).time_us(kind, quantile)

        return take

    def calls_per_piece(self, gateway):
        """All streams speak at the same moments, so that the count does not depend on how busy the machine is."""

        def load(pieces):
            prompt = f"load:pieces={pieces},every=200ms,aligned=1"
            return ("--prompt", prompt, "-c", STREAMS, "--requests", STREAMS)

        return (self.calls(gateway, *load(40)) - self.calls(gateway, *load(10))) / (30 * STREAMS)

    def calls_per_request(self, gateway):
        """One request after the other, of one piece: what does not depend on how many things come at once."""

        def load(requests):
            return ("--mode", "json", "--prompt", "load:pieces=1", "-c", 1, "--requests", requests)

        return (self.calls(gateway, *load(600)) - self.calls(gateway, *load(100))) / 500

    def calls(self, gateway, *arguments):
        """The system calls of a gateway's processes while exactly this load runs."""
        with Strace(gateway) as strace:
            self.run(gateway, *arguments, "--warmup", 0, "--duration", 60)
        return strace.calls

    def held(self, gateway):
        """Memory of open streams, errors, and what is given back when they have closed: three measures in one go."""
        fresh = gateway.fresh()
        if not fresh:
            raise Failed(f"{gateway.name} cannot be started afresh")
        try:
            self.driver.run(fresh, "--mode", "json", "-c", 16, "--duration", 1, "--warmup", 0)
            rest = fresh.memory()
            figures = self.run(fresh, "--hold", self.pace.held, "--hold-only", "--hold-prompt", HELD, "--duration", 6)
            back, seconds = self.given_back(fresh, rest)
            return {"memory": figures.kib_per_stream, "errors": figures.errors, "given_back": back, "seconds": seconds}
        finally:
            fresh.stop()

    def given_back(self, gateway, rest):
        """The memory against that at rest when it is back near it, or when patience ends."""
        start = time.monotonic()
        while True:
            ratio, seconds = gateway.memory() / rest, time.monotonic() - start
            if ratio < 1.25 or seconds > self.pace.patience:
                return ratio, seconds
            time.sleep(1)

    def beside_large(self, gateway):
        """How much later the pieces of other streams come (p99) beside one stream with 100 kB events."""
        arguments = ("--prompt", SPACED, "-c", 50, "--duration", self.pace.seconds)
        alone = self.run(gateway, *arguments).time_us("piece", "p99")
        large = ("--hold", 1, "--hold-prompt", "load:pieces=1000000,every=20ms,size=100000")
        return verdict.ratio(self.run(gateway, *arguments, *large).time_us("piece", "p99"), alone)


class Strace:
    """Counts the system calls of the threads that answer from entering to leaving."""

    def __init__(self, gateway):
        processes = sorted({one for pid in gateway.pids for one in descendants(pid)})
        self.threads = [thread for process in processes for thread in answering(process)]

    def __enter__(self):
        # Attaching to a process that is no child wants root on most systems.
        self.rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
        command = [*self.rights, "strace", "-c", "-q", *(word for thread in self.threads for word in ("-p", str(thread)))]
        self.tracer = subprocess.Popen(pinned("1", command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(200):
            if all(tracer_of(thread) for thread in self.threads):
                return self
            time.sleep(0.05)
        self.end()
        raise Failed("strace cannot follow the gateway; is ptrace allowed here?")

    def __exit__(self, *_):
        self.calls = total_calls(self.end())

    def end(self):
        """Lets go of the processes; what strace has said."""
        subprocess.run([*self.rights, "kill", "-INT", str(self.tracer.pid)], check=False)
        return self.tracer.communicate(timeout=30)[1]


def tracer_of(thread):
    """Who traces a thread; 0 while nobody does."""
    status = Path(f"/proc/{thread}/status").read_text()
    return int(re.search(r"^TracerPid:\s*(\d+)", status, re.MULTILINE)[1])


def total_calls(table):
    """The calls in the last line of `strace -c`: % time, seconds, usecs/call, calls, errors, total."""
    total = re.search(r"^\s*100\.00\s+[\d.]+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total$", table, re.MULTILINE)
    if not total:
        raise Failed(f"strace counted nothing: {table.strip()[-300:]}")
    return int(total[1])


def all_measures(bench):
    """The rows, in the order of the table."""
    spaced = bench.spaced
    return [
        Measure("json64", "CPU per JSON request, 64 connections", "µs", bench.json(64), 3.0, 4.3),
        Measure("json512", "CPU per JSON request, 512 connections", "µs", bench.json(512), 3.0),
        Measure("spaced", "CPU per spaced piece (200 × 50/s)", "µs", lambda to: spaced(to).cpu_us("pieces"), 1.5, 2.4),
        Measure("back_to_back", "CPU per back-to-back piece", "µs", bench.back_to_back, 1.3),
        Measure("cumulative", "CPU per cumulative piece, spaced, 64 pieces", "µs", bench.cumulative(64, 10), 1.6, cumulative=True),
        Measure("cumulative512", "CPU per cumulative piece, 512 pieces", "µs", bench.cumulative(512, 10), 1.2, cumulative=True),
        Measure("json_p50", "added p50, JSON", "µs", bench.latency("json", "total"), 1.4, above_direct=True),
        Measure("first_p50", "added p50, first piece", "µs", bench.latency("sse", "first"), 1.7, above_direct=True),
        Measure("stall", "p90 of a 4-piece stream (no 40 ms step)", "µs", bench.latency("sse", "total", "p90"), 38_000, absolute=True),
        Measure("piece_p99", "p99 delay of a piece", "µs", lambda to: spaced(to).time_us("piece", "p99"), 3.0),
        Measure("large", "others' p99 beside 100 kB events", "×", bench.beside_large, 2.0, absolute=True),
        Measure("calls_piece", "system calls per spaced piece", "", bench.calls_per_piece, 2.5, absolute=True, once=True),
        Measure("calls_json", "system calls per JSON request", "", bench.calls_per_request, 8.0, absolute=True, once=True),
        Measure("held", "memory per open stream", "KiB", bench.held, 1.8, 2.9, once=True),
    ]
