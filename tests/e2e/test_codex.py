"""Codex itself, through nginx, in front of a lane whose model follows a script: it creates, edits and reads back a file, and survives what goes wrong."""

import json
import signal
import subprocess
import time

import httpx
import pytest
from clients import MODULES, environment
from conftest import Gateway
from faults import HOW, PASSING, WEB_CHATS, Crowd, Taken, answers, has_done_its_task, notation, questions, started, survives

MODEL = "sim-chat"
# A port that nobody listens on: whatever is asked beyond this machine fails at once.
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A gateway of its own: some faults put an account out of use for good."""
    gateway = Gateway(tmp_path_factory.mktemp("codex"))
    # A name that Codex knows: it offers patches as free texts then.
    gateway.environment["MODEL_ROUTES"] = json.dumps({"gpt-5.5": ["sim/sim-chat"]})
    gateway.up(workers=1)
    yield gateway
    gateway.script("down")


class Codex:
    def __init__(self, gateway, directory, model=MODEL, lane="openai"):
        self.gateway, self.lane, self.model = gateway, gateway.simulators[lane], model
        self.home, self.work = directory / "home", directory / "work"
        for folder in (self.home, self.work):
            folder.mkdir(parents=True)
        # As docs/clients.md has it.
        (self.home / "config.toml").write_text(
            f'''model = "{model}"
model_provider = "hive"
check_for_update_on_startup = false

[model_providers.hive]
name = "hive2api"
base_url = "{gateway.url}/v1"
env_key = "HIVE_KEY"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 2

[analytics]
enabled = false
'''
        )
        self.lane.reset()

    def says(self, *answers, **more):
        """What the model says, one script an answer."""
        for answer in answers:
            # Without a word about calls the simulator makes up one of its own, as models do that are offered tools.
            body = answer if isinstance(answer, dict) else {"text": answer, "calls": []}
            httpx.post(f"{self.lane.url}/__sim/script", json=body | more).raise_for_status()

    def run(self, prompt="Do what is to be done.", *arguments, seconds=120):
        env = environment(
            HOME=str(self.home), CODEX_HOME=str(self.home), HIVE_KEY=self.gateway.key, HTTP_PROXY=NOWHERE, HTTPS_PROXY=NOWHERE, ALL_PROXY=NOWHERE, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1"
        )
        command = [str(MODULES / ".bin" / "codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", *arguments, prompt]
        self.before = self.responses()
        done = subprocess.run(command, cwd=self.work, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
        done.said = done.stdout + done.stderr
        return done

    def asks(self):
        return [call for call in self.lane.log() if call["step"] == "ask"]

    def responses(self):
        """How many requests for responses the gateway has answered."""
        lines = [line for text in self.gateway.logs().values() for line in text.splitlines()]
        return sum('"POST /v1/responses' in line or '"uri":"/v1/responses' in line or '"path":"/v1/responses' in line for line in lines)


def call(name, **arguments):
    return {"calls": [{"name": name, "arguments": json.dumps(arguments)}]}


@pytest.fixture(params=[("openai", "sim-chat"), ("responses", "rsim-chat")], ids=["chat lane", "responses lane"])
def codex(request, gateway, tmp_path):
    lane, model = request.param
    return Codex(gateway, tmp_path, model, lane)


def test_a_text(codex):
    codex.says("All is well, 世界.")
    done = codex.run()
    assert done.returncode == 0 and "All is well, 世界." in done.stdout, done.said
    assert len(codex.asks()) == 1


def test_a_file_is_made_changed_and_read_back(codex):
    codex.says(
        call("exec_command", cmd="printf 'one\\n' > note.txt"),
        call("exec_command", cmd="sed -i s/one/two/ note.txt"),
        call("exec_command", cmd="cat note.txt"),
        "It says two.",
    )
    done = codex.run()
    assert done.returncode == 0 and "It says two." in done.stdout, done.said
    assert (codex.work / "note.txt").read_text() == "two\n"
    asks = codex.asks()
    assert len(asks) == 4
    assert "two" in asks[-1]["turns"][-1]["text"]


def test_a_tool_in_a_namespace(codex):
    codex.says(call("multi_agent_v1__close_agent", target="nobody"), "There is no such agent.")
    done = codex.run()
    assert done.returncode == 0 and "There is no such agent." in done.stdout, done.said
    # Codex knew the tool; what it says of the agent is the tool's own answer.
    assert "unsupported call" not in codex.asks()[-1]["turns"][-1]["text"]


def test_wrong_arguments_and_unknown_tools_are_the_models_to_mend(codex):
    codex.says({"calls": [{"name": "exec_command", "arguments": '{"cmd": "ls'}]}, call("no_such_tool"), "I give up.")
    done = codex.run()
    assert done.returncode == 0 and "I give up." in done.stdout, done.said
    assert len(codex.asks()) == 3


PATCH = "*** Begin Patch\n*** Add File: made.txt\n+ä \"quoted\"\n+second\n*** End Patch\n"


# Right, and wrapped as models do it out of habit.
@pytest.mark.parametrize("text", [PATCH, f"```\n{PATCH}```", json.dumps({"command": ["apply_patch", PATCH]}), f"apply_patch <<'EOF'\n{PATCH}EOF"], ids=["plain", "fenced", "command", "heredoc"])
def test_a_patch(own, tmp_path, text):
    codex = Codex(own, tmp_path, "gpt-5.5")
    codex.says({"calls": [{"name": "apply_patch", "arguments": json.dumps({"input": text})}]}, "Patched.")
    done = codex.run()
    assert done.returncode == 0 and "Patched." in done.stdout, done.said
    assert (codex.work / "made.txt").read_text() == 'ä "quoted"\nsecond\n', codex.asks()[-1]["turns"][-1]


def test_two_calls_at_once(codex):
    codex.says({"text": "Both.", "calls": [call("exec_command", cmd="echo a > a")["calls"][0], call("exec_command", cmd="echo b > b")["calls"][0]]}, "Done.")
    done = codex.run()
    assert done.returncode == 0, done.said
    assert (codex.work / "a").read_text() + (codex.work / "b").read_text() == "a\nb\n"


def test_an_answer_that_is_too_long(codex):
    codex.lane.fault("finish_length", times=0)
    done = codex.run()
    assert "max_output_tokens" in done.said, done.said
    # The answer is incomplete for good: nobody asks again.
    assert len(codex.asks()) == 1


def test_a_conversation_that_is_too_long(codex):
    codex.lane.fault("context_length_exceeded", times=0)
    done = codex.run()
    assert done.returncode != 0 and "context window" in done.said, done.said
    assert len(codex.asks()) == 1


def test_a_stream_that_breaks_is_asked_again(codex):
    codex.lane.fault("error_after_text", times=1)
    codex.says("It broke in the middle.", "And here is the whole of it.")
    done = codex.run()
    assert done.returncode == 0 and "And here is the whole of it." in done.stdout, done.said
    assert len(codex.asks()) == 2


def test_a_silence_is_waited_out(gateway, tmp_path):
    codex = Codex(gateway, tmp_path)
    codex.says("Slow but sure.", pace_ms=16_000, piece_chars=100)
    done = codex.run("Wait.", "-c", "model_providers.hive.stream_idle_timeout_ms=14000")
    assert done.returncode == 0 and "Slow but sure." in done.stdout, done.said
    assert len(codex.asks()) == 1


@pytest.mark.parametrize(("lane", "model", "fault"), [("openai", "sim-chat", "unauthorized"), ("responses", "rsim-chat", "insufficient_quota")])
def test_a_lasting_fault_reaches_the_provider_once(own, tmp_path, lane, model, fault):
    codex = Codex(own, tmp_path, model, lane)
    codex.lane.fault(fault, times=0)
    done = codex.run()
    assert done.returncode != 0, done.said
    accounts = {call["account"] for call in codex.asks()}
    assert len(codex.asks()) == len(accounts), "an account was asked again"
    if fault == "insufficient_quota":
        # Final for Codex: it says so and asks no more.
        assert "quota" in done.said.lower(), done.said


# --- what goes wrong around it ---


@pytest.mark.parametrize(("lane", "model"), WEB_CHATS)
def test_a_file_is_made_changed_and_read_back_over_a_web_chat(gateway, tmp_path, lane, model):
    """The model has no tools of its own: what Codex offers and what comes of it goes through the text."""
    codex = Codex(gateway, tmp_path, model, lane)
    codex.says(
        notation("exec_command", cmd="printf 'one\\n' > note.txt"),
        notation("exec_command", cmd="sed -i s/one/two/ note.txt"),
        notation("exec_command", cmd="cat note.txt"),
        {"text": "It says two."},
    )
    done = codex.run()
    assert done.returncode == 0 and "It says two." in done.stdout, done.said
    assert (codex.work / "note.txt").read_text() == "two\n"
    asked = questions(codex.lane)
    assert len(asked) == 4
    assert "two" in asked[-1]["turns"][-1]["text"]
    assert not codex.lane.state()["violations"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    gateway = started(tmp_path_factory.mktemp("pair"), 2)
    yield gateway
    gateway.script("down")


TASK = [call("exec_command", cmd="sed -i s/one/two/ note.txt"), call("exec_command", cmd="cat note.txt"), "It says two."]
FIRST = call("exec_command", cmd="printf 'one\\n' > note.txt")


@pytest.mark.parametrize("how", HOW, ids=["sigterm", "sigkill"])
def test_a_worker_is_replaced_amid_the_task(pair, tmp_path, how):
    codex = Codex(pair, tmp_path)
    slow = {"text": "I will look at it now and then say what there is to say of it.", "pace_ms": 250}
    if how == signal.SIGTERM:
        # The worker finishes what it has begun.
        codex.says({**slow, **FIRST}, *TASK)
    else:
        codex.says({**slow, "calls": []}, FIRST, *TASK)
    taken = Taken(pair, how)
    try:
        done = codex.run()
        worker = taken.is_gone()
        has_done_its_task(codex, done)
        assert len(codex.asks()) == (4 if how == signal.SIGTERM else 5)
        time.sleep(1.5)
        assert answers(pair, "/v1/responses")[-1]["worker"] not in ("", worker), "the other one has gone on"
    finally:
        pair.script("scale", "2")


@pytest.mark.parametrize(("fault", "more"), PASSING, ids=lambda it: it if isinstance(it, str) else "")
def test_a_passing_fault_is_survived(pair, tmp_path, fault, more):
    survives(Codex(pair, tmp_path), fault, more, FIRST, TASK)


def test_an_overload_is_waited_out(tmp_path):
    """503 with Retry-After: the only place is taken."""
    gateway = started(tmp_path / "full", 1, MAX_STREAMS="1")
    try:
        codex = Codex(gateway, tmp_path)
        codex.says("Here after all.")
        crowd = Crowd(gateway, 5)
        # Its tries are over in two seconds otherwise.
        done = codex.run("Wait.", "-c", "model_providers.hive.stream_max_retries=12")
        assert done.returncode == 0 and "Here after all." in done.stdout, done.said
        assert len(codex.asks()) == 1
        crowd.join()
        time.sleep(1.5)
        statuses = [answer["status"] for answer in answers(gateway, "/v1/responses")]
        assert statuses[0] == 503 and statuses[-1] == 200, statuses
    finally:
        gateway.script("down")


def test_a_refused_question_is_told_and_the_session_goes_on(pair, tmp_path):
    codex = Codex(pair, tmp_path)
    codex.lane.fault("content_filter", times=1)
    codex.says("Gladly.")
    done = codex.run()
    assert "filter" in done.said, done.said
    assert len(codex.asks()) == 1, "it is final"
    done = codex.run("Something else, then.", "resume", "--last")
    assert done.returncode == 0 and "Gladly." in done.stdout, done.said
    assert len(codex.asks()) == 2


def test_an_answer_that_is_held_back_is_asked_for_again(pair, tmp_path):
    """`response.incomplete` with `content_filter`: unlike `max_output_tokens` that is not final for Codex."""
    codex = Codex(pair, tmp_path)
    codex.lane.fault("finish_content_filter", times=1)
    codex.says("I would rather not.", "Gladly.")
    done = codex.run()
    assert done.returncode == 0 and "Gladly." in done.stdout, done.said
    assert len(codex.asks()) == 2


@pytest.mark.parametrize("fault", ["forbidden", "not_json"])
def test_what_no_other_try_can_mend_hardly_reaches_the_service(pair, tmp_path, fault):
    """Codex asks again and again; the service hears of it twice at most."""
    codex = Codex(pair, tmp_path)
    codex.lane.fault(fault, times=0)
    done = codex.run()
    assert done.returncode != 0, done.said
    assert len(codex.asks()) <= 2, [call["account"] for call in codex.asks()]
    time.sleep(1.5)
    assert len(answers(pair, "/v1/responses")) > len(codex.asks())
