"""Coding agents, through nginx: each makes, changes and reads back a file, over a web chat whose tools are the gateway's, and over a lane that has tools."""

import pytest
from agents import OpenCode, QwenCode

MODELS = [("qwen", "qwen-plus", True), ("openai", "sim-chat", False)]
# What breaks when an argument is escaped, trimmed or decoded anywhere on its way.
NOTE = 'one = "<a> & \\n"\n\tünïcode 世界\n'


def works(kind, directory, model):
    agent = kind(model[0], directory, *model[1:])
    note = agent.work / "note.txt"
    agent.says(
        ("I write it.", agent.write(note, NOTE)),
        (None, agent.read(note)),
        (None, agent.replace(note, "one = ", "two = ")),
        (None, agent.read(note)),
        "It says two.",
        # Some ask once more when all is done.
        "Nothing more.",
    )
    done = agent.run()
    assert done.returncode == 0 and "It says two." in done.stdout, done.said
    assert note.read_text() == NOTE.replace("one", "two")
    asks = agent.asks()
    assert len(asks) in (5, 6) and "two = " in asks[4], asks[4][-3000:]
    assert not agent.lane.state()["violations"]


@pytest.mark.parametrize("kind", [OpenCode, QwenCode])
@pytest.mark.parametrize("model", MODELS, ids=[name for name, *_ in MODELS])
def test_a_file_is_made_changed_and_read_back(gateway, tmp_path, model, kind):
    works(kind, tmp_path, (gateway, *model))


@pytest.mark.parametrize("kind", [OpenCode, QwenCode])
def test_a_call_that_cannot_be_read_is_asked_again_unseen(gateway, tmp_path, kind):
    agent = kind(gateway, tmp_path, "qwen", "qwen-plus", True)
    note = agent.work / "note.txt"
    whole = agent.write(note, "made\n")
    agent.says("[B]\n[C " + whole[0], (None, whole), "Done at last.", "Nothing more.")
    done = agent.run()
    assert done.returncode == 0 and "Done at last." in done.stdout, done.said
    assert note.read_text() == "made\n"
