"""From values to ratios to PASS and FAIL; and the table that says so."""

import statistics
from dataclasses import asdict, dataclass


@dataclass
class Row:
    """One measure of one gateway."""

    name: str
    title: str
    gateway: str
    unit: str
    value: float
    ratio: float | None = None
    target: float | None = None
    passed: bool | None = None
    values: list | None = None
    # The target is for the value, not for its ratio.
    is_value: bool = False


def median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratio(value, base):
    """None where there is nothing to compare with: a ratio to nothing says nothing."""
    return value / base if value is not None and base else None


def above(value, direct):
    """What a gateway adds; the clock's own noise may make that negative."""
    return None if value is None or direct is None else max(value - direct, 0.0)


def rows(measure, taken):
    """The rows of one measure: `taken` has the values of each gateway, nginx's among them."""
    values = {gateway: median(all_) for gateway, all_ in taken.items()}
    direct = values.pop("direct", None)
    if measure.above_direct:
        values = {gateway: above(value, direct) for gateway, value in values.items()}
    nginx = values.get("nginx")
    return [row(measure, gateway, value, nginx, taken[gateway]) for gateway, value in values.items() if value is not None]


def row(measure, gateway, value, nginx, taken):
    made = Row(measure.name, measure.title, gateway, measure.unit, value, values=taken, is_value=measure.absolute)
    if gateway != "nginx":
        made.ratio = ratio(value, nginx)
        made.target = {"worker": measure.target}.get(gateway, measure.cluster if gateway.startswith("nginx +") else None)
        judged = value if measure.absolute else made.ratio
        if made.target is not None and judged is not None:
            made.passed = judged <= made.target
    return made


def growth(all_rows):
    """The cumulative stream eight times as long: how much more its pieces cost."""
    value = {(row.name, row.gateway): row.value for row in all_rows}
    for gateway in dict.fromkeys(row.gateway for row in all_rows):
        grown = ratio(value.get(("cumulative512", gateway)), value.get(("cumulative", gateway)))
        if grown is not None:
            made = Row("cumulative_growth", "the same, 512 against 64 pieces", gateway, "×", grown)
            if gateway == "worker":
                made.target, made.passed = 1.8, grown <= 1.8
            yield made


def held_rows(measure, taken):
    """Memory, errors and what is given back: three rows of one measure."""
    memory = {gateway: [one["memory"] for one in values] for gateway, values in taken.items()}
    yield from rows(measure, memory)
    for name, title, unit, most in (
        ("errors", "errors at held streams", "", 0),
        ("given_back", "memory after they closed, to rest", "×", 1.5),
    ):
        for gateway, values in taken.items():
            worst = max(one[name] for one in values)
            judged = worst <= most if gateway != "nginx" else None
            yield Row(name, title, gateway, unit, worst, target=most if judged is not None else None, passed=judged)


def number(value):
    """Three digits."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(all_rows, compared="to nginx"):
    """Everything, for people."""
    lines = [f"{'':<46}{'':<12}{'':>14}{compared:>10}{'target':>10}"]
    last = None
    for one in all_rows:
        title = one.title if one.name != last else ""
        last = one.name
        target = "" if one.target is None else f"≤ {number(one.target)}"
        verdict = "" if one.passed is None else "PASS" if one.passed else "FAIL"
        value = f"{number(one.value)} {one.unit}".strip()
        lines.append(f"{title:<46}{one.gateway:<12}{value:>14}{number(one.ratio):>10}{target:>10}  {verdict}".rstrip())
    return "\n".join(lines)


def markdown(all_rows):
    """The table of the README: nginx's own figure, and what others cost of it."""
    by_name = {}
    for one in all_rows:
        by_name.setdefault(one.name, {})[one.gateway] = one
    others = [name for name in dict.fromkeys(one.gateway for one in all_rows) if name != "nginx"]
    lines = ["| | nginx | " + " | ".join(others) + " | target |", "| --- " * (len(others) + 3) + "|"]
    for gateways in by_name.values():
        first, worker = next(iter(gateways.values())), gateways.get("worker")
        nginx = gateways.get("nginx")
        cells = [f"{number(nginx.value)} {nginx.unit}".strip() if nginx else "-"]
        cells += [cell(gateways[name]) if name in gateways else "-" for name in others]
        target = number(worker.target) if worker else "-"
        lines.append(f"| {first.title} | {' | '.join(cells)} | {target} |")
    return "\n".join(lines)


def cell(row):
    """The ratio where there is one; what misses its target stands out."""
    text = number(row.value) if row.ratio is None or row.is_value else f"× {number(row.ratio)}"
    return f"**{text}**" if row.passed is False else text


def as_json(all_rows):
    return [asdict(one) for one in all_rows]
