"""The helpers of whichever openai is on the path: streams with their events, parsed answers, and tools described by types."""

import asyncio
import json

import cases
import openai
from pydantic import BaseModel

MESSAGES = [{"role": "user", "content": "please"}]


class City(BaseModel):
    name: str
    people: int


class Weather(BaseModel):
    """What the weather is."""

    city: str


def settings(asked):
    return {"base_url": asked["url"], "api_key": asked["key"], "max_retries": 0, "timeout": 60}


def told(completion):
    message = completion.choices[0].message
    calls = [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls or []]
    return {"text": message.content, "calls": calls, "finish": completion.choices[0].finish_reason}


def stream(asked):
    with openai.OpenAI(**settings(asked)).chat.completions.stream(model=asked["model"], messages=MESSAGES, stream_options={"include_usage": True}) as events:
        kinds = [event.type for event in events]
        final = events.get_final_completion()
    return told(final) | {"kinds": sorted(set(kinds)), "usage": final.usage.total_tokens}


def stream_calls(asked):
    async def run():
        tools = [openai.pydantic_function_tool(Weather)]
        async with openai.AsyncOpenAI(**settings(asked)).chat.completions.stream(model=asked["model"], messages=MESSAGES, tools=tools) as events:
            parsed = [event.parsed_arguments.model_dump() async for event in events if event.type == "tool_calls.function.arguments.done"]
            return told(await events.get_final_completion()) | {"parsed": parsed}

    return asyncio.run(run())


def stream_parsed(asked):
    with openai.OpenAI(**settings(asked)).chat.completions.stream(model=asked["model"], messages=MESSAGES, response_format=City) as events:
        kinds = {event.type for event in events}
        return {"parsed": events.get_final_completion().choices[0].message.parsed.model_dump(), "kinds": sorted(kinds)}


def parse(asked):
    answer = openai.OpenAI(**settings(asked)).chat.completions.parse(model=asked["model"], messages=MESSAGES, response_format=City)
    return answer.choices[0].message.parsed.model_dump()


def parse_calls(asked):
    answer = openai.OpenAI(**settings(asked)).chat.completions.parse(model=asked["model"], messages=MESSAGES, tools=[openai.pydantic_function_tool(Weather)])
    return [call.function.parsed_arguments.model_dump() for call in answer.choices[0].message.tool_calls]


cases.main({"stream": stream, "stream calls": stream_calls, "stream parsed": stream_parsed, "parse": parse, "parse calls": parse_calls})
