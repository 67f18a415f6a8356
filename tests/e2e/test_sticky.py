"""Which worker gets whom: the signs in their order, and how a key's chats are told apart."""

import collections
import gzip
import json
import subprocess
import time

import openai
import pytest
from edge import ROOT, Edge, Stub, wait_until

KEY = {"Authorization": "Bearer sk-one-key-for-all"}
CLIENT_HEADERS = ["X-Claude-Code-Session-Id", "Session-Id", "session_id", "Thread-Id", "conversation_id", "x-opencode-session", "x-session-affinity", "X-OpenWebUI-Chat-Id", "x-litellm-session-id"]
KEY_HEADERS = ["Authorization", "x-api-key", "api-key", "x-goog-api-key"]


@pytest.fixture(scope="module")
def stubs():
    stubs = [Stub(f"w{n}") for n in range(1, 5)]
    yield stubs
    for stub in stubs:
        stub.stop()


@pytest.fixture(scope="module")
def edge(tmp_path_factory, stubs):
    edge = Edge(tmp_path_factory.mktemp("edge"), stubs, MAX_BODY_BYTES="20000000")
    edge.wait_ring(stubs)
    yield edge
    edge.stop()


def chat(edge, body, headers=KEY, path="/v1/chat/completions"):
    """The sign that decided, and the worker that it led to."""
    if not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    answer = edge.post(path, headers, body)
    assert answer.json()["headers"]["x-hive-sticky"] == answer.headers["X-Hive-Sticky"]
    return answer.headers["X-Hive-Sticky"], answer.worker


def user(content, **more):
    return {"role": "user", "content": content, **more}


def history(first, turns):
    messages = [*first]
    for turn in range(1, turns):
        messages += [{"role": "assistant", "content": f'an answer: "{turn}" {{'}, user(f"and then {turn}?")]
    return messages


# --- the signs ---


@pytest.mark.parametrize(
    ("header", "sign"),
    [("X-Session-Id", "session"), *((name, "client") for name in CLIENT_HEADERS), ("Cookie", "cookie"), *((name, "key") for name in KEY_HEADERS)],
)  # fmt: skip
def test_each_sign_is_named_and_sticks(edge, header, sign):
    keys = [f"key={n}" for n in range(60)]
    answers = {key: edge.get("/", {header: key}) for key in keys}
    assert {answer.headers["X-Hive-Sticky"] for answer in answers.values()} == {sign}
    assert len({answer.worker for answer in answers.values()}) == 4
    assert {key: edge.get("/", {header: key}).worker for key in keys} == {key: answer.worker for key, answer in answers.items()}


def test_the_order_of_the_signs(edge):
    order = ["X-Session-Id", "X-Claude-Code-Session-Id", "Cookie", "Authorization"]
    for at, header in enumerate(order[:-1]):
        below = order[at + 1 :]
        seen = {chat(edge, {"messages": [user(f"hello {n}")]}, {header: "a=1", **{name: f"b={n}" for name in below}}) for n in range(20)}
        assert len(seen) == 1, f"{header} must win over {below}"


def test_a_client_cannot_name_the_sign(edge):
    assert chat(edge, {}, {**KEY, "X-Hive-Sticky": "session"})[0] == "key"


def test_without_any_sign_the_address_decides(edge):
    assert {chat(edge, "", {})[0] for _ in range(5)} == {"address"}
    assert len({edge.get("/").worker for _ in range(20)}) == 1
    assert len({chat(edge, {"messages": [user(f"hello {n}")]}, {}) for n in range(40)}) == 4


def test_the_access_log_names_the_sign(edge):
    path = "/logged/chat/completions"
    chat(edge, {"messages": [user("logged")]}, path=path)
    # nginx gathers its lines for a second.
    lines = wait_until(lambda: [json.loads(line) for line in edge.access_log.read_text().splitlines() if path in line], 3)
    assert lines[0]["sticky"] == "conversation"


# --- chats of one key ---

SYSTEM = {"role": "system", "content": 'You are "helpful" {[]} \\ \u00e9 \U0001f600 "messages":[{"role":"user","content":"no"}]'}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"messages": {"type": "array", "items": {"type": "object", "required": ["messages"]}}}}}}]
DEEP = [{"function": {"parameters": {"properties": {"a": {"properties": {"b": {"properties": {"c": {"properties": {"d": {"properties": {"e": {"type": "string"}}}}}}}}}}}}}]


def items(first, turns):
    """A conversation as Codex sends it."""
    said = [{"type": "message", "id": "msg_1", "role": "user", "content": [{"type": "input_text", "text": "Look:"}, {"type": "input_text", "text": first}]}]
    for turn in range(1, turns):
        said += [
            {"type": "reasoning", "id": f"rs_{turn}", "summary": []},
            {"type": "function_call", "id": f"fc_{turn}", "call_id": f"call_{turn}", "name": "f", "arguments": '{"messages":[]}'},
            {"type": "function_call_output", "call_id": f"call_{turn}", "output": [{"type": "input_text", "text": f"{turn}"}]},
        ]
    return said


SHAPES = {
    "plain": lambda text, turns: {"model": "m", "messages": history([user(text)], turns)},
    "system": lambda text, turns: {"messages": history([SYSTEM, user(text)], turns), "stream": True},
    "developer": lambda text, turns: {"messages": history([{"role": "developer", "content": [{"type": "text", "text": "x"}]}, SYSTEM, user(text)], turns)},
    "members in any order": lambda text, turns: {"stream": True, "messages": history([{"content": "x", "name": "n", "role": "system"}, {"content": text, "name": None, "role": "user"}], turns)},
    "after tools": lambda text, turns: {"tools": TOOLS, "metadata": {"a": '"messages": [{'}, "messages": history([user(text)], turns)},
    "after deep tools": lambda text, turns: {"tools": DEEP, "stop": [1.5e-3, True, None], "messages": history([user(text)], turns), "temperature": 0},
    "a greeting first": lambda text, turns: {"messages": history([{"role": "assistant", "content": "Hi!"}, user(text)], turns)},
    "parts": lambda text, turns: {"messages": history([user([{"type": "text", "text": "Look:"}, {"text": text, "type": "text"}])], turns)},
    "picture last": lambda text, turns: {"messages": history([user([{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": "data:,x"}}])], turns)},
    "anthropic": lambda text, turns: {"system": "x", "messages": history([user([{"type": "text", "text": text}])], turns), "max_tokens": 9},
    "the cache mark moves on": lambda text, turns: {"messages": history([user([{"type": "text", "text": text, **({"cache_control": {"type": "ephemeral"}} if turns == 1 else {})}])], turns)},
    "responses": lambda text, turns: {"model": "m", "instructions": "be kind", "input": items(text, turns), "stream": True},
    "responses after tools": lambda text, turns: {"tools": [{**tool["function"], "type": "function"} for tool in TOOLS], "input": [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "x"}]}, *items(text, turns)]},
    "responses with a light tool box": lambda text, turns: {"input": [{"type": "additional_tools", "id": "at_1", "role": "developer", "tools": TOOLS}, *items(text, turns)]},
    "responses of plain items": lambda text, turns: {"input": history([{"role": "system", "content": "x"}, user(text)], turns)},
    "responses of a text": lambda text, turns: {"model": "m", "input": text, "previous_response_id": None if turns == 1 else f"resp_{turns}"},
    "anthropic with tools in front": lambda text, turns: {"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"input": {"type": "array"}}}}], "system": [{"type": "text", "text": f"x-anthropic-billing-header: {turns}"}], "messages": history([user([{"type": "text", "text": text}])], turns)},
    "long": lambda text, turns: {"messages": history([{"role": "system", "content": "\\\"\n{" * 100_000}, user(text)], turns)},
}  # fmt: skip


@pytest.mark.parametrize("layout", [{}, {"separators": (",", ":")}, {"indent": 3}, {"ensure_ascii": False}], ids=["spaces", "compact", "indented", "utf-8"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_chat_stays_and_others_go_elsewhere(edge, shape, layout):
    def ask(text, turns):
        return chat(edge, json.dumps(shape(text, turns), **layout).encode())

    chats = [f'"{n}" \\ }}]' for n in range(24)]
    first = {text: ask(text, 1) for text in chats}
    assert {sign for sign, _ in first.values()} == {"conversation"}
    assert len({worker for _, worker in first.values()}) > 1
    for turns in (2, 3):
        assert {text: ask(text, turns) for text in chats[:6]} == {text: first[text] for text in chats[:6]}


def test_another_key_is_another_chat(edge):
    seen = {chat(edge, {"messages": [user("hello")]}, {"x-api-key": f"k{n}"})[1] for n in range(40)}
    assert len(seen) == 4


def test_what_shows_no_chat_sticks_by_its_key(edge):
    deep = '{"messages":[{"role":"system","x":' + "[" * 20 + "]" * 20 + '},{"role":"user","content":"hi"}]}'
    picture = json.dumps({"messages": [user("a" * (2 << 20))]})
    bodies = ['{"input":["a","b"]}', '{"input":{"role":"user"}}', '{"input":[{"role":"developer","content":"a"}]}', "", "{}", "[]", "no json", '{"messages":[]}', '{"messages":"hi"}', '{"messages":[{"role":"system","content":"a"}]}', deep, picture]
    assert {chat(edge, body) for body in bodies} == {("key", edge.get("/v1/models", KEY).worker)}
    packed = gzip.compress(json.dumps({"messages": [user("hi")]}).encode())
    assert chat(edge, packed, {**KEY, "Content-Encoding": "gzip"})[0] == "key"


def hostile(size):
    opened = '{"messages":['
    return {
        "deep arrays": opened + "[" * size,
        "deep objects": '{"a":' * (size // 5),
        "deep messages": opened * (size // len(opened)),
        "deep content": '{"messages":[{"role":"user","content":' + '{"a":[' * (size // 6),
        "deep input": '{"input":[' * (size // 10),
        "many items": '{"input":[' + '{"role":"system"},' * (size // 18),
        "many inputs": '"input":[{"x":[{},' * (size // 18),
        "many messages": opened + '{"role":"system"},' * (size // 18),
        "many members": '{"messages":[{' + '"a":1,' * (size // 6),
        "many starts": '"messages":[{"x":[{},' * (size // 21),
        "starts in strings": '"messages":[{"role":"x","b":"' * (size // 29),
        "an endless string": '{"messages":[{"role":"user","content":"' + "\\n" * (size // 2),
        "an endless escape": '{"messages":[{"role":"user","content":"' + "\\" * (size | 1),
        "quotes": '"' * size,
        "spaces": '{"messages":[{"role"' + " " * size,
    }


def test_no_body_is_slow_or_breaks_anything(edge):
    for name, body in hostile(900_000).items():
        started = time.monotonic()
        assert chat(edge, body)[0] == "key", name
        assert time.monotonic() - started < 2, name
    # nginx would complain here, with the body in the message.
    assert "failed" not in edge.log.read_text()


def test_a_thousand_chats_of_one_key_are_shared_fairly(edge):
    """Half by the official SDK, half as plain JSON with spaces; three turns each, history sent again."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{edge.port}/v1", api_key="sk-one-key-for-all", max_retries=0) as client:

        def by_sdk(messages):
            return client.chat.completions.with_raw_response.create(model="m", messages=messages).headers["x-hive-worker"]

        chats = collections.Counter()
        for n in range(1000):
            first = [{"role": "system", "content": "You are helpful."}, user(f"question {n}")]
            ask = by_sdk if n % 2 else lambda messages: chat(edge, {"model": "m", "messages": messages})[1]
            workers = {ask(history(first, turns)) for turns in (1, 2, 3)}
            assert len(workers) == 1, f"chat {n} moved"
            chats[workers.pop()] += 1
    print(f"1,000 chats of one key over 4 workers: {dict(chats)}")
    assert max(chats.values()) <= 1.3 * 250, chats


@pytest.mark.parametrize("value", ["off", "false", "0", "no", "key"])
def test_spreading_can_be_switched_off(tmp_path, stubs, value):
    edge = Edge(tmp_path, stubs, STICKY_SPREAD=value)
    try:
        edge.wait_ring(stubs)
        assert len({chat(edge, {"messages": [user(f"hello {n}")]}) for n in range(20)}) == 1
        assert chat(edge, {"messages": [user("hello")]}) == ("key", edge.get("/", KEY).worker)
    finally:
        edge.stop()


def test_a_wrong_word_is_refused(tmp_path):
    said = subprocess.run([ROOT / "nginx/watcher", "--prefix", tmp_path], env={"PATH": "/usr/bin:/bin", "STICKY_SPREAD": "maybe"}, capture_output=True, text=True)
    assert said.returncode == 78 and "STICKY_SPREAD" in said.stderr
