"""The measures that are steady on any machine, with limits that fail a build."""

import instructions
import verdict
from measures import Bench, Pace, all_measures

# What a build may not exceed: the targets of docs/performance.md, and for instructions, which have none, what was reached when
# the limit was set and a little more. Lower it when the worker gets better. They hold
# for a build without the compiler's profile (scripts/profile), which takes a sixth off.
LIMITS = {
    "calls_piece": 2.5,
    "calls_json": 8.0,
    "held": 1.8,  # to nginx
    "errors": 0,
    "given_back": 1.5,
    "ir_request": 148_000,
    "ir_history": 8_200,
    "ir_stream": 162_000,
    "ir_piece": 14_000,
    # To a piece of chat completions (doors.md, D22): 0.97 to 1.12 was measured.
    "ir_piece_responses": 1.15,
    "ir_piece_messages": 1.15,
    "ir_cumulative": 15_800,
    # Callgrind counts each byte of a large copy: an event of 16 kB that is copied once more is 16,000 of these, and half a
    # microsecond of the forty that nginx takes for it.
    "ir_cumulative512": 41_000,
    # Per cent: what looks for calls in a piece that has none may cost a tenth (tools.md section 12).
    "ir_tools": 110,
    # A store on disk, as everybody has one, to none (performance.md): 1.00 is wanted of a piece, and the count of one varies by 2 %.
    "store_request": 1.03,
    "store_piece": 1.03,
}

# The limit is for what stands beside the value: how it compares.
OF_A_RATIO = ("held", "ir_piece_responses", "ir_piece_messages")


def measured(setup):
    """All gates; a row that has passed no limit has `passed` false."""
    bench = Bench(setup.driver, Pace(patience=30))
    steady = [measure for measure in all_measures(bench) if measure.once]
    rows = []
    for measure in steady:
        held = measure.name == "held"
        taken = {gateway.name: [measure.take(gateway)] for gateway in (setup.nginx, setup.worker)}
        rows += verdict.held_rows(measure, taken) if held else verdict.rows(measure, taken)
    rows += instructions.measured(setup)[0]
    for row in rows:
        judge(row)
    return rows, bench.problems


def judge(row):
    """Only the worker can fail, and only where there is a limit."""
    row.target = LIMITS.get(row.name) if row.gateway == "worker" else None
    judged = row.ratio if row.name in OF_A_RATIO else row.value
    row.passed = None if row.target is None else judged <= row.target
