"""Videos and what an API has beside chat, as the official SDK asks for them through nginx: made on one worker and fetched from another."""

import time

import httpx
import openai
import pytest

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
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.deleted) == (video.id, True)
    assert list(client.videos.list()) == []
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id[:-2] + "AA")


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
