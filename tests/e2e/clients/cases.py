"""What the scripts for Python libraries share: cases from standard input, each with what the model is to answer; results to standard output."""

import contextlib
import json
import sys
import traceback
import urllib.request


def main(run):
    """`run` maps a case's name to a function of `asked` (url, key, model); what it returns is the result."""
    asked = json.load(sys.stdin)
    results = {}
    for case in asked["cases"]:
        order(asked["simulator"], case["answers"])
        try:
            # Some libraries say things there by themselves.
            with contextlib.redirect_stdout(sys.stderr):
                results[case["name"]] = run[case["name"]](asked)
        except Exception:  # noqa: BLE001: whatever the library throws is the result
            results[case["name"]] = {"error": traceback.format_exc()[-3000:]}
    json.dump(results, sys.stdout)


def order(simulator, answers):
    """The model's next answers, in place of those that a case before has left."""
    urllib.request.urlopen(urllib.request.Request(f"{simulator}/__sim/script", method="DELETE")).close()
    for answer in answers:
        request = urllib.request.Request(f"{simulator}/__sim/script", json.dumps(answer).encode(), {"content-type": "application/json"})
        urllib.request.urlopen(request).close()
