"""instructor, in the modes that make sense with any OpenAI-compatible service, and its streams of growing objects."""

import cases
import instructor
from openai import OpenAI
from pydantic import BaseModel

MESSAGES = [{"role": "user", "content": "please"}]


class City(BaseModel):
    name: str
    people: int


def client(asked, mode):
    # As docs/clients.md has it.
    return instructor.from_openai(OpenAI(base_url=asked["url"], api_key=asked["key"], max_retries=0), mode=mode)


def created(mode):
    return lambda asked: client(asked, mode).chat.completions.create(model=asked["model"], messages=MESSAGES, response_model=City, max_retries=0).model_dump()


def partial(mode):
    return lambda asked: list(client(asked, mode).chat.completions.create_partial(model=asked["model"], messages=MESSAGES, response_model=City, max_retries=0))[-1].model_dump()


cases.main(
    {
        "tools": created(instructor.Mode.TOOLS),
        "strict tools": created(instructor.Mode.TOOLS_STRICT),
        "json": created(instructor.Mode.JSON),
        "json_schema": created(instructor.Mode.JSON_SCHEMA),
        "md_json": created(instructor.Mode.MD_JSON),
        "partial tools": partial(instructor.Mode.TOOLS),
        "partial json": partial(instructor.Mode.JSON),
    }
)
