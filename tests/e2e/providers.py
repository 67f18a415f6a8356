"""The providers as the tests ask them: one line each, besides which no test names them all."""

from typing import NamedTuple


class Provider(NamedTuple):
    name: str
    # A model that answers at once, and one that thinks aloud.
    plain: str
    thinking: str | None = None
    # The variable that leads to its simulator.
    address: str = ""
    # Its conversations can be deleted, and have to be.
    deletes: bool = True
    # The service takes questions of one account from several workers at once.
    is_shared: bool = True

    @property
    def variable(self):
        return self.address or f"{self.name.upper()}_BASE_URL"


PROVIDERS = [
    Provider("qwen", "qwen-plus", "qwen3-max-thinking"),
    Provider("qwen_intl", "qwen3.7-plus", "qwen3.7-plus-thinking"),
    Provider("xinghuo", "spark-lite", "spark-x1"),
    Provider("deepseek", "deepseek-chat", "deepseek-reasoner"),
    Provider("kimi", "kimi", "kimi-thinking"),
    Provider("langfast", "gpt-4o-mini", deletes=False),
    Provider("doubao", "doubao", "doubao-thinking"),
    Provider("metaso", "metaso", "metaso-research", deletes=False),
    Provider("minimax", "MiniMax-M3", "MiniMax-M3-thinking"),
    Provider("ernie", "ernie-4.5-turbo", "ernie-x1"),
    Provider("flowgpt", "gpt-4-free", deletes=False),
    Provider("zhipu", "glm-5-nothink", "glm-5", is_shared=False),
    Provider("openai", "sim-chat", "sim-reasoner", "OPENAI_COMPAT_1_BASE_URL", deletes=False),
    # It thinks aloud only for callers who ask for a summary, which chat completions have no word for.
    Provider("responses", "rsim-chat", None, "OPENAI_COMPAT_3_BASE_URL", deletes=False),
    Provider("anthropic", "asim-chat", "asim-reasoner", "OPENAI_COMPAT_4_BASE_URL", deletes=False),
]

# Provider, and a model of it that answers at once.
PLAIN = [(provider.name, provider.plain) for provider in PROVIDERS]
# Provider, a model of it, and whether the model thinks aloud.
MODELS = [(provider.name, model, model == provider.thinking) for provider in PROVIDERS for model in (provider.plain, provider.thinking) if model]
