"""No key, cookie or token in any answer, log line or metric. Runs last, when the logs are full."""

import httpx
from providers import PLAIN
from test_clients import ask


def parts(value):
    """A cookie leaks when one of its values does."""
    pieces = [piece.partition("=")[2] or piece for piece in value.replace("; ", ";").split(";")]
    return {value} | {piece for piece in pieces if len(piece) >= 12}


def test_secrets_stay_secret(gateway):
    secrets = {gateway.key, "sk-wrong-but-private", "cookie-of-a-client"}.union(*map(parts, gateway.secrets.values()))
    assert len(secrets) > 5
    answers = []
    paths = ["/", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/models/qwen-plus", f"/v1/models?key={gateway.key}", "/nowhere"]
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        for headers in (gateway.headers(), {"Authorization": "Bearer sk-wrong-but-private"}, {"Cookie": "s=cookie-of-a-client"}, {"x-api-key": gateway.key}):
            answers += [client.get(path, headers=headers) for path in paths]
        for provider, model in PLAIN:
            for fault in (None, "http_500", "http_403", "disconnect_after_text"):
                if fault:
                    gateway.simulators[provider].fault(fault, times=3)
                body = {"model": model, "messages": ask("count:5"), "stream": fault == "disconnect_after_text", "user": gateway.key[:5]}
                answers.append(client.post("/v1/chat/completions", headers=gateway.headers(Cookie="s=cookie-of-a-client"), json=body))
                gateway.simulators[provider].reset()
        answers += [client.get(f"{url}/metrics") for url in gateway.workers().values()]
        answers += [client.get(f"{url}/health") for url in gateway.workers().values()]
    places = {f"{answer.request.method} {answer.request.url.path}": f"{answer.headers}{answer.text}" for answer in answers}
    places |= {f"log {name}": text for name, text in gateway.logs().items() if name != "simulators"}
    assert all(places[f"log {name}"] for name in ("access", "worker-1")), "nothing to look through"
    found = {(place, name) for place, text in places.items() for name in secrets if name in text}
    assert not {(place, name[:6] + "…") for place, name in found}
