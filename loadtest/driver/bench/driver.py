"""Runs the load driver and reads its figures."""

import json
import os
import subprocess

from processes import LOAD_CORE, Failed, pinned


class Driver:
    """`hive2api-loadtest drive` on the load's core."""

    def __init__(self, bin, folder):
        self.bin, self.folder = bin, folder

    def command(self, gateway, *arguments, cumulative=False):
        file = self.folder / "drive.json"
        target = ["--url", f"{gateway.url}/v1"]
        if cumulative:
            target = gateway.cumulative if "--url" in gateway.cumulative else [*target, *gateway.cumulative]
        command = [self.bin / "hive2api-loadtest", "drive", "--quiet", "--json", file, *target]
        if gateway.sessions:
            command.append("--sessions")
        command += [*gateway.watched(), *arguments]
        return pinned(LOAD_CORE, command), {**os.environ, "DRIVE_KEY": gateway.key}

    def start(self, gateway, *arguments, **options):
        """In the background; `finish` waits for it."""
        command, env = self.command(gateway, *arguments, **options)
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(self, running, gateway):
        _, said = running.communicate(timeout=3600)
        if running.returncode not in (0, 1):
            raise Failed(f"the driver against {gateway.name}: {said.decode(errors='replace').strip()}")
        return Figures(json.loads((self.folder / "drive.json").read_text()))

    def run(self, gateway, *arguments, **options):
        return self.finish(self.start(gateway, *arguments, **options), gateway)


class Figures:
    """One run of the driver."""

    def __init__(self, results):
        self.results, self.load = results, results["load"]

    @property
    def errors(self):
        held = self.results.get("held") or {}
        missing = self.results["settings"]["hold"] - self.results["open_streams"]
        return self.load["errors"] + max(held.get("errors", 0), missing)

    def what_failed(self):
        groups = [self.load, self.results.get("held") or {}]
        return {why: count for group in groups for why, count in group.get("failures", {}).items()}

    def cpu_us(self, per):
        """CPU time of all watched processes for each request or piece; None when none is watched."""
        if not self.results["watched"]:
            return None
        cpu = sum(watched["cpu_seconds"] for watched in self.results["watched"])
        count = self.load[per] + (self.results.get("held") or {}).get(per, 0)
        return cpu * 1e6 / count if count else None

    def time_us(self, kind, quantile):
        """None when nothing came through."""
        return self.load["times"].get(kind, {}).get(quantile)

    @property
    def kib_per_stream(self):
        watched = self.results["watched"]
        grown = sum(one["pss_kib_at_end"] - one["pss_kib_at_rest"] for one in watched)
        return grown / max(self.results["open_streams"], 1)
