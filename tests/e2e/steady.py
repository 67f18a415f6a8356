"""A steady load of chats, and what became of each: long streams, short ones, and answers in one piece."""

import asyncio
import json
import threading
import time


class Chat:
    """One request and its end. `error` says what a client would complain about."""

    def __init__(self, kind, session):
        self.kind, self.session, self.started = kind, session, time.monotonic()
        self.worker = self.status = self.error = self.ended = None

    def took(self):
        return self.ended - self.started

    def __repr__(self):
        return f"<{self.kind} {self.session} {self.worker} {self.status} {self.error} {self.took():.2f} s>"


class Load:
    """Clients that ask one chat after the other, in a thread of their own, until stopped."""

    # kind: clients, model, directives, words of the answer, streamed
    KINDS = {
        "long": (24, "sim-chat", "pace:300", 100, True),
        "short": (6, "qwen-plus", "pace:20", 15, True),
        "whole": (6, "sim-chat", "pace:10", 10, False),
    }

    def __init__(self, port, key):
        self.port, self.key = port, key
        # Those that have ended, and those that run.
        self.chats, self.running = [], []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """No new chats; those that run go on to their end."""
        self.stopping.set()
        self.thread.join()

    def holding(self):
        """The workers that are sending a long stream."""
        return {chat.worker for chat in list(self.running) if chat.kind == "long" and chat.worker}

    def failed(self, since=0.0):
        return [chat for chat in self.chats if chat.error and chat.ended >= since]

    async def run(self):
        await asyncio.gather(*(self.client(kind, n) for kind, (clients, *_) in self.KINDS.items() for n in range(clients)))

    async def client(self, kind, n):
        connection, turn = None, 0
        while not self.stopping.is_set():
            turn += 1
            # Half of the long ones are named; the others are told apart by what they say.
            chat = Chat(kind, f"{kind}-{n}" if kind != "long" or n % 2 else f"{kind}-{n}-{turn}")
            self.running.append(chat)
            try:
                # Answers in one piece come over a connection that is kept, as SDKs do it; streams have one of their own.
                connection = await asyncio.wait_for(self.ask(chat, connection if kind == "whole" else None), 90)
            except (OSError, EOFError, ValueError, AssertionError, asyncio.TimeoutError) as error:
                connection, chat.error = None, repr(error)
            chat.ended = time.monotonic()
            self.running.remove(chat)
            self.chats.append(chat)
            await asyncio.sleep(0.1 if kind != "long" else 0)

    async def ask(self, chat, connection):
        _, model, directives, words, streamed = self.KINDS[chat.kind]
        message = {"role": "user", "content": f"tag:{chat.session} {directives} count:{words}"}
        body = json.dumps({"model": model, "stream": streamed, "messages": [message]}).encode()
        headers = {"Host": "hive", "Authorization": f"Bearer {self.key}", "Content-Type": "application/json", "Content-Length": len(body)}
        if chat.session == f"{chat.kind}-{chat.session.split('-')[1]}":
            headers["X-Session-Id"] = chat.session
        if streamed:
            headers["Connection"] = "close"
        reader, writer = connection or await asyncio.open_connection("127.0.0.1", self.port)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + body)
        await writer.drain()
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        answered = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        chat.status, chat.worker = int(status.split()[1]), answered.get("x-hive-worker")
        text = await self.body(reader, answered)
        wanted = " ".join(f"{chat.session}-{n}" for n in range(1, words + 1))
        assert chat.status == 200, f"{chat.status} {text[:200]}"
        assert words_of(text, streamed) == wanted, f"not what was asked for: …{text[-200:]}"
        if answered.get("connection") == "close":
            writer.close()
            return None
        return reader, writer

    @staticmethod
    async def body(reader, headers):
        if "content-length" in headers:
            return (await reader.readexactly(int(headers["content-length"]))).decode()
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body.decode()


def words_of(text, streamed):
    if not streamed:
        return json.loads(text)["choices"][0]["message"]["content"]
    events = [event.removeprefix("data: ") for event in text.split("\n\n") if event.startswith("data: ")]
    assert events[-1] == "[DONE]", f"cut: …{text[-200:]}"
    return "".join(choice["delta"].get("content") or "" for event in events[:-1] for choice in json.loads(event)["choices"])
