"""More programs, through nginx: `scripts/test programs` installs them. They are too large, or too slow, for each run of all tests."""

import pytest
from agents import Aider, Cline, Continue
from clients import run_python
from test_agents import MODELS, NOTE, works
from test_libraries import CALL, called, told


@pytest.fixture(params=MODELS, ids=[name for name, *_ in MODELS])
def model(request, gateway):
    simulator, name, is_web = request.param
    return gateway, simulator, name, is_web


@pytest.mark.parametrize("kind", [Cline, Continue])
def test_a_file_is_made_changed_and_read_back(model, tmp_path, kind):
    works(kind, tmp_path, model)


def test_aider_makes_and_changes_a_file(model, tmp_path):
    agent = Aider(model[0], tmp_path, *model[1:])
    note = agent.work / "note.txt"
    agent.says(f"note.txt\n```\n<<<<<<< SEARCH\n=======\n{NOTE}>>>>>>> REPLACE\n```\n")
    done = agent.run()
    assert done.returncode == 0 and note.read_text() == NOTE, done.said
    agent.says('note.txt\n```\n<<<<<<< SEARCH\none = "<a> & \\n"\n=======\ntwo = "<a> & \\n"\n>>>>>>> REPLACE\n```\n')
    done = agent.run()
    assert done.returncode == 0 and note.read_text() == NOTE.replace("one", "two"), done.said
    # It had the file before it as it was.
    assert "one = " in agent.asks()[-1]
    assert not agent.lane.state()["violations"]


def test_litellm(model):
    gateway, simulator, name, is_web = model
    call = called(CALL, text="I look.")
    cases = {
        "chat": ["Hello, 世界.", "Hello, 世界."],
        "tools": [call, call, "It is fair."],
        "anthropic chat": ["Hello.", "Hello."],
        "anthropic tools": [call, call, "It is fair."],
        "responses": ["Hello."],
        "completions": ["(a, b)"],
    }
    got = told((gateway, gateway.simulators[simulator], name, is_web), lambda asked: run_python("with_litellm.py", asked, "../more/litellm"), cases)
    assert got["chat"]["whole"] == got["chat"]["streamed"] == "Hello, 世界." and got["chat"]["usage"] > 0
    assert got["anthropic chat"]["whole"] == got["anthropic chat"]["streamed"] == got["responses"] == "Hello."
    assert got["tools"] == got["anthropic tools"] == {"whole": [list(CALL)], "streamed": [list(CALL)], "finish": "tool_calls", "then": "It is fair."}
    assert got["completions"] == "(a, b)"
