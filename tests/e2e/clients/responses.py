"""Asks for responses with whichever openai is on the path: each case streamed through the SDK's own accumulator, and whole. Writes what came as JSON."""

import json
import sys
import urllib.request

import openai
import pydantic


class City(pydantic.BaseModel):
    name: str
    people: int


def script(case):
    body = json.dumps(case["script"]).encode()
    request = urllib.request.Request(case["simulator"] + "/__sim/script", body, {"content-type": "application/json"})
    urllib.request.urlopen(request).close()


def streamed(client, body):
    events = []
    with client.responses.stream(**body) as stream:
        for event in stream:
            events.append(event.type)
        final = stream.get_final_response()
    return {"events": events, "final": json.loads(final.model_dump_json(exclude_unset=True))}


def raw(client, body):
    """The events as they come, without the accumulator: keep-alives as well."""
    events = [json.loads(event.model_dump_json(exclude_unset=True)) for event in client.responses.create(**body, stream=True)]
    return {"raw": events}


def run(client, case):
    result = {}
    script(case)
    result |= streamed(client, case["body"])
    script(case)
    result |= raw(client, case["body"])
    script(case)
    result["whole"] = json.loads(client.responses.create(**case["body"]).model_dump_json(exclude_unset=True))
    if case.get("parse"):
        script(case)
        parsed = client.responses.parse(**case["body"], text_format=City)
        result["parsed"] = parsed.output_parsed.model_dump()
        script(case)
        with client.responses.stream(**case["body"], text_format=City) as stream:
            for _ in stream:
                pass
            result["stream_parsed"] = stream.get_final_response().output_parsed.model_dump()
    return result


def main():
    asked = json.load(sys.stdin)
    client = openai.OpenAI(base_url=asked["url"], api_key=asked["key"], max_retries=0, timeout=60)
    results = {"version": openai.__version__, "cases": {}}
    for case in asked["cases"]:
        try:
            results["cases"][case["name"]] = run(client, case)
        except Exception as error:  # noqa: BLE001: whatever the SDK throws is the result
            results["cases"][case["name"]] = {"error": f"{type(error).__name__}: {error}", "code": getattr(error, "code", None)}
    json.dump(results, sys.stdout)


main()
