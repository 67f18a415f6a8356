"""What a store on disk costs those who have it, as everybody has by himself: CPU time beside a worker whose store is its own memory."""

from gateways import Worker
from measures import Bench, Pace
from verdict import Row, median


def measured(setup, options):
    """Ratios within a round, whose median counts; the two take turns in each order, so that a drift favours neither."""
    pace = Pace(seconds=2, long=3) if options.quick else Pace()
    bench = Bench(setup.driver, pace)
    bare = setup.add(Worker(setup.bins, setup.emulator, setup.folder, "memory", store="memory:"))
    rows = []
    for name, title, take in (
        ("json64", "CPU per JSON request, 64 connections", bench.json(64)),
        ("spaced", "CPU per spaced piece", lambda to: bench.spaced(to).cpu_us("pieces")),
    ):
        taken = {setup.worker: [], bare: []}
        for number in range(2 if options.quick else options.rounds):
            for gateway in list(taken)[:: 1 if number % 2 else -1]:
                taken[gateway].append(take(gateway))
        ratios = [kept / none for kept, none in zip(taken[setup.worker], taken[bare])]
        rows.append(Row(name, title, "memory", "µs", median(taken[bare]), values=taken[bare]))
        rows.append(Row(name, title, "disk", "µs", median(taken[setup.worker]), median(ratios), values=taken[setup.worker]))
    return rows, bench.problems
