"""Asks for messages with whichever anthropic is on the path: each case streamed through the SDK's own accumulator, event by event, and whole. Writes what came as JSON."""

import json
import sys
import urllib.request

import anthropic


def script(case):
    body = json.dumps(case["script"]).encode()
    request = urllib.request.Request(case["simulator"] + "/__sim/script", body, {"content-type": "application/json"})
    urllib.request.urlopen(request).close()


def plain(value):
    return json.loads(value.model_dump_json(exclude_unset=True))


def run(client, case):
    result = {}
    script(case)
    with client.messages.stream(**case["body"]) as stream:
        result["events"] = [event.type for event in stream]
        result["final"] = plain(stream.get_final_message())
    script(case)
    result["raw"] = [plain(event) for event in client.messages.create(**case["body"], stream=True)]
    script(case)
    answer = client.messages.with_raw_response.create(**case["body"])
    result["whole"], result["request_id"] = plain(answer.parse()), answer.headers.get("request-id")
    counted = {name: value for name, value in case["body"].items() if name not in ("max_tokens", "stop_sequences", "metadata")}
    result["counted"] = client.messages.count_tokens(**counted).input_tokens
    return result


def main():
    asked = json.load(sys.stdin)
    client = anthropic.Anthropic(base_url=asked["url"], api_key=asked["key"], max_retries=0, timeout=60)
    results = {"version": anthropic.__version__, "cases": {}, "models": [model.id for model in client.models.list(limit=2)]}
    for case in asked["cases"]:
        try:
            results["cases"][case["name"]] = run(client, case)
        except anthropic.APIError as error:
            results["cases"][case["name"]] = {"error": type(error).__name__, "status": getattr(error, "status_code", None), "body": error.body}
        except Exception as error:  # noqa: BLE001: whatever the SDK throws is the result
            results["cases"][case["name"]] = {"error": f"{type(error).__name__}: {error}"}
    json.dump(results, sys.stdout)


main()
