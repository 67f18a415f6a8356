"""pydantic-ai: chat, tools, and typed outputs by all of its ways, whole and streamed, over both of OpenAI's doors."""

import asyncio

import cases
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    name: str
    people: int


def agent(asked, output=str, kind=OpenAIChatModel):
    # As docs/clients.md has it.
    made = Agent(kind(asked["model"], provider=OpenAIProvider(base_url=asked["url"], api_key=asked["key"])), output_type=output, retries=0)

    @made.tool_plain
    def weather(city: str) -> str:
        """What the weather is in a city."""
        return f"fair in {city}"

    return made


def tools(kind):
    return lambda asked: agent(asked, kind=kind).run_sync("please").output


def streamed(asked):
    async def run():
        async with agent(asked).run_stream("please") as result:
            return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    return asyncio.run(run())


def output(marker):
    return lambda asked: agent(asked, marker(City)).run_sync("please").output.model_dump()


cases.main(
    {
        "tools": tools(OpenAIChatModel),
        "tools by responses": tools(OpenAIResponsesModel),
        "streamed": streamed,
        "tool output": output(ToolOutput),
        "native output": output(NativeOutput),
        "prompted output": output(PromptedOutput),
    }
)
