"""Anthropic's door through nginx, asked by the official SDKs of both majors and by the AI SDK; over a lane that speaks chat completions, and over one that speaks messages itself."""

import json

import pytest
from clients import run_node, run_python

# The lane that speaks chat completions, and the one that speaks messages itself.
LANES = [("openai", "sim-chat", "sim-reasoner"), ("anthropic", "asim-chat", "asim-reasoner")]

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "What the weather is.", "input_schema": CITY}
CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {}}}


def call(name, arguments):
    return {"name": name, "arguments": arguments}


def cases(simulator, model, thinking):
    """What each client is asked to go through: the body, and what the model answers."""

    def case(name, script, model=model, **body):
        body = {"model": model, "max_tokens": 4096, "messages": [{"role": "user", "content": "please"}], **body}
        return {"name": name, "simulator": simulator, "script": script, "body": body}

    think = {"type": "enabled", "budget_tokens": 2048}
    return [
        case("text", {"text": "Hello, 世界 👋\n\"x\""}, system="be brief"),
        case("thinking", {"text": "so it is", "reasoning": "let me\nsee"}, thinking, thinking=think),
        case("call", {"calls": [call("weather", '{"city": "Oslo"}')]}, tools=[WEATHER]),
        case("no arguments", {"calls": [call("clock", "{}")]}, tools=[CLOCK]),
        case("two calls", {"calls": [call("weather", '{"city": "Oslo"}'), call("clock", "{}")]}, tools=[WEATHER, CLOCK]),
        case("text and call", {"text": "I look.", "calls": [call("weather", '{"city": "Oslo"}')]}, tools=[WEATHER]),
        case("stop text", {"text": "one two three"}, stop_sequences=["never", "two"]),
    ]


CLIENTS = {
    "anthropic-python 2": lambda asked: run_python("messages.py", asked, "anthropic-2.14.0"),
    "anthropic-python 0": lambda asked: run_python("messages.py", asked, "anthropic-0.125.0"),
    "anthropic-node 1": lambda asked: run_node("messages.mjs", asked),
}


def blocks(message):
    """The blocks but for what is new in each answer, and for what an SDK adds."""
    kept = {"text": ("type", "text"), "thinking": ("type", "thinking"), "tool_use": ("type", "name", "input")}
    return [{name: block[name] for name in kept[block["type"]]} for block in message["content"]]


@pytest.mark.parametrize(("lane", "model", "thinking"), LANES)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_sdks_accumulate_what_was_said(gateway, client, lane, model, thinking):
    asked = {"url": gateway.url, "key": gateway.key, "cases": cases(gateway.simulators[lane].url, model, thinking)}
    told = CLIENTS[client](asked)
    assert len(told["models"]) > 2, "pages are turned"
    for case in asked["cases"]:
        name, result = case["name"], told["cases"][case["name"]]
        assert "error" not in result, f"{name}: {result}"
        raw = [event["type"] for event in result["raw"] if event["type"] != "ping"]
        assert (raw[0], raw[-2:]) == ("message_start", ["message_delta", "message_stop"]), name
        assert [event["index"] for event in result["raw"] if event["type"] == "content_block_start"] == list(range(raw.count("content_block_start")))
        final, whole = result["final"], result["whole"]
        assert blocks(final) == blocks(whole), name
        assert final["stop_reason"] == whole["stop_reason"] and final.get("stop_sequence") == whole.get("stop_sequence"), name
        # A stream that the gateway has cut at a stop text never comes to the upstream's own count.
        if name != "stop text" or lane == "anthropic":
            assert final["usage"]["output_tokens"] == whole["usage"]["output_tokens"], name
        assert result["raw"][0]["message"]["usage"]["input_tokens"] > 0 and result["counted"] > 0
        assert result["request_id"]
    one = {name: result["whole"] for name, result in told["cases"].items()}
    assert blocks(one["text"]) == [{"type": "text", "text": "Hello, 世界 👋\n\"x\""}]
    assert blocks(one["thinking"]) == [{"type": "thinking", "thinking": "let me\nsee"}, {"type": "text", "text": "so it is"}]
    weather = {"type": "tool_use", "name": "weather", "input": {"city": "Oslo"}}
    assert (blocks(one["call"]), one["call"]["stop_reason"]) == ([weather], "tool_use")
    assert blocks(one["no arguments"]) == [{"type": "tool_use", "name": "clock", "input": {}}]
    assert [block["name"] for block in blocks(one["two calls"])] == ["weather", "clock"]
    assert blocks(one["text and call"]) == [{"type": "text", "text": "I look."}, weather]
    stopped = one["stop text"]
    assert (blocks(stopped)[0]["text"], stopped["stop_reason"], stopped["stop_sequence"]) == ("one ", "stop_sequence", "two")
    # What an upstream of this dialect has sealed comes back to it; nobody else's thoughts have a seal.
    seal = told["cases"]["thinking"]["final"]["content"][0]["signature"]
    assert bool(seal) == (lane == "anthropic")


@pytest.mark.parametrize(("lane", "model", "thinking"), LANES)
def test_the_ai_sdk(gateway, lane, model, thinking):
    asked = cases(gateway.simulators[lane].url, model, thinking)
    told = run_node("messages_ai.mjs", {"url": gateway.url, "key": gateway.key, "cases": asked})
    for case in asked:
        result = told["cases"][case["name"]]
        assert "error" not in result, f"{case['name']}: {result}"
        assert result["streamed"] == result["whole"], case["name"]
    assert told["cases"]["text"]["whole"] == {"text": "Hello, 世界 👋\n\"x\"", "reasoning": "", "calls": [], "finish": "stop"}
    assert told["cases"]["call"]["whole"]["calls"] == [{"name": "weather", "input": {"city": "Oslo"}}]
    assert told["cases"]["call"]["whole"]["finish"] == "tool-calls"
    assert told["cases"]["thinking"]["whole"]["reasoning"] == "let me\nsee"


@pytest.mark.parametrize("client", CLIENTS)
def test_the_sdks_raise_the_right_error(gateway, client):
    simulator = gateway.simulators["anthropic"]
    asked = cases(simulator.url, "asim-chat", "asim-reasoner")[:1]
    for fault, status, kind, words in [
        ("too_long", 400, "invalid_request_error", "prompt is too long: "),
        ("overloaded", 502, "api_error", "overloaded"),
        ("not_found", 404, "not_found_error", ""),
    ]:
        simulator.reset()
        simulator.fault(fault, times=9)
        told = CLIENTS[client]({"url": gateway.url, "key": gateway.key, "cases": asked})["cases"]["text"]
        assert told["status"] == status, told
        assert told["body"]["error"]["type"] == kind and words in told["body"]["error"]["message"].lower(), told
    told = CLIENTS[client]({"url": gateway.url, "key": gateway.key, "cases": [{**asked[0], "body": {**asked[0]["body"], "model": "nobody"}}]})
    assert told["cases"]["text"]["status"] == 404


def test_what_is_said_between_the_dialects(gateway):
    """Any door to any lane: the same question by each door, of each lane."""
    for lane, model, _ in LANES:
        with gateway.client() as client:
            gateway.simulators[lane].reset()
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "echo:here"}])
            assert answer.choices[0].message.content == "here"
            tools = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "weather?"}], tools=tools)
            made = answer.choices[0].message.tool_calls[0]
            assert json.loads(made.function.arguments)["city"]
            after = [{"role": "user", "content": "weather?"}, answer.choices[0].message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": made.id, "content": "fine"}]
            stream = client.chat.completions.create(model=model, messages=after, tools=tools, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert gateway.simulators[lane].state()["violations"] == []
