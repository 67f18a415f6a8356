"""compose/observability for real: a Prometheus scrapes real workers and nginx under load, and every expression of every panel, rule and
alert finds something. Run by `scripts/test observability`. Grafana itself is not started: its files are checked against its schema."""

import asyncio
import itertools
import json
import subprocess

import httpx
import pytest
from conftest import Gateway
from edge import ROOT, free_port, wait_until
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from load import Load
from observability import COMPOSE, DASHBOARDS, FOLDER, RULES, Process, Prometheus, dashboards, finite, panels, read_yaml, rules, substituted, without_threshold

# Panels that may show nothing but noughts after a good minute. Everything else must have shown more.
NOUGHT = {
    "Answers given again": "none is kept here",
    "Unknown shapes in answers: {{provider}} {{where}}": "the simulators say nothing that is unknown",
    "Missing": "a worker that has left and come back is missing for seconds only",
    "Alerts": "all alerts wait for longer than this test lasts",
    "Connections: reading": "headers come in one piece here, in less than a moment",
    "Processor": "counted in whole seconds, of which no worker may have used one",
    "Connections accepted and dropped: dropped": "nginx drops a connection only at its limit of 8192",
}


class Observed(Gateway):
    """The gateway with figures of nginx and less patience with the faults to come."""

    def __init__(self, directory):
        super().__init__(directory)
        self.status = f"127.0.0.1:{free_port()}"
        self.environment |= {
            "NGINX_STATUS_LISTEN": self.status,
            "MAX_STREAMS": "20",
            "CONVERSATIONS": "reuse",
            "STALL_TIMEOUT": "1",
            "RETRY_DELAYS_MS": "50",
            "COOLDOWN_BASE_SECONDS": "1",
            "ACCOUNT_PROBE_SECONDS": "2",
            # Nobody listens there, so the next candidate answers.
            "OPENAI_COMPAT_2_NAME": "nowhere",
            "OPENAI_COMPAT_2_BASE_URL": "http://127.0.0.1:9/v1",
            "OPENAI_COMPAT_2_API_KEY": "sk-nowhere",
            "OPENAI_COMPAT_2_MODELS": "nothing",
            "MODEL_ROUTES": '{"either":["nowhere/nothing","qwen/qwen-plus"]}',
        }

    def addresses(self):
        return {url.removeprefix("http://") for url in self.workers().values()}


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    gateway = Observed(tmp_path_factory.mktemp("observed"))
    try:
        gateway.up()
    except subprocess.CalledProcessError as error:
        pytest.exit(f"scripts/up failed:\n{error.stdout}{error.stderr}", 3)
    yield gateway
    gateway.script("down")


@pytest.fixture(scope="module")
def loaded(observed, tmp_path_factory):
    """Prometheus, after a minute in which everything has happened; and what was sent."""
    directory, address = tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{free_port()}"
    exporter = Process(directory / "exporter.log", f"http://{address}/metrics", "prometheus-nginx-exporter",
                       f"--nginx.scrape-uri=http://{observed.status}/status", f"--web.listen-address={address}")  # fmt: skip
    prometheus = Prometheus(directory, address)
    prometheus.follow(observed.addresses())

    async def scale(wanted):
        await asyncio.to_thread(observed.script, "scale", str(wanted))
        prometheus.follow(observed.addresses())

    load = Load(observed, scale)
    try:
        wait_until(lambda: prometheus.number("hive:workers:up") == 3, 20)
        asyncio.run(load.run())
        wait_until(lambda: prometheus.number("hive:workers:up") == 3, 20)
        yield prometheus, load
    finally:
        prometheus.stop()
        exporter.stop()


def expressions():
    """Every query: where it stands, what it asks."""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel.get("targets", []):
                legend = target.get("legendFormat", "") if len(panel["targets"]) > 1 else ""
                yield pytest.param(panel["title"] + (legend and f": {legend}"), target["expr"], target.get("instant", False), id=f"{name} {panel['title']} {target['refId']}")
    for rule in rules():
        expr = without_threshold(rule["expr"]) if "alert" in rule else rule["expr"]
        yield pytest.param(rule.get("alert") or rule["record"], expr, True, id=rule.get("alert") or rule["record"])


@pytest.mark.parametrize(("title", "expr", "instant"), expressions())
def test_an_expression_finds_something(loaded, title, expr, instant):
    prometheus, _ = loaded
    expr = substituted(expr, 60)
    numbers = [number for series in prometheus.range(expr) for number in finite(series)]
    assert numbers, "no data"
    if instant:
        assert [number for series in prometheus.now(expr) for number in finite(series)], "no data now"
    if title not in NOUGHT and expr not in map(without_threshold, (rule["expr"] for rule in rules() if "alert" in rule)):
        assert any(numbers), "nothing but noughts"


def test_the_variables_of_dashboards_have_values(loaded):
    prometheus, _ = loaded
    for dashboard in dashboards().values():
        for variable in dashboard["templating"]["list"]:
            metric, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").split(", ")
            assert {"qwen", "kimi"} <= {series["metric"][label] for series in prometheus.now(f"group by ({label}) ({metric})")}


def test_figures_agree_with_what_was_sent(loaded):
    prometheus, load = loaded
    # A worker that has gone took its counts along, so each worker's last ones are looked for in the whole time.
    assert prometheus.number('sum(max_over_time(hive_http_responses_total{status="401"}[10m]))') == load.wrong_keys > 20
    for status, count in load.statuses.items():
        seen = prometheus.number(f'sum(max_over_time(hive_http_responses_total{{status="{status}"}}[10m]))')
        # Leavers have got their 200, too.
        assert seen >= count, f"{status}: {seen} of {count}"
    signs = {series["metric"]["kind"] for series in prometheus.now("group by (kind) (max_over_time(hive_upstream_errors_total[10m]))")}
    assert {"auth_expired", "rate_limited", "quota_spent", "verification_required", "unavailable", "timeout", "protocol", "moderated"} <= signs
    assert prometheus.number("sum(max_over_time(hive_pow_seconds_count[10m]))") > 10


def test_a_draining_worker_is_seen_to_its_end(loaded):
    prometheus, _ = loaded
    draining = [series for series in prometheus.range("hive:worker:draining") if any(finite(series))]
    assert len(draining) == 1
    # Longer than the grace of three seconds, after which it does not listen any more.
    assert sum(finite(draining[0])) > 6


def test_prometheus_is_content(loaded):
    prometheus, _ = loaded
    found = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(found) == len(rules())
    assert {rule["name"]: rule.get("lastError") for rule in found if rule["health"] != "ok"} == {}
    targets = prometheus.get("targets")["activeTargets"]
    assert [target["health"] for target in targets] == ["up"] * 4, [target["lastError"] for target in targets]
    assert prometheus.number('count(hive_build_info{worker=~"worker-[123]"})') == 3


def test_nginx_shows_its_figures_to_the_inside_only(observed):
    assert "Active connections" in httpx.get(f"http://{observed.status}/status").text
    assert httpx.get(f"http://{observed.status}/").status_code == 404
    for path in ("/status", "/nginx-status", "/stub_status"):
        answer = httpx.get(observed.url + path, headers=observed.headers())
        assert answer.status_code == 404 and "Active connections" not in answer.text


def test_promtool_is_content():
    for arguments in (["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml"], ["test", "rules", "rules.test.yml"]):
        said = subprocess.run(["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True)
        assert said.returncode == 0, said.stdout + said.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    cases = [case for test in read_yaml(FOLDER / "prometheus/rules.test.yml")["tests"] for case in test["alert_rule_test"]]
    for alert in (rule for rule in rules() if "alert" in rule):
        fires = {bool(case.get("exp_alerts")) for case in cases if case["alertname"] == alert["alert"]}
        assert fires == {True, False}, alert["alert"]
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert set(alert["annotations"]) == {"summary", "description"}


def lost(before, after, path=""):
    """What a reader that knows the schema has dropped."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [part for name, value in before.items() for part in (lost(value, after[name], f"{path}.{name}") if name in after else [f"{path}.{name}"])]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [part for n, (old, new) in enumerate(zip(before, after)) for part in lost(old, new, f"{path}[{n}]")]
    return [] if before == after else [path]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_grafanas_schema_knows_every_field(path):
    register_default_plugins()
    dashboard = dashboards()[path.name]
    assert lost(dashboard, json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))) == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_dashboards_are_in_order(path):
    dashboard = dashboards()[path.name]
    shown = list(panels(dashboard))
    assert len({panel["id"] for panel in shown}) == len(shown)
    uids = {source["uid"] for source in read_yaml(FOLDER / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]}
    assert {variable["datasource"]["uid"] for variable in dashboard["templating"]["list"]} <= uids
    for panel in shown:
        place = panel["gridPos"]
        assert 0 <= place["x"] and place["x"] + place["w"] <= 24, panel["title"]
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] in uids, panel["title"]
            assert panel["targets"] and all(target["expr"].strip() for target in panel["targets"]), panel["title"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"] and panel["description"] and panel["title"]
    for one, other in itertools.combinations(shown, 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, f"{one['title']} lies over {other['title']}"


def test_grafana_finds_what_compose_mounts():
    overlay = read_yaml(COMPOSE / "observability.yaml")
    grafana = overlay["services"]["grafana"]
    mounts = dict(volume.split(":")[:2][::-1] for volume in grafana["volumes"])
    provider = read_yaml(FOLDER / "grafana/provisioning/dashboards/hive2api.yaml")["providers"][0]
    folder = COMPOSE / mounts[provider["options"]["path"]]
    assert sorted(folder.glob("*.json")) == [ROOT / path for path in DASHBOARDS]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (folder / home.rpartition("/")[2]).exists() and home.startswith(provider["options"]["path"])
    interval = read_yaml(FOLDER / "prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert [source["jsonData"]["timeInterval"] for source in read_yaml(FOLDER / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]] == [interval]
    for name, service in overlay["services"].items():
        assert all(port.startswith("${") and ":-127.0.0.1:" in port for port in service.get("ports", [])), name
        assert "image" not in service or service["image"].rpartition(":")[2][:1] in "v0123456789", name
