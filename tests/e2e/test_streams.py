"""Streams: who leaves, who is left, and that nobody gets another one's words."""

import asyncio
import time

import httpx
import pytest
from edge import wait_until
from providers import PLAIN, PROVIDERS
from test_clients import ask, collect

LONG = "pace:100 count:200"


@pytest.mark.parametrize(("provider", "model"), PLAIN)
def test_leaving_stops_the_upstream_call_within_two_seconds(gateway, client, provider, model):
    simulator = gateway.simulators[provider]
    stream = client.chat.completions.create(model=model, messages=ask(LONG), stream=True)
    for chunk, _ in zip(stream, range(3)):
        assert chunk
    assert simulator.state()["open_streams"] == 1
    stream.close()
    wait_until(lambda: simulator.state()["open_streams"] == 0, 2)


@pytest.mark.parametrize(("provider", "model"), PLAIN)
def test_leaving_before_the_whole_answer_stops_it_too(gateway, provider, model):
    simulator = gateway.simulators[provider]
    with pytest.raises(httpx.ReadTimeout):
        body = {"model": model, "messages": ask(LONG)}
        httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=gateway.headers(), timeout=httpx.Timeout(5, read=1.5))
    wait_until(lambda: simulator.state()["open_streams"] == 0, 2)


@pytest.mark.parametrize(("provider", "model"), [(one.name, one.plain) for one in PROVIDERS if one.deletes])
def test_every_upstream_conversation_is_deleted(gateway, client, provider, model):
    simulator = gateway.simulators[provider]
    for streamed in (False, True, False):
        answer = client.chat.completions.create(model=model, messages=ask("count:3"), stream=streamed)
        if streamed:
            collect(answer)
    abandoned = client.chat.completions.create(model=model, messages=ask(LONG), stream=True)
    next(iter(abandoned))
    abandoned.close()

    def clean():
        state = simulator.state()
        return state["created"] >= 4 and state["conversations"] == 0

    wait_until(clean, 10)
    assert simulator.state()["violations"] == []


def test_fifty_parallel_streams_do_not_mix(gateway):
    models = [one.plain for one in PROVIDERS if one.is_shared]

    async def one(client, n):
        tag = f"T{n}x"
        stream = await client.chat.completions.create(model=models[n % len(models)], messages=ask(f"tag:{tag} count:50"), stream=True,
                                                      extra_headers={"X-Session-Id": tag})  # fmt: skip
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        return text.split() == [f"{tag}-{i}" for i in range(1, 51)] or text

    async def all_of_them():
        async with gateway.async_client(timeout=120) as client:
            return await asyncio.gather(*(one(client, n) for n in range(50)))

    assert asyncio.run(all_of_them()) == [True] * 50


def test_the_first_words_do_not_wait_for_the_last(client):
    started = time.monotonic()
    stream = client.chat.completions.create(model="qwen-plus", messages=ask("pace:100 count:30"), stream=True)
    at = [time.monotonic() - started for chunk in stream if chunk.choices[0].delta.content]
    assert at[0] < 1 and at[-1] > 2
    assert max(later - earlier for earlier, later in zip(at, at[1:])) < 1


def test_an_event_stream_is_not_compressed(gateway):
    body = {"model": "qwen-plus", "messages": ask("count:5"), "stream": True}
    with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, headers=gateway.headers(**{"Accept-Encoding": "gzip, br"})) as answer:
        assert "content-encoding" not in answer.headers
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["x-accel-buffering"] == "no" and "no-transform" in answer.headers["cache-control"]
        assert answer.read().endswith(b"data: [DONE]\n\n")
