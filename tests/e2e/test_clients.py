"""The official Python SDK, through nginx, for every provider."""

import openai
import pytest
from edge import wait_until
from providers import MODELS, PLAIN

# An official API honours `stop` and the limits itself and its answer passes through; its simulator here does not know them.
EMULATED = [(provider, model) for provider, model, thinks in MODELS if not thinks and provider not in ("openai", "responses")]

# Everything that has ever broken somebody's stream.
NASTY = [
    "data: [DONE]\n\ndata: {\"x\":1}\n\nevent: error\n",
    "line\rcarriage\r\nreturn\u2028line separator\u2029paragraph\u0085next line",
    "👩‍👩‍👧‍👦 🇨🇳 e\u0301 \u200b\u200d\ufeff 𝕳𝖎𝖛𝖊 \u202eright-to-left",
    "\\ \\n \\u0041 \" ' ` </script> &amp; %20 ${HOME} $(id) {{x}}",
    "<think>not a thought</think> ```json\n{\"a\": [1, 2, {}]}\n```",
    "中文，标点。「引号」……——～\u3000全角空格",
    "\t  leading and trailing \t\n \n",
    "\x01\x02\x7f control",
    # Below the 7000 characters that Spark takes.
    "aaaa" * 1500,
    "重复重复重复" * 500,
]  # fmt: skip


def ask(text, *before):
    return [*before, {"role": "user", "content": text}]


def collect(stream):
    """Chunks, whole text and whole reasoning of a stream."""
    chunks = list(stream)
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    text = "".join(delta.content or "" for delta in deltas)
    return chunks, text, "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)


def test_every_model_is_listed(client):
    listed = {model.id for model in client.models.list()}
    assert {model for _, model, _ in MODELS} <= listed
    assert client.models.retrieve("qwen-plus").id == "qwen-plus"


@pytest.mark.parametrize(("provider", "model", "thinks"), MODELS)
def test_a_whole_answer(client, provider, model, thinks):
    answer = client.chat.completions.create(model=model, messages=ask("think:because I can count:3"))
    choice = answer.choices[0]
    assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion" and answer.model == model
    assert choice.message.role == "assistant" and choice.message.content.split() == ["1", "2", "3"]
    assert choice.finish_reason == "stop" and choice.index == 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    if thinks:
        assert choice.message.reasoning_content == "because I can"


@pytest.mark.parametrize(("provider", "model", "thinks"), MODELS)
def test_a_stream(client, provider, model, thinks):
    stream = client.chat.completions.create(model=model, messages=ask("think:because I can count:100"), stream=True)
    chunks, text, reasoning = collect(stream)
    assert text.split() == [str(n) for n in range(1, 101)]
    assert {(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks} == {(chunks[0].id, chunks[0].created, model, "chat.completion.chunk")}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert len(chunks) > 5, "it came in one piece"
    if thinks:
        assert reasoning == "because I can"


@pytest.mark.parametrize(("provider", "model"), PLAIN)
def test_the_whole_history_reaches_the_provider(gateway, client, provider, model):
    before = [
        {"role": "system", "content": "You are KESTREL."},
        {"role": "user", "content": "My number is 4711."},
        {"role": "assistant", "content": "Noted, OSPREY."},
    ]
    client.chat.completions.create(model=model, messages=ask("echo:done", *before))
    asked = [call for call in gateway.simulators[provider].log() if call.get("prompt") or call.get("turns")][-1]
    seen = f"{asked.get('prompt')} {asked.get('turns')}"
    assert all(word in seen for word in ["KESTREL", "4711", "OSPREY", "done"])


@pytest.mark.parametrize(("provider", "model"), PLAIN)
@pytest.mark.parametrize("streamed", [False, True])
def test_texts_pass_byte_for_byte(client, provider, model, streamed):
    for text in NASTY:
        answer = client.chat.completions.create(model=model, messages=ask(f"pace:0 echo:{text}"), stream=streamed)
        got = collect(answer)[1] if streamed else answer.choices[0].message.content
        assert got == text


@pytest.mark.parametrize(("provider", "model"), PLAIN)
def test_include_usage(client, provider, model):
    stream = client.chat.completions.create(model=model, messages=ask("count:5"), stream=True, stream_options={"include_usage": True})
    chunks, _, _ = collect(stream)
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])


@pytest.mark.parametrize(("provider", "model"), PLAIN)
def test_two_choices(client, provider, model):
    answer = client.chat.completions.create(model=model, messages=ask("count:4"), n=2)
    assert [(choice.index, choice.message.content.split()) for choice in answer.choices] == [(0, ["1", "2", "3", "4"]), (1, ["1", "2", "3", "4"])]
    chunks, _, _ = collect(client.chat.completions.create(model=model, messages=ask("count:4"), n=2, stream=True))
    for index in (0, 1):
        mine = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in mine).split() == ["1", "2", "3", "4"]
        assert [choice.finish_reason for choice in mine if choice.finish_reason] == ["stop"]


@pytest.mark.parametrize(("provider", "model"), EMULATED)
@pytest.mark.parametrize("streamed", [False, True])
def test_stop(client, provider, model, streamed):
    answer = client.chat.completions.create(model=model, messages=ask("echo:one two three four"), stop=["thr"], stream=streamed)
    text = collect(answer)[1] if streamed else answer.choices[0].message.content
    assert text == "one two "


@pytest.mark.parametrize(("provider", "model"), EMULATED)
@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_tokens(client, provider, model, limit):
    answer = client.chat.completions.create(model=model, messages=ask("pace:1 count:400"), **{limit: 10})
    assert answer.choices[0].finish_reason == "length"
    assert 0 < len(answer.choices[0].message.content) < 100
    chunks, text, _ = collect(client.chat.completions.create(model=model, messages=ask("pace:1 count:400"), stream=True, **{limit: 10}))
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["length"]
    assert 0 < len(text) < 100


# --- errors, as the SDK sees them ---


def test_a_wrong_key(gateway):
    with pytest.raises(openai.AuthenticationError) as caught:
        gateway.client(api_key="sk-wrong").chat.completions.create(model="qwen-plus", messages=ask("hi"))
    assert caught.value.code == "invalid_api_key" and caught.value.request_id


def test_an_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=ask("hi"))
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("param", "value"), [("temperature", "hot"), ("messages", "hi"), ("n", 0), ("stop", {"a": 1}), ("stream_options", 3), ("max_tokens", -1)]
)  # fmt: skip
def test_a_wrong_value_names_its_parameter(client, param, value):
    body = {"model": "qwen-plus", "messages": ask("hi"), param: value}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body=body, cast_to=object)
    assert caught.value.param.split(".")[0].split("[")[0] == param and caught.value.type == "invalid_request_error"


def test_unknown_fields_are_no_error(client):
    answer = client.chat.completions.create(model="qwen-plus", messages=ask("echo:fine"), extra_body={"some_ide": {"x": 1}})
    assert answer.choices[0].message.content == "fine"


def test_tools_that_cannot_be_offered_are_refused_and_not_dropped(client):
    tools = [{"type": "function", "function": {"name": "not a name", "parameters": {}}}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="qwen-plus", messages=ask("hi"), tools=tools)
    assert caught.value.param == "tools[0]"


def test_an_upstream_limit_becomes_a_rate_limit(gateway, client):
    gateway.simulators["openai"].fault("http_429_retry_after", times=0, retry_after=1)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="sim-chat", messages=ask("hi"))
    assert int(caught.value.response.headers["retry-after"]) >= 1
    gateway.simulators["openai"].reset()

    def recovered():
        try:
            return client.chat.completions.create(model="sim-chat", messages=ask("echo:back")).choices[0].message.content == "back"
        except openai.APIStatusError:
            return False

    wait_until(recovered, 60, 1)
