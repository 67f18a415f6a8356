"""A minute of a gateway's life: good answers, every fault that the simulators know, strangers, leavers, and a worker that drains."""

import asyncio
import itertools
import json

import httpx
from providers import MODELS, PLAIN
from test_clients import ask

SECONDS = 40
# How a caller shows who it is, so that nginx finds each sign.
SIGNS = [{"X-Session-Id": "s{n}"}, {"Cookie": "user={n}"}, {"X-Claude-Code-Session-Id": "c{n}"}, {}]
# They would only take time: an answer that is merely late is none that fails.
LATE = ("slow_", "short_lived", "fast_pings")
# Who is asked by the crowd, and by which model. Its faults come after the crowd: an account that rests sends everybody away at once, and
# then no worker is ever full.
CROWDED = ("openai", "sim-chat")


class Load:
    """What was sent is counted, to be compared with what Prometheus has seen."""

    def __init__(self, gateway, scale):
        self.gateway, self.scale = gateway, scale
        self.wrong_keys, self.statuses = 0, {}
        self.crowd_is_gone = asyncio.Event()

    async def run(self):
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=self.gateway.url, limits=limits, timeout=60) as self.client:
            talkers = [self.until_the_end(self.talk, n) for n in range(4)]
            faults = [self.faults(provider, model) for provider, model in PLAIN]
            await asyncio.gather(*talkers, *faults, self.until_the_end(self.stranger, 0), self.until_the_end(self.leaver, 0), self.crowd(), self.drain())

    async def until_the_end(self, one, number):
        end = asyncio.get_running_loop().time() + SECONDS
        for n in itertools.count(number * 1000):
            if asyncio.get_running_loop().time() > end:
                return
            await one(n)

    async def post(self, path, **more):
        try:
            return await self.client.post(path, **more)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            # A reload of an nginx before 1.27.4 has closed the connection in the moment of use, as test_cluster.py says it.
            return await self.client.post(path, **more)

    async def chat(self, model, text, stream=False, **headers):
        body = {"model": model, "messages": ask(text), "stream": stream}
        answer = await self.post("/v1/chat/completions", json=body, headers=self.gateway.headers(**headers))
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        return answer

    async def talk(self, n):
        _, model, _ = MODELS[n % len(MODELS)]
        sign = {name: value.format(n=n % 7) for name, value in SIGNS[n % len(SIGNS)].items()}
        await self.chat(model, f"T{n} pace:20 count:20", stream=n % 3 > 0, **sign)
        if n % 10 == 0:
            # Its first candidate cannot be reached, so the second one answers.
            await self.chat("either", "echo:second", **sign)

    async def faults(self, provider, model):
        if provider == CROWDED[0]:
            await self.crowd_is_gone.wait()
        simulator = self.gateway.simulators[provider]
        known = (await self.client.get(f"{simulator.url}/__sim/fault")).json()["faults"]
        names = [fault["name"] if isinstance(fault, dict) else fault for fault in known]
        end = asyncio.get_running_loop().time() + SECONDS
        for name in names:
            if name.startswith(LATE) or asyncio.get_running_loop().time() > end:
                continue
            await self.client.post(f"{simulator.url}/__sim/fault", json={"name": name})
            await self.chat(model, f"F{name} count:6", stream=True)

    async def stranger(self, n):
        wrong = {"Authorization": "Bearer sk-nobody"}
        sent = [
            await self.post("/v1/chat/completions", json={}, headers=wrong),
            await self.post("/v1/chat/completions", content=b"{", headers=self.gateway.headers()),
            await self.chat("no-such-model", "hello"),
        ]
        statuses = [answer.status_code for answer in sent]
        # Who has a key may also find the workers full.
        assert statuses[0] == 401 and statuses[1] in (400, 503) and statuses[2] in (404, 503), [answer.text for answer in sent]
        self.wrong_keys += 1
        await asyncio.sleep(0.3)

    async def leaver(self, n):
        body = json.dumps({"model": "qwen-plus", "messages": ask("pace:100 count:200"), "stream": True})
        headers = self.gateway.headers(Cookie=f"leaver={n}", Connection="close")
        async with self.client.stream("POST", "/v1/chat/completions", content=body, headers=headers) as answer:
            async for _ in answer.aiter_bytes():
                break
        await asyncio.sleep(1)

    async def crowd(self):
        """More at once than all workers together take, for as long as a slow machine needs to send them all."""
        await asyncio.sleep(1)
        answers = await asyncio.gather(*(self.chat(CROWDED[1], "pace:100 count:50", stream=True, Cookie=f"crowd={n}") for n in range(120)))
        self.crowd_is_gone.set()
        assert any("overloaded" in answer.text for answer in answers if answer.status_code == 503), "nobody was refused"

    async def drain(self):
        """Long streams on every worker, the last of which goes meanwhile; then another one comes."""
        await asyncio.sleep(SECONDS / 4)
        streams = [asyncio.create_task(self.chat("sim-chat", "pace:100 count:120", stream=True, Cookie=f"long={n}")) for n in range(24)]
        await asyncio.sleep(1)
        await self.scale(2)
        await asyncio.gather(*streams)
        await self.scale(3)
