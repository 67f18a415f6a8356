"""How cost grows with the work: more streams, more workers, longer answers, longer questions. Beside nginx's own growth."""

import base64
import json
import os

import verdict
from gateways import ask

STREAM_COUNTS = (1, 64, 512, 2000, 5000)
WORKER_COUNTS = (1, 2, 4)
LASTING = ("--warmup", 2, "--duration", 4)


def series(driver, gateways, points, rounds):
    """The median cost at each point, of each gateway, taken in turn."""
    costs = {gateway.name: [] for gateway in gateways}
    for per, arguments in points:
        taken = {gateway.name: [] for gateway in gateways}
        for _ in range(rounds):
            for gateway in gateways:
                figures = driver.run(gateway, *arguments, *LASTING)
                taken[gateway.name].append(None if figures.errors else figures.cpu_us(per))
        for name, values in taken.items():
            costs[name].append(verdict.median(values))
    return costs


def streams(count):
    """Some 10000 pieces a second in all, so that only the number of streams grows."""
    every = max(20, count // 10)
    return "pieces", ("--prompt", f"load:pieces=1000000,every={every}ms", "-c", count)


def long_stream(pieces):
    streams = max(1, 40_000 // pieces)
    return "pieces", ("--prompt", f"load:pieces={pieces}", "-c", min(streams, 16))


def body(folder, name, content):
    """A question from a file: too long for a command line."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"model": "load", "stream": False, "messages": content}))
    return "requests", ("--mode", "json", "--body", file)


def history(folder, size):
    """A long chat: turns of five hundred bytes, and a short question."""
    content = "the quick brown fox jumps over a lazy dog " * 12
    turns = [{"role": role, "content": content} for role in ("user", "assistant")]
    pairs = max(round(size / len(json.dumps(turns))), 1)
    return body(folder, f"history-{size}", [*turns * pairs, {"role": "user", "content": "load:pieces=4"}])


def image(folder, size):
    data = base64.b64encode(os.urandom(size)).decode()
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    text = {"type": "text", "text": "load:pieces=4"}
    return body(folder, f"image-{size}", [{"role": "user", "content": [picture, text]}])


def lines(title, labels, costs):
    """The costs, and each one's growth from the first on."""
    yield f"\n{title}\n{'':<14}" + "".join(f"{label:>16}" for label in labels)
    for name, values in costs.items():
        cells = (f"{verdict.number(value)} µs ×{verdict.number(verdict.ratio(value, values[0]))}" for value in values)
        yield f"{name:<14}" + "".join(f"{cell:>16}" for cell in cells)
    for name in (name for name in costs if name != "nginx"):
        cells = map(verdict.number, map(verdict.ratio, costs[name], costs["nginx"]))
        yield f"{'  to nginx':<14}" + "".join(f"{cell:>16}" for cell in cells)


def measured(setup, rounds):
    """Every series, as text and as figures."""
    pair, folder = [setup.nginx, setup.worker], setup.folder
    kib = (1 << 10, 100 << 10, 1 << 20)
    large = (100 << 10, 1 << 20, 10 << 20)
    plans = (
        ("CPU per piece, by open streams", STREAM_COUNTS, [streams(count) for count in STREAM_COUNTS]),
        ("CPU per back-to-back piece, by pieces of a stream", (100, 1000, 10_000), [long_stream(count) for count in (100, 1000, 10_000)]),
        ("CPU per request, by bytes of history", kib, [history(folder, size) for size in kib]),
        ("CPU per request, by bytes of image", large, [image(folder, size) for size in large]),
    )
    text, figures = [], {}
    for title, labels, points in plans:
        figures[title] = {"points": labels, "cpu_us": series(setup.driver, pair, points, rounds)}
        text += lines(title, labels, figures[title]["cpu_us"])
    for title, point in (
        ("CPU per JSON request, by workers behind nginx", ("requests", ("--mode", "json", "-c", 64))),
        ("CPU per piece of 200 streams, by workers behind nginx", streams(200)),
    ):
        costs = {"cluster": [], "nginx": series(setup.driver, [setup.nginx], [point], rounds)["nginx"] * len(WORKER_COUNTS)}
        for count in WORKER_COUNTS:
            cluster = setup.with_cluster(count)
            ask(cluster)
            costs["cluster"] += series(setup.driver, [cluster], [point], rounds)[cluster.name]
            cluster.stop()
        figures[title] = {"points": WORKER_COUNTS, "cpu_us": costs}
        text += lines(title, WORKER_COUNTS, costs)
    return "\n".join(text), figures
