"""The arithmetic of the bench: `python3 -m unittest discover loadtest/driver/bench`."""

import argparse
import importlib.util
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import gates
import growth
import instructions
import measures
import processes
import verdict
from driver import Figures
from measures import Measure


def measure(**more):
    return Measure("m", "title", "µs", None, 3.0, 4.0, **more)


def one(rows, gateway):
    return next(row for row in rows if row.gateway == gateway)


class Ratios(unittest.TestCase):
    def test_medians_are_compared_with_nginx(self):
        taken = {"nginx": [10, 100, 12], "worker": [30, 24, 999], "nginx + 2": [60, 48, 48], "peer": [120]}
        rows = verdict.rows(measure(), taken)
        self.assertEqual([row.ratio for row in rows], [None, 2.5, 4.0, 10.0])
        self.assertEqual([row.passed for row in rows], [None, True, True, None])

    def test_a_ratio_above_its_target_fails(self):
        rows = verdict.rows(measure(), {"nginx": [10], "worker": [31]})
        self.assertFalse(one(rows, "worker").passed)

    def test_what_the_emulator_takes_itself_is_subtracted(self):
        taken = {"direct": [100], "nginx": [200], "worker": [250]}
        rows = verdict.rows(measure(above_direct=True), taken)
        self.assertEqual((one(rows, "nginx").value, one(rows, "worker").ratio), (100, 1.5))

    def test_an_absolute_target_looks_at_the_value(self):
        rows = verdict.rows(measure(absolute=True), {"nginx": [1], "worker": [3.5]})
        self.assertFalse(one(rows, "worker").passed)

    def test_nothing_is_compared_with_nothing(self):
        self.assertIsNone(verdict.ratio(1, 0))
        self.assertIsNone(verdict.ratio(None, 2))
        rows = verdict.rows(measure(), {"nginx": [None], "worker": [3]})
        self.assertIsNone(one(rows, "worker").passed)

    def test_a_gateway_that_answered_nothing_spoils_no_run(self):
        figures = Figures({"load": {"times": {}}})
        taken = {"nginx": [10], "peer": [figures.time_us("total", "p50")]}
        self.assertEqual([row.gateway for row in verdict.rows(measure(), taken)], ["nginx"])

    def test_growth_is_long_streams_to_short_ones(self):
        rows = [verdict.Row(name, "", "worker", "", value) for name, value in (("cumulative", 10), ("cumulative512", 19))]
        (grown,) = verdict.growth(rows)
        self.assertEqual((grown.value, grown.passed), (1.9, False))

    def test_held_streams_have_three_rows(self):
        worker = {"memory": 30, "errors": 1, "given_back": 1.2}
        nginx = {"memory": 20, "errors": 0, "given_back": 1.0}
        rows = list(verdict.held_rows(measure(), {"nginx": [nginx], "worker": [worker]}))
        self.assertEqual([row.passed for row in rows if row.gateway == "worker"], [True, False, True])

    def test_the_table_names_every_verdict(self):
        text = verdict.table(verdict.rows(measure(), {"nginx": [10], "worker": [31]}))
        self.assertIn("FAIL", text)
        self.assertIn("3.10", text)

    def test_markdown_has_a_column_for_each_gateway_and_marks_what_fails(self):
        rows = verdict.rows(measure(), {"nginx": [10], "worker": [31], "nginx + 2": [30]})
        self.assertEqual(verdict.markdown(rows).splitlines()[0], "| | nginx | worker | nginx + 2 | target |")
        self.assertEqual(verdict.markdown(rows).splitlines()[2], "| title | 10 µs | **× 3.10** | × 3 | 3 |")

    def test_growth_is_told_for_each_and_against_nginx(self):
        text = list(growth.lines("title", (1, 2), {"nginx": [10, 40], "worker": [30, 60]}))
        self.assertEqual([line.split() for line in text[1:]], [
            ["nginx", "10", "µs", "×1", "40", "µs", "×4"],
            ["worker", "30", "µs", "×1", "60", "µs", "×2"],
            ["to", "nginx", "3", "1.50"],
        ])

    def test_a_history_has_the_size_that_was_asked_for(self):
        with tempfile.TemporaryDirectory() as folder:
            for size in (2_000, 100_000):
                _, (*_, file) = growth.history(Path(folder), size)
                self.assertAlmostEqual(file.stat().st_size / size, 1, delta=0.35)


class Gates(unittest.TestCase):
    def test_only_the_worker_fails_and_only_above_its_limit(self):
        limit = gates.LIMITS["calls_piece"]
        for gateway, value, passed in (("worker", limit, True), ("worker", limit + 0.1, False), ("nginx", limit + 9, None)):
            row = verdict.Row("calls_piece", "", gateway, "", value)
            gates.judge(row)
            self.assertIs(row.passed, passed)

    def test_memory_is_judged_by_its_ratio(self):
        row = verdict.Row("held", "", "worker", "KiB", 1e6, ratio=1.0)
        gates.judge(row)
        self.assertTrue(row.passed)

    def test_a_failed_gate_fails_the_run(self):
        spec = importlib.util.spec_from_file_location("bench", Path(__file__).with_name("__main__.py"))
        bench = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(bench)
        asked = argparse.Namespace(growth=False, instructions=False, store=False, gates=True, markdown=False)
        for value, is_well in ((gates.LIMITS["calls_piece"], True), (99, False)):
            row = verdict.Row("calls_piece", "", "worker", "", value)
            gates.judge(row)
            with unittest.mock.patch.object(gates, "measured", return_value=([row], [])):
                self.assertIs(bench.result(None, asked)[2], is_well)
        with unittest.mock.patch.object(gates, "measured", return_value=([], ["errors"])):
            self.assertFalse(bench.result(None, asked)[2])

    def test_every_count_of_instructions_has_a_limit(self):
        counts = (*instructions.COUNTS, *instructions.OF_THE_STORE)
        self.assertLessEqual({name for name, _, _ in counts}, set(gates.LIMITS))


class Reading(unittest.TestCase):
    def test_the_parent_stands_behind_the_last_bracket(self):
        self.assertEqual(processes.parent_of("71 (a) b (c) S 7 71 71 0"), 7)

    def test_the_proportional_size_is_the_line_of_that_name(self):
        self.assertEqual(processes.pss_of("Rss: 9 kB\nPss:   1234 kB\nPss_Anon: 5 kB\n"), 1234)

    def test_strace_totals_come_with_and_without_errors(self):
        table = " 50.00    0.1   7   150   3 read\n------\n100.00    0.209  {}9500 {}total\n"
        for usecs, errors in (("", ""), ("   22  ", "  12 "), ("   22  ", "")):
            self.assertEqual(measures.total_calls(table.format(usecs, errors)), 9500)
        with self.assertRaises(processes.Failed):
            measures.total_calls("strace: Operation not permitted")

    def test_callgrind_names_a_total(self):
        self.assertEqual(instructions.total("events: Ir\nsummary: 4711\n"), 4711)
        with self.assertRaises(processes.Failed):
            instructions.total("events: Ir\n")

    def test_valgrind_tells_the_systems_number_of_a_thread(self):
        said = "sched status:\n\nThread 1: status = VgTs_WaitSys syscall 232 (lwpid 900)\n==900==  at 0x1\n\nThread 12: status = VgTs_Yielding (lwpid 917)\n"
        self.assertEqual(instructions.numbered(said), {1: 900, 12: 917})

    def test_a_function_costs_what_its_own_lines_cost(self):
        dump = "fn=(1) outer\n26 4\n-1 8\ncfn=(2) inner\ncalls=2 +6\n* 30\n+1 2\n\nfn=(2)\n7 25\n* 5\n"
        self.assertEqual(instructions.own_costs(dump), {"outer": 14, "inner": 30})


if __name__ == "__main__":
    unittest.main()
