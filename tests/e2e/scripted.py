"""What a simulated model is told to answer: texts and calls, spelled as its kind writes them."""

import json


def answers(is_web, *said):
    """One script an answer. An answer is a text, or a text (or None) and calls (name, arguments) after it.

    A web chat has no calls of its own: there they stand in the text, by the gateway's own contract. A lane has them.
    """
    return [answer(is_web, *([one] if isinstance(one, str) else one)) for one in said]


def answer(is_web, text, *calls):
    if is_web:
        return {"text": "\n\n".join(part for part in [text, block(calls)] if part), "notation": True}
    # Without a word about calls the simulator makes up one of its own, as models do that are offered tools.
    return {"text": text, "calls": [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in calls]}


def block(calls):
    """Calls in the notation that the simulators turn into the contract's tags."""
    if not calls:
        return ""
    return "[B]\n" + "".join(call(name, arguments) for name, arguments in calls) + "[/B]"


def call(name, arguments):
    values = {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in arguments.items()}
    return f"[C {name}]\n" + "".join(f"[A {key}]\n{value}\n[/A]\n" for key, value in values.items()) + "[/C]\n"
