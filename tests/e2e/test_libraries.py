"""Libraries that people build agents with, through nginx, as their own documentation has them used: over a web chat, whose tools and formats are
the gateway's, and over a lane that has its own. The model follows a script."""

import json
import subprocess
import sys

import httpx
import pytest
from clients import CLIENTS, environment, run_node, run_python
from scripted import answers

CALL = ("weather", {"city": "Oslo"})
CITY = {"name": "Oslo", "people": 700000}
# As models write it that have no formats: the gateway takes the words and the fence off, and makes a number of the text.
LOOSE = 'Here you are:\n```json\n{"name": "Oslo", "people": "700000"}\n```'
# Where the gateway is told of no schema, it takes off words and fence alone.
FENCED = LOOSE.replace('"700000"', "700000")
EXACT = '{"name": "Oslo", "people": 700000}'

# A simulator, its model, and whether tools and formats are emulated for it.
MODELS = [("qwen", "qwen-plus", True), ("openai", "sim-chat", False)]


@pytest.fixture(params=MODELS, ids=[name for name, *_ in MODELS])
def model(request, gateway):
    simulator, name, is_web = request.param
    return gateway, gateway.simulators[simulator], name, is_web


def told(model, run, cases):
    """What became of each case: its name, and what the model answers in it."""
    gateway, simulator, name, is_web = model
    asked = {"url": f"{gateway.url}/v1", "key": gateway.key, "model": name, "simulator": simulator.url}
    results = run(asked | {"cases": [{"name": case, "answers": answers(is_web, *said)} for case, said in cases.items()]})
    assert list(results) == list(cases)
    failed = {case: result for case, result in results.items() if isinstance(result, dict) and "error" in result}
    assert not failed, "\n".join(f"{case}: {result['error']}" for case, result in failed.items())
    assert not simulator.state()["violations"]
    return results


def text_of(model):
    """An answer in JSON, as well as this kind of model writes it."""
    return LOOSE if model[3] else EXACT


def called(*calls, text=None):
    return (text, *calls)


SDKS = {
    "openai-python 3": lambda asked: run_python("helpers.py", asked, "openai-3.57.0"),
    "openai-python 2": lambda asked: run_python("helpers.py", asked, "openai-2.8.1"),
    "openai-node 7": lambda asked: run_node("helpers.mjs", asked, "openai-7"),
    "openai-node 6": lambda asked: run_node("helpers.mjs", asked, "openai-6"),
}


@pytest.mark.parametrize("sdk", SDKS)
def test_the_helpers_of_the_official_sdks(model, sdk):
    is_python = "python" in sdk
    tool = "Weather" if is_python else "weather"
    call = called((tool, CALL[1]), text="I look.")
    cases = {
        "stream": ["Hello, 世界."],
        "stream calls": [call],
        "stream parsed": [text_of(model)],
        "parse": [text_of(model)],
        "parse calls": [call],
    }
    if not is_python:
        cases |= {"run tools": [call, "It is fair."], "run tools streamed": [call, "It is fair."]}
    got = told(model, SDKS[sdk], cases)
    assert (got["stream"]["text"], got["stream"]["finish"]) == ("Hello, 世界.", "stop") and got["stream"]["usage"] > 0
    assert got["stream calls"] == {"text": "I look.", "calls": [[tool, CALL[1]]], "finish": "tool_calls", "parsed": [CALL[1]]}
    assert got["stream parsed"]["parsed"] == got["parse"] == CITY
    assert got["parse calls"] == [CALL[1]]
    if not is_python:
        assert got["run tools"] == got["run tools streamed"] == "It is fair."


def test_langchain(model):
    call, fitting = called(CALL, text="I look."), text_of(model)
    cases = {
        "chat": ["Hello.", "Hello."],
        "tools": [call, call, "It is fair."],
        "agent": [call, called(CALL, CALL), "It is fair."],
        "json_schema": [fitting],
        "json_mode": [FENCED if model[3] else EXACT],
        "function_calling": [called(("City", CITY))],
        "strict function_calling": [called(("City", CITY))],
    }
    got = told(model, lambda asked: run_python("with_langchain.py", asked, "libraries"), cases)
    assert got["chat"]["whole"] == got["chat"]["streamed"] == "Hello." and got["chat"]["usage"] > 0
    assert got["tools"] == {"whole": [list(CALL)], "streamed": [list(CALL)], "then": "It is fair."}
    assert got["agent"] == [["human", "please"], ["ai", "I look."], ["tool", "fair in Oslo"], ["ai", ""], ["tool", "fair in Oslo"], ["tool", "fair in Oslo"], ["ai", "It is fair."]]
    assert got["json_schema"] == got["json_mode"] == got["function_calling"] == got["strict function_calling"] == CITY


def test_pydantic_ai(model):
    call, fitting = called(CALL, text="I look."), text_of(model)
    cases = {
        "tools": [call, "It is fair."],
        "tools by responses": [call, "It is fair."],
        "streamed": [called(CALL), "It is fair."],
        "tool output": [call, called(("final_result", CITY))],
        "native output": [call, fitting],
        "prompted output": [call, fitting],
    }
    got = told(model, lambda asked: run_python("with_pydantic_ai.py", asked, "libraries"), cases)
    assert got["tools"] == got["tools by responses"] == "".join(got["streamed"]) == "It is fair."
    assert got["tool output"] == got["native output"] == got["prompted output"] == CITY


def test_instructor(model):
    call, fitting, bare = called(("City", CITY)), text_of(model), FENCED if model[3] else EXACT
    cases = {"tools": [call], "strict tools": [call], "json": [bare], "json_schema": [fitting], "md_json": [FENCED], "partial tools": [called(("PartialCity", CITY))], "partial json": [bare]}
    got = told(model, lambda asked: run_python("with_instructor.py", asked, "instructor-1.17.0"), cases)
    assert all(result == CITY for result in got.values()), got


def test_llm(model, tmp_path):
    """The command line of that name, as its users type it."""
    gateway, simulator, name, is_web = model
    # As docs/clients.md has it.
    (tmp_path / "extra-openai-models.yaml").write_text(f"- model_id: hive\n  model_name: {name}\n  api_base: {gateway.url}/v1\n  api_key_name: hive\n  supports_schema: true\n  supports_tools: true\n")
    env = environment(LLM_USER_PATH=str(tmp_path), PYTHONPATH=str(CLIENTS / "python" / "libraries"), PYTHONNOUSERSITE="1", HOME=str(tmp_path))

    def llm(*arguments, said, given=None):
        for script in answers(is_web, *said):
            httpx.post(f"{simulator.url}/__sim/script", json=script).raise_for_status()
        done = subprocess.run([sys.executable, "-m", "llm", *arguments], env=env, input=given, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    llm("keys", "set", "hive", "--value", gateway.key, said=[])
    assert llm("-m", "hive", "please", said=["Hello, 世界."]) == "Hello, 世界."
    assert llm("-m", "hive", "--no-stream", "please", said=["Hello."]) == "Hello."
    assert json.loads(llm("-m", "hive", "--schema", "name, people int", "please", said=[text_of(model)])) == CITY
    function = "def weather(city: str) -> str:\n    return 'fair in ' + city\n"
    assert llm("-m", "hive", "--functions", function, "please", said=[called(CALL), "It is fair."]).endswith("It is fair.")
    assert not simulator.state()["violations"]
