"""Claude Code itself, through nginx, in front of a lane whose model follows a script: it makes, changes and reads back a file, and survives what goes wrong."""

import json
import signal
import subprocess
import time

import httpx
import pytest
from clients import MODULES, environment
from conftest import Gateway
from faults import HOW, PASSING, WEB_CHATS, Crowd, Taken, answers, has_done_its_task, notation, questions, started, survives

# A port that nobody listens on: whatever is asked beyond this machine fails at once.
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A gateway of its own: some faults put an account out of use for good."""
    gateway = Gateway(tmp_path_factory.mktemp("claude"))
    gateway.environment["MODEL_ROUTES"] = json.dumps({"claude-sonnet-4-5": ["sim/sim-chat"]})
    # Else a new worker would know of the account that the old one met refused.
    gateway.environment["STORE_URL"] = "memory:"
    gateway.up(workers=1)
    yield gateway
    gateway.script("down")


class Claude:
    def __init__(self, gateway, directory, lane, model):
        self.gateway, self.lane, self.model = gateway, gateway.simulators[lane], model
        self.home, self.work = directory / "home", directory / "work"
        for folder in (self.home, self.work):
            folder.mkdir(parents=True)
        self.lane.reset()

    def says(self, *answers, **more):
        """What the model says, one script an answer."""
        for answer in answers:
            # No calls but the script's: where it is silent about them, the simulated model calls the first tool.
            body = answer if isinstance(answer, dict) else {"text": answer, "calls": []}
            httpx.post(f"{self.lane.url}/__sim/script", json=body | more).raise_for_status()

    def run(self, prompt="Do what is to be done.", *arguments, seconds=180, base="", key=None):
        env = environment(
            HOME=str(self.home),
            CLAUDE_CONFIG_DIR=str(self.home),
            # As docs/clients.md has it.
            ANTHROPIC_BASE_URL=self.gateway.url + base,
            ANTHROPIC_AUTH_TOKEN=key or self.gateway.key,
            ANTHROPIC_MODEL=self.model,
            ANTHROPIC_DEFAULT_HAIKU_MODEL=self.model,
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            DISABLE_AUTOUPDATER="1",
            HTTP_PROXY=NOWHERE,
            HTTPS_PROXY=NOWHERE,
            NO_PROXY="127.0.0.1",
            no_proxy="127.0.0.1",
        )
        command = [str(MODULES / ".bin" / "claude"), "-p", prompt, "--allowedTools", "Bash", *arguments]
        before = self.posts()
        done = subprocess.run(command, cwd=self.work, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
        done.said = done.stdout + done.stderr
        # How often it has asked the gateway. A log line is written when an answer is over.
        time.sleep(1)
        done.posts = self.posts() - before
        return done

    def asks(self):
        return [call for call in self.lane.log() if call["step"] == "ask"]

    def posts(self):
        lines = [line for text in self.gateway.logs().values() for line in text.splitlines()]
        return sum('"method":"POST","path":"/v1/messages"' in line or '"path":"/anthropic/v1/messages"' in line for line in lines)


def bash(command):
    return {"name": "Bash", "arguments": json.dumps({"command": command, "description": "x"})}


@pytest.fixture(params=[("openai", "sim-chat"), ("anthropic", "asim-chat")], ids=["chat lane", "anthropic lane"])
def claude(request, gateway, tmp_path):
    return Claude(gateway, tmp_path, *request.param)


def test_a_text(claude):
    claude.says("All is well, 世界.")
    done = claude.run()
    assert done.returncode == 0 and "All is well, 世界." in done.stdout, done.said
    assert len(claude.asks()) == 1


def test_a_file_is_made_changed_and_read_back(claude):
    claude.says(
        {"text": "I begin.", "calls": [bash("printf 'one\\n' > note.txt")]},
        {"calls": [bash("sed -i s/one/two/ note.txt")]},
        {"calls": [bash("cat note.txt")]},
        "It says two.",
    )
    done = claude.run()
    assert done.returncode == 0 and "It says two." in done.stdout, done.said
    assert (claude.work / "note.txt").read_text() == "two\n"
    asks = claude.asks()
    assert len(asks) == 4
    assert "two" in json.dumps(asks[-1]["turns"][-3:])


def test_two_calls_at_once(claude):
    # The first takes longer, so that its result is the later one.
    claude.says({"text": "Both.", "calls": [bash("sleep 1; echo a > a"), bash("echo b > b")]}, "Done.")
    done = claude.run()
    assert done.returncode == 0 and "Done." in done.stdout, done.said
    assert (claude.work / "a").read_text() + (claude.work / "b").read_text() == "a\nb\n"
    assert len(claude.asks()) == 2


def test_an_error_after_the_text_is_survived(claude):
    claude.lane.fault("error_after_text", times=1)
    claude.says("It broke in the middle.", "And here is the rest.")
    done = claude.run()
    assert done.returncode == 0 and "rest" in done.stdout, done.said
    assert len(claude.asks()) == 2


def test_a_fault_before_the_text_is_survived(claude):
    # More often than the gateway tries by itself (three tries, with each of its accounts).
    claude.lane.fault("server_error", times=10)
    claude.says("Here after all.")
    done = claude.run()
    assert done.returncode == 0 and "Here after all." in done.stdout, done.said
    assert done.posts >= 2


def test_a_conversation_that_is_too_long_is_told_in_its_words(claude):
    claude.lane.fault("too_long" if claude.lane.name == "anthropic" else "context_length_exceeded", times=0)
    done = claude.run()
    assert "too long" in done.said.lower(), done.said


@pytest.mark.parametrize(("lane", "model", "fault"), [("openai", "sim-chat", "unauthorized"), ("anthropic", "asim-chat", "credit_spent")])
def test_a_lasting_fault_is_asked_once(own, tmp_path, lane, model, fault):
    claude = Claude(own, tmp_path, lane, model)
    claude.lane.fault(fault, times=0)
    done = claude.run()
    assert done.returncode != 0 or "API Error" in done.said, done.said
    accounts = {call["account"] for call in claude.asks()}
    assert len(claude.asks()) == len(accounts), "an account was asked again"
    # Its own word for it is obeyed: no second request.
    assert done.posts == 1, done.posts


def test_a_wrong_key_is_asked_once(gateway, tmp_path):
    claude = Claude(gateway, tmp_path, "openai", "sim-chat")
    done = claude.run(key="sk-wrong-0123456789")
    assert "401" in done.said or "API key" in done.said, done.said
    assert (done.posts, claude.asks()) == (1, []), done.said


def test_a_name_of_the_owners_and_the_other_base(gateway, own, tmp_path):
    claude = Claude(own, tmp_path, "openai", "claude-sonnet-4-5")
    httpx.delete(f"{claude.lane.url}/__sim/fault")
    claude.says("By another name.")
    # The account of the test before is out of use: this worker is a new one.
    own.script("roll")
    done = claude.run(base="/anthropic")
    assert done.returncode == 0 and "By another name." in done.stdout, done.said
    assert claude.asks()[0]["model"] == "sim-chat"


# --- what goes wrong around it ---


@pytest.mark.parametrize(("lane", "model"), WEB_CHATS)
def test_a_file_is_made_changed_and_read_back_over_a_web_chat(gateway, tmp_path, lane, model):
    """The model has no tools of its own: what Claude Code offers and what comes of it goes through the text."""
    claude = Claude(gateway, tmp_path, lane, model)
    note = claude.work / "note.txt"
    claude.says(
        notation("Write", file_path=note, content="one\nthree"),
        notation("Edit", file_path=note, old_string="one", new_string="two"),
        notation("Read", file_path=note),
        {"text": "It says two."},
    )
    done = claude.run("Do what is to be done.", "Write", "Edit", "Read")
    assert done.returncode == 0 and "It says two." in done.stdout, done.said
    assert note.read_text() == "two\nthree"
    asked = questions(claude.lane)
    assert len(asked) == 4
    assert "two" in asked[-1]["turns"][-1]["text"]
    assert not claude.lane.state()["violations"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    gateway = started(tmp_path_factory.mktemp("pair"), 2)
    yield gateway
    gateway.script("down")


FIRST = {"calls": [bash("printf 'one\\n' > note.txt")]}
TASK = [{"calls": [bash("sed -i s/one/two/ note.txt")]}, {"calls": [bash("cat note.txt")]}, "It says two."]


@pytest.mark.parametrize("how", HOW, ids=["sigterm", "sigkill"])
def test_a_worker_is_replaced_amid_the_task(pair, tmp_path, how):
    claude = Claude(pair, tmp_path, "openai", "sim-chat")
    slow = {"text": "I will look at it now and then say what there is to say of it.", "pace_ms": 250}
    if how == signal.SIGTERM:
        # The worker finishes what it has begun.
        claude.says({**slow, **FIRST}, *TASK)
    else:
        claude.says({**slow, "calls": []}, FIRST, *TASK)
    taken = Taken(pair, how)
    try:
        done = claude.run()
        worker = taken.is_gone()
        has_done_its_task(claude, done)
        assert len(claude.asks()) == (4 if how == signal.SIGTERM else 5)
        assert answers(pair, "/v1/messages")[-1]["worker"] not in ("", worker), "the other one has gone on"
    finally:
        pair.script("scale", "2")


@pytest.mark.parametrize(("fault", "more"), PASSING, ids=lambda it: it if isinstance(it, str) else "")
def test_a_passing_fault_is_survived(pair, tmp_path, fault, more):
    survives(Claude(pair, tmp_path, "openai", "sim-chat"), fault, more, FIRST, TASK)


def test_an_overload_is_waited_out(tmp_path):
    """The only place is taken: overloaded_error with Retry-After."""
    gateway = started(tmp_path / "full", 1, MAX_STREAMS="1")
    try:
        claude = Claude(gateway, tmp_path, "openai", "sim-chat")
        claude.says("Here after all.")
        crowd = Crowd(gateway, 5)
        done = claude.run()
        assert done.returncode == 0 and "Here after all." in done.stdout, done.said
        assert len(claude.asks()) == 1
        crowd.join()
        statuses = [answer["status"] for answer in answers(gateway, "/v1/messages")]
        assert statuses[0] in (503, 529) and statuses[-1] == 200, statuses
    finally:
        gateway.script("down")


@pytest.mark.parametrize(("lane", "model", "fault"), [("openai", "sim-chat", "finish_content_filter"), ("anthropic", "asim-chat", "refusal")])
def test_a_refusal_is_survived(pair, tmp_path, lane, model, fault):
    claude = Claude(pair, tmp_path, lane, model)
    claude.lane.fault(fault, times=1)
    claude.says("I would rather not.", "Gladly.")
    done = claude.run()
    # It asks once more, with a reminder.
    assert done.returncode == 0 and "Gladly." in done.stdout, done.said
    assert len(claude.asks()) == 2


@pytest.mark.parametrize("fault", ["forbidden", "not_json"])
def test_what_no_other_try_can_mend_hardly_reaches_the_service(pair, tmp_path, fault):
    """However often Claude Code asks, the service hears of it twice at most."""
    claude = Claude(pair, tmp_path, "openai", "sim-chat")
    claude.lane.fault(fault, times=0)
    done = claude.run()
    assert "API Error" in done.said or done.returncode != 0, done.said
    assert len(claude.asks()) <= 2, [call["account"] for call in claude.asks()]
