"""Chat pages that people run beside the gateway. They are too large to run here: these are the requests that their published sources make, in the
shape and order in which they make them, and what they need of the answers is read by their rules, not by an SDK's."""

import json

import httpx
import pytest
from scripted import answer

MODELS = [("qwen", "qwen-plus", True), ("openai", "sim-chat", False)]
TOOL = {"type": "function", "function": {"name": "weather", "description": "What the weather is.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


@pytest.fixture(params=MODELS, ids=[name for name, *_ in MODELS])
def model(request, gateway):
    simulator, name, is_web = request.param

    def says(text, *calls):
        httpx.post(f"{gateway.simulators[simulator].url}/__sim/script", json=answer(is_web, text, *calls)).raise_for_status()

    return gateway, name, says


def events(response):
    """The events as text, without the comments between them."""
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    return [event.removeprefix("data: ") for event in response.text.split("\n\n") if event and not event.startswith(":")]


def next_chat(gateway, body):
    """A page of NextChat with an endpoint of one's own: the browser asks by itself. Returns text, thoughts and calls as it gathers them."""
    origin, url = {"Origin": "https://chat.example"}, f"{gateway.url}/v1/chat/completions"
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,x-requested-with"}
    allowed = httpx.options(url, headers=origin | wish)
    assert allowed.is_success
    granted = allowed.headers["access-control-allow-headers"].lower()
    assert all(name in granted for name in wish["Access-Control-Request-Headers"].split(","))
    response = httpx.post(url, headers=gateway.headers(**origin, **{"x-requested-with": "XMLHttpRequest", "Accept": "application/json"}), json=body, timeout=60)
    assert response.headers["access-control-allow-origin"] in ("*", origin["Origin"])
    text, thoughts, calls = "", "", []
    for event in events(response):
        if event == "[DONE]":
            break
        choices = json.loads(event)["choices"]
        if not choices:
            continue
        delta = choices[0]["delta"]
        if delta.get("tool_calls"):
            call = delta["tool_calls"][0]
            # Whenever there is an id, a new call begins; everything else belongs to the last one.
            if call.get("id"):
                calls.append({"id": call["id"], "type": call["type"], "function": dict(call["function"])})
            else:
                calls[-1]["function"]["arguments"] += call["function"]["arguments"]
        thoughts += delta.get("reasoning_content") or delta.get("reasoning") or ""
        text += delta.get("content") or ""
    return text, thoughts, calls


def test_nextchat(model):
    gateway, name, says = model
    body = {
        "messages": [{"role": "system", "content": "\nYou are ChatGPT."}, {"role": "user", "content": "please"}],
        "stream": True, "model": name, "temperature": 0.5, "presence_penalty": 0, "frequency_penalty": 0, "top_p": 1,
    }  # fmt: skip
    says("Hello, 世界.")
    assert next_chat(gateway, body) == ("Hello, 世界.", "", [])
    # With a plugin: its calls, and then their results, of which it sends a name as well.
    says("I look.", ("weather", {"city": "Oslo"}))
    text, _, calls = next_chat(gateway, body | {"tools": [TOOL]})
    assert text == "I look." and [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls] == [("weather", {"city": "Oslo"})]
    body["messages"] += [{"role": "assistant", "tool_calls": calls}, {"role": "tool", "tool_call_id": calls[0]["id"], "name": "weather", "content": "fair"}]
    says("It is fair.")
    assert next_chat(gateway, body | {"tools": [TOOL]})[0] == "It is fair."
    # The title of a chat, in one piece.
    says("Weather")
    titled = httpx.post(f"{gateway.url}/v1/chat/completions", headers=gateway.headers(), json=body | {"stream": False}, timeout=60).json()
    assert titled["choices"][0]["message"]["content"] == "Weather"
    # An account's balance: it reads `error.type` of whatever comes.
    for path in ("dashboard/billing/usage?start_date=2026-11-01&end_date=2026-11-30", "dashboard/billing/subscription"):
        balance = httpx.get(f"{gateway.url}/{path}", headers=gateway.headers())
        assert balance.status_code == 404 and balance.json()["error"]["type"]


def test_open_webui(model):
    gateway, name, says = model
    # It takes the list as it is, and drops entries whose `name` is null.
    headers = gateway.headers(**{"X-OpenWebUI-User-Name": "Ann", "X-OpenWebUI-User-Id": "u1", "X-OpenWebUI-User-Role": "user"})
    listed = httpx.get(f"{gateway.url}/v1/models", headers=headers).json()["data"]
    assert name in [entry["id"] for entry in listed] and all(entry.get("name", "") is not None for entry in listed)
    headers["X-OpenWebUI-Chat-Id"] = "c-4711"
    body = {"stream": True, "model": name, "messages": [{"role": "user", "content": "please"}], "stream_options": {"include_usage": True}}
    workers = set()
    for _ in range(3):
        says("Hello.")
        response = httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, json=body, timeout=60)
        workers.add(response.headers["x-hive-worker"])
        came = events(response)
        assert came.pop() == "[DONE]"
        chunks = [json.loads(event) for event in came]
        assert "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]) == "Hello."
        assert chunks[-1]["usage"]["total_tokens"] > 0
    # The chat's own id keeps it on one worker.
    assert len(workers) == 1
    # Tools of its own ("native" function calling), whose results it sends back with its own texts around.
    says(None, ("weather", {"city": "Oslo"}))
    chunks = [json.loads(event) for event in events(httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, json=body | {"tools": [TOOL]}, timeout=60))[:-1]]
    calls = [call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls") or []]
    assert {call["index"] for call in calls} == {0} and calls[0]["function"]["name"] == "weather"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Oslo"}
    # A title: one user's turn, and the JSON that it looks for between the first brace and the last.
    says('{"title": "Weather"}')
    task = {"model": name, "messages": [{"role": "user", "content": '### Task:\nGenerate a title.\nJSON format: { "title": "..." }'}], "stream": False, "max_completion_tokens": 1000}
    titled = httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, json=task, timeout=60).json()["choices"][0]["message"]["content"]
    assert json.loads(titled[titled.index("{") : titled.rindex("}") + 1]) == {"title": "Weather"}
    # A connection without a key: it shows the error's own message.
    refused = httpx.get(f"{gateway.url}/v1/models", headers={"Authorization": "Bearer"})
    assert refused.status_code == 401 and refused.json()["error"]["message"]


def test_lobechat(model):
    gateway, name, says = model
    # The rules of its stream: no text in the chunk that ends a choice, thoughts and text never in one delta, usage in a chunk without choices.
    body = {
        "messages": [{"role": "system", "content": ""}, {"role": "user", "content": [{"type": "text", "text": "please"}]}],
        "model": name, "stream": True, "temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "user": "u1", "stream_options": {"include_usage": True},
    }  # fmt: skip
    headers = gateway.headers(Accept="*/*", **{"X-Stainless-Lang": "js"})
    says("I look.", ("weather", {"city": "Oslo"}))
    came = events(httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, json=body | {"tools": [TOOL]}, timeout=60))
    assert came.pop() == "[DONE]"
    chunks = [json.loads(event) for event in came]
    ends = [choice for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert [end["finish_reason"] for end in ends] == ["tool_calls"] and not ends[0]["delta"].get("content")
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert not any(delta.get("content") and delta.get("reasoning_content") for delta in deltas)
    calls = [call for delta in deltas for call in delta.get("tool_calls") or []]
    # By index, with id and name in the first.
    assert calls[0]["id"] and calls[0]["function"]["name"] == "weather" and all("id" not in call or call["id"] == calls[0]["id"] for call in calls)
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] > 0
    body["messages"] += [
        {"role": "assistant", "content": "I look.", "tool_calls": [{"id": calls[0]["id"], "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}]},
        {"role": "tool", "content": "fair", "name": "weather", "tool_call_id": calls[0]["id"]},
    ]
    says("It is fair.")
    came = events(httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, json=body | {"tools": [TOOL]}, timeout=60))
    assert "".join(choice["delta"].get("content") or "" for event in came[:-1] for choice in json.loads(event)["choices"]) == "It is fair."
    # Topics are named by a format, in one piece.
    says('{"title": "Weather"}')
    schema = {"name": "topic", "schema": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"], "additionalProperties": False}, "strict": True}
    topic = httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, json={"model": name, "messages": body["messages"][:2], "response_format": {"type": "json_schema", "json_schema": schema}, "user": "u1"}, timeout=60)
    assert json.loads(topic.json()["choices"][0]["message"]["content"]) == {"title": "Weather"}
    # With "Use Responses API" switched on.
    says(None, ("weather", {"city": "Oslo"}))
    items = {"input": [{"role": "user", "content": [{"type": "input_text", "text": "please"}]}], "model": name, "stream": True, "store": False, "temperature": 1, "tools": [{"type": "function", **TOOL["function"]}]}
    lines = httpx.post(f"{gateway.url}/v1/responses", headers=headers, json=items, timeout=60).text.split("\n")
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    assert [(item["name"], json.loads(item["arguments"])) for item in done if item["type"] == "function_call"] == [("weather", {"city": "Oslo"})]
    assert told[-1]["type"] == "response.completed" and told[-1]["response"]["usage"]["total_tokens"] > 0
    # A wrong key and an unknown model have messages of their own there, by status and code.
    assert httpx.post(f"{gateway.url}/v1/chat/completions", headers={"Authorization": "Bearer sk-wrong"}, json=body).status_code == 401
    assert httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, json=body | {"model": "none"}).json()["error"]["code"] == "model_not_found"


def test_continues_completion_at_the_cursor(model):
    gateway, name, says = model
    # The editor's own marks and stops for a model whose name it does not know, by its published source.
    stops = ["<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>", "<|endoftext|>", "</fim_middle>", "</code>", "\n\n", "\r\n\r\n", "/src/", "#- coding: utf-8", "```"]
    body = {"model": name, "prompt": "<fim_prefix>def add(a, b):\n    return <fim_suffix>\n<fim_middle>", "max_tokens": 1024, "temperature": 0.01, "stop": stops, "stream": True}
    says("```python\na + b\n```")
    came = events(httpx.post(f"{gateway.url}/v1/completions", headers=gateway.headers(), json=body, timeout=60))
    assert came.pop() == "[DONE]"
    assert "".join(choice["text"] for event in came for choice in json.loads(event)["choices"]) == "a + b"
