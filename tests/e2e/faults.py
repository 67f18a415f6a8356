"""What the tests of coding agents have in common: a gateway that bears faults, a model without tools, and a worker that is taken away amid a task."""

import json
import os
import signal
import threading

import httpx
from conftest import Gateway
from edge import wait_until

# Web chats, which have no tools: all of these are the gateway's own.
WEB_CHATS = [("qwen", "qwen-plus"), ("deepseek", "deepseek-chat"), ("kimi", "kimi")]


# Faults that pass, amid a task, and what they are ordered with.
PASSING = [
    ("rate_limited_retry_after", {"times": 1, "retry_after": 1}),
    ("overloaded", {"times": 4}),
    ("server_error", {"times": 4}),
    ("disconnect_after_text", {"times": 1}),
    ("error_after_text", {"times": 1}),
]


def started(directory, workers, **settings):
    """A gateway whose accounts are soon well again after a fault."""
    directory.mkdir(exist_ok=True)
    gateway = Gateway(directory)
    gateway.environment |= {"COOLDOWN_BASE_SECONDS": "0.2", "RETRY_DELAYS_MS": "10,20", **settings}
    gateway.up(workers=workers)
    return gateway


def notation(name, **arguments):
    """A call as a model writes it that was told of tools (the simulators' notation)."""
    values = "".join(f"[A {key}]⏎{value}⏎[/A]⏎" for key, value in arguments.items())
    return {"text": f"[B]⏎[C {name}]⏎{values}[/C]⏎[/B]", "notation": True}


def has_done_its_task(agent, done):
    """The agent has ended well, said so, and changed the note."""
    assert done.returncode == 0 and "It says two." in done.stdout, done.said
    assert (agent.work / "note.txt").read_text() == "two\n"


def survives(agent, fault, more, first, task):
    """The agent does its task though a fault strikes amid it: the first answer is a good one."""
    agent.says(first)
    if fault.endswith("after_text"):
        # This one is lost on the way.
        agent.says("It broke in the middle of a long sentence.")
    agent.says(*task)
    agent.lane.fault("slow_headers", times=1, delay_ms=1)
    agent.lane.fault(fault, **more)
    has_done_its_task(agent, agent.run())
    assert len(agent.asks()) >= 4 + 1


def questions(simulator):
    """The questions that a simulator was asked, whatever its service calls that."""
    return [call for call in simulator.log() if call.get("turns")]


def answers(gateway, path):
    """What nginx has written down of the answers on a path; each line as its answer ends."""
    lines = [line for line in gateway.logs().get("access", "").splitlines() if f'"path":"{path}"' in line]
    return [json.loads(line) for line in lines]


def streams(url):
    """How many streams a worker has open."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("hive_open_streams{"))


class Taken(threading.Thread):
    """Ends the worker that is answering, amid its answer; `how` by a signal."""

    def __init__(self, gateway, how):
        super().__init__(daemon=True)
        self.gateway, self.how = gateway, how
        self.worker = self.problem = None
        self.start()

    def run(self):
        try:
            worker = wait_until(self.busy, 60)
            self.pid = self.gateway.pid(worker)
            os.kill(self.pid, self.how)
            self.worker = worker
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.problem = error

    def busy(self):
        return next((name for name, url in self.gateway.workers().items() if streams(url) > 0), None)

    def is_gone(self):
        self.join()
        assert self.problem is None, self.problem
        wait_until(lambda: not os.path.exists(f"/proc/{self.pid}/exe"), 30)
        return self.worker


HOW = [signal.SIGTERM, signal.SIGKILL]


class Crowd(threading.Thread):
    """Keeps the only place of a gateway taken for a while."""

    def __init__(self, gateway, seconds):
        super().__init__(daemon=True)
        self.gateway, self.seconds, self.text = gateway, seconds, ""
        self.start()
        wait_until(lambda: self.text, 10)

    def run(self):
        with self.gateway.client() as client:
            question = [{"role": "user", "content": f"pace:100 count:{self.seconds * 10}"}]
            for chunk in client.chat.completions.create(model="qwen-plus", messages=question, stream=True):
                self.text += "".join(choice.delta.content or "" for choice in chunk.choices)
