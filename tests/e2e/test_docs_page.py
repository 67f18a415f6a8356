"""The docs page in a real Chromium, through nginx: a person tries a chat, a picture and a video, and reads how to point programs here."""

import os
import shutil

from clients import run_node

PROGRAMS = {"Claude Code", "Codex", "opencode", "Qwen Code", "Cline", "Continue", "aider", "Open WebUI", "LobeChat", "NextChat"}


def test_a_person_tries_everything(gateway, client):
    video = client.videos.create(prompt="a cat that runs", model="sim-video")
    client.videos.poll(video.id)
    browser = shutil.which("chromium")
    assert browser, "scripts/test installs chromium"
    asked = {"url": f"{gateway.url}/docs", "key": gateway.key, "model": "sim-reasoner", "draws": "sim-image", "video": video.id, "browser": browser}
    # To look at it: PICTURE=/tmp/page.png scripts/test e2e -k docs_page
    seen = run_node("docs_page.mjs", asked | {"picture": os.environ.get("PICTURE")})
    assert "failed" not in seen, seen["failed"]
    assert seen["errors_before_refusal"] == seen["errors"] == []
    assert seen["operations"] > 15
    assert {"sim-reasoner", "qwen-plus"} <= set(seen["models"])

    assert set(seen["programs"]) == PROGRAMS and seen["unfolds"]
    for name, lines in seen["programs"].items():
        assert gateway.url in lines and "{address}" not in lines and "{model}" not in lines, f"{name}: {lines}"
        # It is shown to whoever looks over one's shoulder.
        assert gateway.key not in lines
        assert "sim-reasoner" in lines or name == "Open WebUI", f"{name}: {lines}"

    assert seen["chat"]["text"].split() == [str(n) for n in range(1, 31)] and seen["chat"]["thoughts"] == "let me see"
    assert seen["chat"]["status"].startswith("answered by ")
    assert len(seen["chat"]["grown"]) > 5, "it came in one piece"
    assert "no-such-model" in seen["refused"]["status"] and seen["refused"]["text"] == ""

    assert seen["shown"] and all(side > 0 for side in seen["picture"])
    assert seen["video"] == "ftyp"
    # It works without any other server.
    assert seen["elsewhere"] == []
