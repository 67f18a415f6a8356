"""Responses, through nginx, asked by the official SDKs of two majors each, by the AI SDK, and to the byte."""

import json

import httpx
import pytest
from clients import run_node, run_python

# The lane that speaks chat completions, and the one that speaks Responses itself.
LANES = [("openai", "sim-chat", "sim-reasoner"), ("responses", "rsim-chat", "rsim-reasoner")]

OBJECT = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "name": "weather", "description": "What the weather is.", "parameters": OBJECT, "strict": False}
CLOCK = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}, "strict": False}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Changes files."}
SPACE = {"type": "namespace", "name": "agents", "description": "Agents.", "tools": [{"type": "function", "name": "spawn", "parameters": OBJECT, "strict": False}]}

TEXT = "*** Begin Patch\n*** Add File: a.txt\n+ä \"quoted\"\n*** End Patch"


def call(name, arguments):
    return {"name": name, "arguments": arguments}


def cases(simulator, model, thinking, is_chat):
    """What each client is asked to go through: the body, and what the model answers."""

    def case(name, script, model=model, parse=False, **body):
        return {"name": name, "simulator": simulator, "script": script, "parse": parse, "body": {"model": model, "input": "please", **body}}

    # An upstream of chat completions knows no free texts: there it is a function's argument.
    return [
        case("text", {"text": "Hello, 世界 👋\n"}),
        case("thinking", {"text": "so it is", "reasoning": "let me see"}, thinking, reasoning={"summary": "auto"}),
        case("call", {"calls": [call("weather", '{"city": "Oslo"}')]}, tools=[WEATHER]),
        case("no arguments", {"calls": [call("clock", "")]}, tools=[CLOCK]),
        case("two calls", {"calls": [call("weather", '{"city": "Oslo"}'), call("clock", "{}")]}, tools=[WEATHER, CLOCK]),
        case("text and call", {"text": "I look.", "calls": [call("weather", '{"city": "Oslo"}')]}, tools=[WEATHER]),
        case("custom", {"calls": [call("apply_patch", json.dumps({"input": TEXT}) if is_chat else TEXT)]}, tools=[PATCH]),
        case("namespace", {"calls": [call("agents__spawn", '{"city": "Oslo"}')]}, tools=[SPACE]),
        case("parsed", {"text": '{"name": "Oslo", "people": 700000}'}, parse=True),
    ]


def items(response):
    """The items but for the ids, which are new in each answer, and for what an SDK adds."""

    def known(item):
        return {name: value for name, value in item.items() if value is not None and name not in ("id", "call_id", "parsed_arguments", "encrypted_content")}

    found = []
    for item in response["output"]:
        item = known(item)
        if "content" in item:
            item["content"] = [{name: value for name, value in part.items() if name in ("type", "text", "refusal")} for part in item["content"]]
        found.append(item)
    return found


def texts(response):
    return "".join(part.get("text") or "" for item in response["output"] for part in item.get("content") or [])


CLIENTS = {
    "openai-python 3": lambda asked: run_python("responses.py", asked, "openai-3.57.0"),
    "openai-python 2": lambda asked: run_python("responses.py", asked, "openai-2.8.1"),
    "openai-node 7": lambda asked: run_node("responses.mjs", asked, "openai-7"),
    "openai-node 6": lambda asked: run_node("responses.mjs", asked, "openai-6"),
}


@pytest.mark.parametrize(("lane", "model", "thinking"), LANES)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_sdks_accumulate_what_was_said(gateway, client, lane, model, thinking):
    simulator = gateway.simulators[lane].url
    asked = {"url": f"{gateway.url}/v1", "key": gateway.key, "cases": cases(simulator, model, thinking, lane == "openai")}
    told = CLIENTS[client](asked)
    for case in asked["cases"]:
        name, result = case["name"], told["cases"][case["name"]]
        assert "error" not in result, f"{name}: {result}"
        assert result["events"][0] == "response.created" and result["events"][-1] == "response.completed", name
        raw = result["raw"]
        assert [event["sequence_number"] for event in raw] == list(range(len(raw))), name
        last = raw[-1]["response"]
        assert items(result["final"]) == items(last) == items(result["whole"]), name
        assert result["whole"]["status"] == last["status"] == "completed"
        usage = result["whole"]["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    one = told["cases"]
    assert texts(one["text"]["whole"]) == "Hello, 世界 👋\n"
    assert [item["type"] for item in items(one["thinking"]["whole"])] == ["reasoning", "message"]
    assert items(one["call"]["whole"]) == [{"type": "function_call", "name": "weather", "arguments": '{"city": "Oslo"}', "status": "completed"}]
    assert items(one["no arguments"]["whole"])[0]["arguments"] == "{}"
    assert [item["name"] for item in items(one["two calls"]["whole"])] == ["weather", "clock"]
    assert [item["type"] for item in items(one["text and call"]["whole"])] == ["message", "function_call"]
    assert items(one["custom"]["whole"]) == [{"type": "custom_tool_call", "name": "apply_patch", "input": TEXT}]
    spawned = items(one["namespace"]["whole"])[0]
    assert (spawned["namespace"], spawned["name"]) == ("agents", "spawn")
    assert one["parsed"]["parsed"] == one["parsed"]["stream_parsed"] == {"name": "Oslo", "people": 700000}


@pytest.mark.parametrize(("lane", "model", "thinking"), LANES)
def test_the_ai_sdk(gateway, lane, model, thinking):
    simulator = gateway.simulators[lane].url
    # It knows functions alone.
    asked = [case for case in cases(simulator, model, thinking, lane == "openai") if case["name"] not in ("custom", "namespace")]
    told = run_node("responses_ai.mjs", {"url": f"{gateway.url}/v1", "key": gateway.key, "cases": asked})
    for case in asked:
        result = told["cases"][case["name"]]
        assert "error" not in result, f"{case['name']}: {result}"
        assert result["streamed"] == result["whole"], case["name"]
    assert told["cases"]["text"]["whole"] == {"text": "Hello, 世界 👋\n", "reasoning": "", "calls": [], "finish": "stop"}
    assert told["cases"]["call"]["whole"]["calls"] == [{"name": "weather", "input": {"city": "Oslo"}}]
    assert told["cases"]["call"]["whole"]["finish"] == "tool-calls"


def test_what_is_not_kept_is_not_found(gateway):
    headers = gateway.headers()
    for method, path, status, code in [
        ("GET", "/v1/responses/resp_1", 404, "response_not_found"),
        ("DELETE", "/v1/responses/resp_1", 404, "response_not_found"),
        ("POST", "/v1/responses/resp_1/cancel", 404, "response_not_found"),
        ("GET", "/v1/responses/resp_1/input_items", 404, "response_not_found"),
        ("POST", "/v1/responses/compact", 404, "not_found"),
        ("GET", "/v1/responses", 405, "method_not_allowed"),
    ]:
        answer = httpx.request(method, gateway.url + path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), path
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    answer = httpx.get(f"{gateway.url}/v1/responses", headers=headers | upgrade, timeout=5)
    assert answer.status_code in (404, 405, 426) and answer.json()["error"]["code"]


def test_errors_are_spelled_as_openais(gateway):
    answer = httpx.post(f"{gateway.url}/v1/responses", json={"model": "sim-chat", "input": "hi"}, headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    answer = httpx.post(f"{gateway.url}/v1/responses", json={"model": "sim-chat", "input": "hi", "previous_response_id": "resp_1"}, headers=gateway.headers())
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("unsupported_parameter", "previous_response_id")
