"""Processes that are started, pinned, found again and ended by their id; and what the kernel says of them."""

import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

# The gateway under test has a core for itself; what makes and answers the load has the other.
GATEWAY_CORE, LOAD_CORE = "0", "1"


class Failed(Exception):
    """A process did not do what the measurement needs."""


def raise_file_limit():
    """Two connections a stream, and many streams; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(core, command):
    """The command on one core, as far as this machine has so many."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[int(core) % len(cores)]), *map(str, command)]


class Process:
    """One child; its output goes to a file in the run's folder."""

    # Whatever goes wrong in between, the run ends what it has started.
    started = []

    def __init__(self, name, command, folder, env=None, core=GATEWAY_CORE):
        self.name, self.log = name, Path(folder) / f"{name}.log"
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                pinned(core, command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self.pid = self.child.pid
        Process.started.append(self)

    def wait_port(self, port, seconds=30):
        """Until somebody listens on the port."""

        def listens():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
            return True

        self.wait_until(listens, seconds)

    def wait_until(self, is_ready, seconds=30):
        """Until it is so, as long as the process lives."""
        for _ in range(seconds * 20):
            if self.child.poll() is not None:
                break
            if is_ready():
                return
            time.sleep(0.05)
        raise Failed(f"{self.name} did not start:\n{self.last_words()}")

    def last_words(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])

    def stop(self, with_signal=signal.SIGINT):
        """Asks it to end, and insists after a while."""
        if self not in Process.started:
            return
        Process.started.remove(self)
        for one, seconds in ((with_signal, 5), (signal.SIGKILL, 5)):
            if self.child.poll() is None:
                # Its own session: whatever it has started goes with it.
                os.killpg(self.pid, one)
                try:
                    self.child.wait(seconds)
                except subprocess.TimeoutExpired:
                    continue
        # A leader that is gone may have left others of its session behind.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def stop_all():
    """Ends what nobody has ended yet, the latest first."""
    for process in reversed(Process.started[:]):
        process.stop(signal.SIGTERM)


def descendants(pid):
    """The process and all below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = parent_of((entry / "stat").read_text())
            except OSError:
                continue
    found = [pid]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    return found


# Threads of a worker that work beside requests, every few seconds; its main thread is a third.
BESIDE = ("store", "allocator")


def answering(pid):
    """The threads of a process that answer, by the system's numbers."""
    threads = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda it: int(it.name))
    named = {int(it.name): (it / "comm").read_text().strip() for it in threads}
    return [thread for thread, name in named.items() if name not in BESIDE and (thread != pid or len(named) == 1)]


def parent_of(stat):
    """The parent in a line of /proc/PID/stat, whose name may hold blanks and brackets."""
    return int(stat.rpartition(") ")[2].split()[1])


def pss_kib(pids):
    """Proportional set size of the processes and all below them."""
    total = 0
    for pid in {one for pid in pids for one in descendants(pid)}:
        try:
            total += pss_of(Path(f"/proc/{pid}/smaps_rollup").read_text())
        except OSError:
            continue
    return total


def pss_of(rollup):
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
