"""Pictures by the official SDK, through nginx: both forms decoded and compared, several at once, changed ones, refusals."""

import base64
import struct
import urllib.request
import zlib

import openai
import pytest

# Provider, a model that draws, and whether it draws after a given picture.
PAINTERS = [("zhipu", "cogview-3-plus", False), ("doubao", "doubao-seedream", True), ("xinghuo", "spark-pro", False)]
DRAWING = [(provider, model) for provider, model, _ in PAINTERS]

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def decoded(png):
    """Width, height and the pixels' bytes of a PNG; fails on a wrong sum anywhere."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, size, packed = 8, None, b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + content),)
        if kind == b"IHDR":
            size = struct.unpack(">II", content[:8])
        packed += content if kind == b"IDAT" else b""
        at += 12 + length
    return size, zlib.decompress(packed)


def fetched(url):
    # The simulators are on this machine, whatever proxy the environment names.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        return answer.read()


@pytest.mark.parametrize(("provider", "model"), DRAWING)
def test_a_picture_is_the_same_in_both_forms(client, provider, model):
    linked = client.images.generate(model=model, prompt="a cat")
    assert linked.created > 1_700_000_000 and len(linked.data) == 1
    here = client.images.generate(model=model, prompt="a cat", response_format="b64_json")
    assert here.data[0].url is None and here.output_format == "png"
    size, pixels = decoded(base64.b64decode(here.data[0].b64_json))
    assert size == (8, 8) and pixels
    assert decoded(fetched(linked.data[0].url)) == (size, pixels)


@pytest.mark.parametrize(("provider", "model"), DRAWING)
def test_several_pictures(client, provider, model):
    answer = client.images.with_raw_response.generate(model=model, prompt="a cat", n=3, size="1024x1792", user="u-1")
    assert len(answer.parse().data) == 3
    assert "x-hive-missing" not in answer.headers
    if provider == "xinghuo":
        assert answer.headers["x-hive-ignored"] == "size"
    else:
        assert answer.headers["x-hive-size"] in ("9:16", "4:7")


@pytest.mark.parametrize(("provider", "model", "takes"), PAINTERS)
def test_a_changed_picture(gateway, client, provider, model, takes):
    ask = lambda **more: client.images.edit(model=model, prompt="make it blue", **more)  # noqa: E731
    if not takes:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(image=("a.png", PIXEL))
        assert refused.value.param == "image"
        return
    assert len(ask(image=("a.png", PIXEL)).data) == 1
    assert len(ask(image=[("a.png", PIXEL), ("b.png", PIXEL)]).data) == 1
    with pytest.raises(openai.BadRequestError) as refused:
        ask(image=("a.png", PIXEL), mask=("m.png", PIXEL))
    assert (refused.value.param, refused.value.code) == ("mask", "unsupported_parameter")


def test_events(client):
    stream = client.images.generate(model="cogview-3-plus", prompt="a cat", n=2, stream=True)
    events = list(stream)
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert all(decoded(base64.b64decode(event.b64_json)) for event in events)


def test_names_that_nobody_has(client):
    for model in ["dall-e-3", "gpt-image-1", openai.omit]:
        with pytest.raises(openai.NotFoundError) as unknown:
            client.images.generate(model=model, prompt="a cat")
        assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as unable:
        client.images.generate(model="glm-4", prompt="a cat")
    assert unable.value.code == "model_not_supported"


def test_moderation_and_a_spent_quota(gateway, client):
    zhipu = gateway.simulators["zhipu"]
    zhipu.fault("moderated_before_text")
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(model="cogview-3-plus", prompt="a cat")
    assert refused.value.code == "content_policy_violation"
