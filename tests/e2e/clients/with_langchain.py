"""LangChain's model for OpenAI-compatible services: chat, tools, an agent, and structured output by all of its methods."""

import cases
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def weather(city: str) -> str:
    """What the weather is in a city."""
    return f"fair in {city}"


def model(asked, **more):
    # As docs/clients.md has it.
    return ChatOpenAI(model=asked["model"], base_url=asked["url"], api_key=asked["key"], max_retries=0, timeout=60, **more)


def chat(asked):
    whole = model(asked).invoke("please")
    pieces = list(model(asked, stream_usage=True).stream("please"))
    return {"whole": whole.content, "streamed": "".join(piece.content for piece in pieces), "usage": sum(piece.usage_metadata["total_tokens"] for piece in pieces if piece.usage_metadata)}


def tools(asked):
    bound = model(asked).bind_tools([weather])
    messages = [HumanMessage("please")]
    called = bound.invoke(messages)
    piece, *pieces = bound.stream(messages)
    for more in pieces:
        piece += more
    calls = [[(call["name"], call["args"]) for call in message.tool_calls] for message in (called, piece)]
    messages += [called, *[ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in called.tool_calls]]
    return {"whole": calls[0], "streamed": calls[1], "then": bound.invoke(messages).content}


def agent(asked):
    done = create_agent(model(asked), [weather]).invoke({"messages": [HumanMessage("please")]})
    return [[message.type, message.content] for message in done["messages"]]


def structured(method, **more):
    return lambda asked: model(asked).with_structured_output(City, method=method, **more).invoke("please").model_dump()


cases.main(
    {
        "chat": chat,
        "tools": tools,
        "agent": agent,
        "json_schema": structured("json_schema"),
        "json_mode": structured("json_mode"),
        "function_calling": structured("function_calling"),
        "strict function_calling": structured("function_calling", strict=True),
    }
)
