"""Measures the worker against nginx, and against whoever else is named. Started by scripts/bench, whose help says how."""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path

import gates
import growth
import instructions
import stored
import verdict
from driver import Driver
from gateways import Cluster, Emulator, Nginx, Peer, Worker
from measures import Bench, Pace, all_measures
from processes import Failed, raise_file_limit, stop_all

ROOT = Path(__file__).resolve().parents[3]


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", add_help=False)
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 51), metavar="N")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--without", default="")
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--gates", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--emulator-port", type=int, default=0)
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


class Setup:
    """The gateways of a run; leaving it ends them."""

    def __init__(self, options, folder):
        bins = Path(os.environ.get("BIN", ROOT / "target/release"))
        self.bins, self.folder, self.options, self.running = bins, folder, options, []
        self.driver = Driver(bins, folder)

    def __enter__(self):
        try:
            self.emulator = self.add(Emulator(self.bins, self.folder, self.options.emulator_port))
            self.nginx = self.add(Nginx(self.emulator, self.folder))
            self.worker = self.add(Worker(self.bins, self.emulator, self.folder))
        except BaseException:
            stop_all()
            raise
        return self

    def add(self, gateway):
        self.running.append(gateway)
        return gateway

    def with_cluster(self, workers=2):
        return self.add(Cluster(self.bins, self.emulator, self.folder, ROOT, workers))

    def __exit__(self, *_):
        try:
            for gateway in reversed(self.running):
                gateway.stop()
        finally:
            stop_all()


def chosen(measures, options):
    names = [measure.name for measure in measures]
    wanted, unwanted = (set(filter(None, text.split(","))) for text in (options.only, options.without))
    if strange := (wanted | unwanted) - set(names):
        raise Failed(f"no measure {', '.join(sorted(strange))}; there are {', '.join(names)}")
    return [one for one in measures if (not wanted or one.name in wanted) and one.name not in unwanted]


def take(measure, setup, cluster, peers, rounds):
    """Every gateway in turn, again and again, so that what disturbs the machine disturbs all."""
    gateways = [setup.nginx, setup.worker]
    if measure.above_direct:
        gateways.insert(0, setup.emulator)
    if measure.cluster is not None:
        gateways.append(cluster)
    if measure.name != "held" and not measure.cumulative:
        gateways += [peer for peer in peers if peer.pids or not measure.once]
    taken = {gateway.name: [] for gateway in gateways}
    for _ in range(1 if measure.once else rounds):
        for gateway in gateways:
            taken[gateway.name].append(measure.take(gateway))
    return taken


def full(setup, options):
    pace = Pace(seconds=2, long=3) if options.quick else Pace()
    bench = Bench(setup.driver, pace)
    measures = chosen(all_measures(bench), options)
    peers = [setup.add(Peer(text, os.environ.get("PEER_KEY", ""))) for text in options.peer]
    cluster = setup.with_cluster() if any(measure.cluster is not None for measure in measures) else None
    rounds, all_rows = 2 if options.quick else options.rounds, []
    for measure in measures:
        started = time.monotonic()
        taken = take(measure, setup, cluster, peers, rounds)
        new = list(verdict.held_rows(measure, taken) if measure.name == "held" else verdict.rows(measure, taken))
        all_rows += new
        if measure.name == "cumulative512":
            all_rows += verdict.growth(all_rows)
        worker = next((row for row in new if row.gateway == "worker"), None)
        if worker:
            say(f"{measure.title}: {verdict.number(worker.ratio)} of nginx  ({time.monotonic() - started:.0f} s)")
    return all_rows, bench.problems


def result(setup, options):
    """What was asked for: text for people, figures for programs, and whether all is well."""
    if options.growth:
        text, figures = growth.measured(setup, 1 if options.quick else min(options.rounds, 3))
        return text, figures, True
    if options.instructions:
        rows, text = instructions.measured(setup, explain=True)
        return "\n".join([verdict.table(rows), *text]), {"rows": verdict.as_json(rows)}, True
    if options.store:
        rows, problems = stored.measured(setup, options)
        return verdict.table(rows, "to memory"), {"rows": verdict.as_json(rows), "problems": problems}, not problems
    if options.gates:
        rows, problems = gates.measured(setup)
    else:
        rows, problems = full(setup, options)
    table = verdict.markdown if options.markdown else verdict.table
    failed = options.gates and any(row.passed is False for row in rows)
    return table(rows), {"rows": verdict.as_json(rows), "problems": problems}, not problems and not failed


def main():
    options = arguments()
    raise_file_limit()
    # As Ctrl-C: what was started ends first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="hive2api-bench-") as folder, Setup(options, Path(folder)) as setup:
        text, figures, is_well = result(setup, options)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg(), "kernel": platform.release()}
    print(f"{text}\n\nload of the machine at the end: {machine['load'][0]:.1f} on {machine['cores']} cores")
    for problem in figures.get("problems", []):
        print(f"errors: {problem}")
    if options.json:
        options.json.write_text(json.dumps({**figures, "machine": machine}, indent=1))
    return 0 if is_well else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        say(f"bench: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
