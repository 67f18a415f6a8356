"""Pictures, videos and what an API has beside chat, as the official SDKs ask for them through nginx: made on one worker and fetched from another."""

import base64
import json
import time

import httpx
import openai
import pytest
from clients import run_node
from test_images import PIXEL, decoded, fetched

# A model of an API and one of a web chat.
VIDEOS = ["sim-video", "cogvideox"]


def made(client, model, **more):
    video = client.videos.create(prompt="a cat that runs", model=model, **more)
    assert (video.object, video.status, video.progress, video.model) == ("video", "queued", 0, model)
    assert video.id.startswith("video_")
    return video


def finished(client, video):
    done = client.videos.poll(video.id)
    assert (done.id, done.status, done.progress) == (video.id, "completed", 100)
    return done


@pytest.mark.parametrize("model", VIDEOS)
def test_the_sdk_makes_polls_downloads_and_deletes(client, model):
    # A 1x1 PNG, as a file of the form.
    picture = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63f80f00010101001cb08c990000000049454e44ae426082"
    )
    video = made(client, model, seconds="8", size="1280x720", input_reference=("cat.png", picture, "image/png"))
    finished(client, video)
    content = client.videos.download_content(video.id).read()
    assert content[4:8] == b"ftyp"
    later = made(client, model)
    listed = [it.id for it in client.videos.list(limit=1)]
    # Through pages of one, the newest first; what other tests have made is in the list as well.
    assert listed.index(later.id) < listed.index(video.id)
    assert [it.id for it in client.videos.list(order="asc")] == listed[::-1]
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.deleted) == (video.id, True)
    left = [it.id for it in client.videos.list()]
    assert later.id in left and video.id not in left
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id[:-2] + "AA")


# The model, and whether it draws after a given picture.
PAINTERS = [("cogview-3-plus", False), ("doubao-seedream", True), ("qwen3.7-plus-image", True)]


@pytest.mark.parametrize("sdk", ["openai-7", "openai-6"])
def test_openai_node(gateway, sdk):
    cases = [{"name": model, "kind": "images", "model": model, "edits": edits} for model, edits in PAINTERS]
    cases += [{"name": model, "kind": "videos", "model": model} for model in VIDEOS]
    asked = {"url": f"{gateway.url}/v1", "key": gateway.key, "picture": base64.b64encode(PIXEL).decode(), "cases": cases}
    told = run_node("media.mjs", asked, sdk)["cases"]
    for model, edits in PAINTERS:
        drawn = told[model]
        assert "error" not in drawn, f"{model}: {drawn['error']}"
        linked, here = drawn["linked"]["data"], drawn["here"]["data"]
        assert len(linked) == len(here) == 1
        file = base64.b64decode(here[0]["b64_json"])
        size, pixels = decoded(file)
        assert drawn["sized"]["count"] == 2
        assert drawn["sized"]["size"] in ("16:9", "7:4")
        if not model.startswith("qwen"):
            # The links of Qwen's are the real site's.
            assert decoded(fetched(linked[0]["url"])) == (size, pixels)
        streams = [("events", "image_generation.completed")] + [("edit_events", "image_edit.completed")] * edits
        for events, kind in streams:
            [event] = drawn[events]
            assert (event["type"], event["output_format"]) == (kind, "png")
            assert decoded(base64.b64decode(event["b64_json"]))[0] == tuple(int(side) for side in event["size"].split("x"))
        if edits:
            assert drawn["edit_linked"]["data"][0]["url"].startswith("http")
            decoded(base64.b64decode(drawn["edit_here"]["data"][0]["b64_json"]))
            assert len(drawn["edit_of_two"]["data"]) == 1
            assert (drawn["masked"]["status"], drawn["masked"]["param"]) == (400, "mask")
    for model in VIDEOS:
        made = told[model]
        assert "error" not in made, f"{model}: {made['error']}"
        video = made["created"]["id"]
        assert (made["created"]["status"], made["done"]["status"], made["done"]["progress"]) == ("queued", "completed", 100)
        whole, part = (base64.b64decode(made[which]["file"]) for which in ("whole", "part"))
        assert (len(whole), whole[4:8], part) == (200_000, b"ftyp", whole[100:200])
        assert (made["whole"]["status"], made["part"]["status"], made["part"]["place"]) == (200, 206, "bytes 100-199/200000")
        assert made["beyond"]["status"] == 416
        desc = made["list"]["desc"]
        # Others' videos of this key may stand between and behind them.
        assert [it for it in desc if it in {video, *made["others"]}] == [*made["others"], video]
        assert made["list"]["asc"] == desc[::-1]
        assert made["deleted"] == {"id": video, "object": "video.deleted", "deleted": True}
        assert video not in made["left"] and set(made["others"]) <= set(made["left"])
        assert (made["foreign"]["name"], made["foreign"]["status"]) == ("NotFoundError", 404)


def test_every_worker_answers_for_what_another_has_made(gateway, client):
    video = made(client, "sim-video")
    finished(client, video)
    whole = client.videos.download_content(video.id).read()
    seen = set()
    for url in gateway.workers().values():
        answer = httpx.get(f"{url}/v1/videos/{video.id}", headers=gateway.headers())
        assert answer.json()["status"] == "completed"
        seen.add(answer.headers["x-hive-worker"])
        part = httpx.get(f"{url}/v1/videos/{video.id}/content", headers=gateway.headers(Range="bytes=100-199"))
        assert (part.status_code, part.content) == (206, whole[100:200])
    assert len(seen) == 3


def test_ranges_go_through_nginx(gateway, client):
    video = made(client, "sim-video")
    finished(client, video)
    url = f"{gateway.url}/v1/videos/{video.id}/content"
    whole = httpx.get(url, headers=gateway.headers())
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(whole.content)
    for asked, expected in [("bytes=0-9", whole.content[:10]), (f"bytes={size - 5}-", whole.content[-5:]), ("bytes=-3", whole.content[-3:])]:
        part = httpx.get(url, headers=gateway.headers(Range=asked))
        assert (part.status_code, part.content) == (206, expected)
        assert part.headers["content-range"].endswith(f"/{size}")
    beyond = httpx.get(url, headers=gateway.headers(Range=f"bytes={size}-"))
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")


def test_300_mb_pass_through_in_flat_memory(gateway, client):
    size = 300 << 20
    video = client.videos.create(prompt=f"bytes:{size}", model="sim-video")
    finished(client, video)
    pids = [gateway.pid(name) for name in gateway.workers()]

    def resident():
        lines = [line for pid in pids for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")]
        return sum(int(line.split()[1]) for line in lines)

    before, most, read = resident(), 0, 0
    with httpx.stream("GET", f"{gateway.url}/v1/videos/{video.id}/content", headers=gateway.headers(), timeout=60) as answer:
        assert answer.headers["content-length"] == str(size)
        for at, piece in enumerate(answer.iter_raw(1 << 20)):
            read += len(piece)
            if at % 16 == 0:
                most = max(most, resident())
    assert read == size
    assert most - before < 48 << 10, f"the workers grew by {(most - before) >> 10} MB"


def test_what_an_api_has_beside_chat(client):
    embedding = client.embeddings.create(model="sim-embedding", input=["a", "bc"])
    assert [round(number, 2) for number in embedding.data[1].embedding] == [2.0, 0.5, -0.25] or len(embedding.data) == 2
    assert client.moderations.create(input="violence").results[0].flagged
    speech = client.audio.speech.create(model="sim-tts", input="hi", voice="alloy").read()
    assert len(speech) == 792
    heard = client.audio.transcriptions.create(model="sim-whisper", file=("a.wav", b"RIFF" * 1000))
    assert heard.text == "transcriptions of a.wav with 4000 bytes"
    large = client.audio.translations.create(model="sim-whisper", file=("a.wav", b"RIFF" * (5 << 20)))
    assert large.text == f"translations of a.wav with {20 << 20} bytes"
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="glm-5", input="a")
    assert refused.value.code == "model_not_supported"


def test_a_refusal_and_a_limit_are_told_as_such(gateway, client):
    gateway.simulators["openai"].fault("content_filter", times=1, step="video")
    with pytest.raises(openai.BadRequestError):
        client.videos.create(prompt="x", model="sim-video")
    gateway.simulators["openai"].fault("video_failed", times=1)
    video = made(client, "sim-video")
    for _ in range(20):
        state = client.videos.retrieve(video.id)
        if state.status == "failed":
            break
        time.sleep(0.1)
    assert state.error.code and state.error.message


def test_the_page_shows_pictures_and_videos(gateway, client):
    page = httpx.get(f"{gateway.url}/docs").text
    picture = {"b64_json": "AAAA"}
    event = {"type": "image_generation.completed", "output_format": "webp", **picture}
    video = {"object": "video", "id": "video_a/b", "status": "completed"}
    answers = [
        {"text": json.dumps({"created": 1, "output_format": "jpeg", "data": [picture, {"url": "https://e/1.png"}]})},
        {"text": f": keep-alive\n\nevent: image_generation.completed\ndata: {json.dumps(event)}\n\n"},
        {"text": json.dumps(video), "request": {"headers": {"Authorization": "Bearer k"}}},
        {"text": "", "file": "mp4", "type": "video/mp4"},
        # Nothing to be seen.
        {"text": json.dumps({**video, "status": "in_progress"})},
        {"text": json.dumps({"data": [{"url": "javascript:alert(1)"}, {"embedding": [1]}]})},
        {"text": "no JSON"},
        {"text": "null"},
    ]
    linked, streamed, seen, loaded, *nothing = run_node("docs.mjs", {"page": page, "answers": answers})
    assert linked["elements"] == [{"tag": "img", "src": "data:image/jpeg;base64,AAAA"}, {"tag": "img", "src": "https://e/1.png"}]
    assert streamed["elements"] == [{"tag": "img", "src": "data:image/webp;base64,AAAA"}]
    assert seen["fetched"] == [{"url": "/v1/videos/video_a%2Fb/content", "headers": {"Authorization": "Bearer k"}}]
    for shown in (seen, loaded):
        assert (shown["hidden"], shown["elements"]) == (False, [{"tag": "video", "src": "blob:video/mp4"}])
    assert all(it == {"hidden": True, "fetched": [], "elements": []} for it in nothing)
    # What can be tried is described.
    paths = httpx.get(f"{gateway.url}/openapi.json").json()["paths"]
    for path, method in [("/v1/images/generations", "post"), ("/v1/images/edits", "post"), ("/v1/videos", "post"), ("/v1/videos", "get"),
                         ("/v1/videos/{id}", "get"), ("/v1/videos/{id}", "delete"), ("/v1/videos/{id}/content", "get")]:
        assert method in paths[path], path
