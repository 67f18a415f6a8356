"""Tools and formats of models that have none, through nginx, as the official SDK's own helpers want them."""

import json
import subprocess
from pathlib import Path

import httpx
import openai
import pydantic
import pytest
from providers import PLAIN

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "read",
            "description": "Reads a file.",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}}, "required": ["path"]},
        },
    },
    {"type": "function", "function": {"name": "ping", "parameters": {"type": "object", "properties": {}}}},
]
TWO_CALLS = "I look.⏎⏎[B]⏎[C read]⏎[A path]⏎a \"b\".rs⏎[/A]⏎[A limit]⏎5⏎[/A]⏎[/C]⏎[C ping]⏎[/C]⏎[/B]"
LANES = ("openai", "responses", "anthropic")
WEB_CHATS = [(provider, model) for provider, model in PLAIN if provider not in LANES]
# Most of langfast's models have formats of their own.
WITHOUT_FORMATS = [(provider, model) for provider, model in WEB_CHATS if provider != "langfast"] + [("langfast", "gpt-4")]


class Answer(pydantic.BaseModel):
    city: str
    degrees: int


def says(gateway, provider, *texts):
    for text in texts:
        answer = httpx.post(f"{gateway.simulators[provider].url}/__sim/script", json={"text": text, "notation": True})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("provider", "model"), WEB_CHATS)
def test_the_stream_helper_takes_calls_and_their_results(gateway, client, provider, model):
    says(gateway, provider, TWO_CALLS)
    messages = [{"role": "user", "content": "look"}]
    with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        completion = stream.get_final_completion()
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content == "I look."
    assert [(event.index, event.name, json.loads(event.arguments)) for event in done] == [(0, "read", {"path": 'a "b".rs', "limit": 5}), (1, "ping", {})]
    calls = choice.message.tool_calls
    messages.append({"role": "assistant", "content": "I look.", "tool_calls": [call.to_dict() for call in calls]})
    for call, text in [(calls[1], "pong"), (calls[0], "fn main() {}")]:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
    answer = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    assert answer.choices[0].message.content == "The first tool says: fn main() {}"
    assert not gateway.simulators[provider].state()["violations"]


@pytest.mark.parametrize(("provider", "model"), WITHOUT_FORMATS)
def test_the_parse_helper_takes_formats(gateway, client, provider, model):
    says(gateway, provider, "Here:\n```json\n{\"city\": \"Paris\", \"degrees\": \"21\"}\n```")
    parsed = client.chat.completions.parse(model=model, messages=[{"role": "user", "content": "weather?"}], response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer(city="Paris", degrees=21)


def test_an_answer_that_never_fits_is_an_error(gateway, client):
    says(gateway, "qwen", "I cannot do that.", "No.")
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.parse(model="qwen-plus", messages=[{"role": "user", "content": "weather?"}], response_format=Answer)
    assert caught.value.code == "structured_output_invalid" and caught.value.response.status_code == 502


def test_what_is_done_for_the_model_is_told(gateway, client):
    says(gateway, "qwen", "[B][C ping][/C][/B]")
    answer = client.chat.completions.with_raw_response.create(model="qwen-plus", messages=[{"role": "user", "content": "x"}], tools=TOOLS)
    assert answer.headers["x-hive-emulated"] == "tools"
    assert client.models.retrieve("qwen-plus").to_dict()["hive"]["tools"] == "emulated"


def test_no_broken_answer_leaks(gateway):
    program = Path((gateway.run_dir / "bin").read_text().strip()) / "hive2api-loadtest"
    command = [program, "tools", "--url", gateway.url, "--simulator", gateway.simulators["qwen"].url, "--within", "240"]
    ran = subprocess.run(command, env=gateway.environment | {"API_MASTER_KEY": gateway.key}, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    name, answers, *fates = ran.stdout.splitlines()[-1].split()
    right, repaired, again, failed, leaked = map(int, fates)
    assert name == "all" and leaked == 0 and repaired > right and again > 0
    assert right + repaired + again + failed == int(answers)


def test_who_does_not_want_to_answer_refuses(gateway, client):
    sorry = "I'm sorry, but I can't assist with that request."
    says(gateway, "qwen", sorry, sorry)
    parsed = client.chat.completions.parse(model="qwen-plus", messages=[{"role": "user", "content": "weather?"}], response_format=Answer)
    assert parsed.choices[0].message.refusal == sorry and parsed.choices[0].message.parsed is None
