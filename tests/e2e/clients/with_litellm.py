"""LiteLLM's SDK as a client, by each of the gateway's doors that it knows: whole, streamed, and with tools."""

import json
import os

import cases

# Else it asks the network for a list of prices when it is loaded.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402

MESSAGES = [{"role": "user", "content": "please"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "What the weather is.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]


def settings(asked, door="openai"):
    # As docs/clients.md has it: LiteLLM adds /v1/messages itself.
    base = asked["url"] if door != "anthropic" else asked["url"].removesuffix("/v1")
    return {"model": f"{door}/{asked['model']}", "api_base": base, "api_key": asked["key"], "num_retries": 0, "timeout": 60}


def called(message):
    return [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls or []]


def chat(door):
    def run(asked):
        whole = litellm.completion(messages=MESSAGES, **settings(asked, door))
        pieces = list(litellm.completion(messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **settings(asked, door)))
        built = litellm.stream_chunk_builder(pieces, messages=MESSAGES)
        return {"whole": whole.choices[0].message.content, "streamed": built.choices[0].message.content, "usage": built.usage.total_tokens}

    return run


def tools(door):
    def run(asked):
        whole = litellm.completion(messages=MESSAGES, tools=TOOLS, **settings(asked, door))
        pieces = list(litellm.completion(messages=MESSAGES, tools=TOOLS, stream=True, **settings(asked, door)))
        built = litellm.stream_chunk_builder(pieces, messages=MESSAGES)
        message = whole.choices[0].message
        results = [{"role": "tool", "tool_call_id": call.id, "content": "fair"} for call in message.tool_calls]
        then = litellm.completion(messages=[*MESSAGES, message.model_dump(), *results], tools=TOOLS, **settings(asked, door))
        return {"whole": called(message), "streamed": called(built.choices[0].message), "finish": whole.choices[0].finish_reason, "then": then.choices[0].message.content}

    return run


def responses(asked):
    answer = litellm.responses(input="please", **settings(asked))
    return "".join(part.text for item in answer.output if item.type == "message" for part in item.content)


def text(asked):
    return litellm.text_completion(prompt="fn add", **settings(asked, "text-completion-openai")).choices[0].text


cases.main(
    {
        "chat": chat("openai"),
        "tools": tools("openai"),
        "anthropic chat": chat("anthropic"),
        "anthropic tools": tools("anthropic"),
        "responses": responses,
        "completions": text,
    }
)
