"""What compose/observability holds, as Prometheus and Grafana read it, and a Prometheus of our own to ask."""

import json
import math
import os
import re
import subprocess
import time

import httpx
import yaml
from edge import ROOT, free_port, wait_until

COMPOSE = ROOT / "compose"
FOLDER = COMPOSE / "observability"
RULES = FOLDER / "prometheus/rules.yml"
DASHBOARDS = sorted((FOLDER / "grafana/dashboards").glob("*.json"))
SCRAPE_SECONDS = 1
# `expression operator number`, as rules.yml promises it.
ALERT = re.compile(r"(?s)(.+?)\s*(?:==|!=|<=|>=|<|>)\s*([-\d.]+(?:\s*\*\s*[\d.]+)*)\s*")


def read_yaml(path):
    return yaml.safe_load(path.read_text())


def dashboards():
    return {path.name: json.loads(path.read_text()) for path in DASHBOARDS}


def panels(dashboard):
    """All panels; those of a closed row stand inside it."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def rules():
    return [rule for group in read_yaml(RULES)["groups"] for rule in group["rules"]]


def without_threshold(expr):
    found = ALERT.fullmatch(expr)
    assert found, f"not `expression operator number`: {expr}"
    return found[1]


def substituted(expr, window):
    """As Grafana does it: the rate interval for this scrape interval, the time range, and "All" for every variable."""
    values = {"__rate_interval": f"{max(4 * SCRAPE_SECONDS, 4)}s", "__interval": f"{SCRAPE_SECONDS}s", "__range": f"{window}s", "provider": ".*"}

    def value(match):
        name = match[1] or match[2].partition(":")[0]
        assert name in values, f"no value for the variable {name}: {expr}"
        return values[name]

    return re.sub(r"\$(\w+)|\$\{([^}]+)\}", value, expr)


def finite(series):
    """The numbers of a series or a sample, without NaN (nothing to divide by) and infinities."""
    points = series["values"] if "values" in series else [series["value"]]
    return [number for number in (float(point[1]) for point in points) if math.isfinite(number)]


class Process:
    """A program that answers at `ready`, ended by its id."""

    def __init__(self, log, ready, *command):
        with log.open("w") as out:
            self.child = subprocess.Popen(command, stdout=out, stderr=out, env={"PATH": os.environ["PATH"]})
        self.log = log
        try:
            wait_until(lambda: self.answers(ready), 30)
        except AssertionError:
            self.stop()
            raise AssertionError(f"{command[0]}: {log.read_text()[-2000:]}") from None

    def answers(self, url):
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self):
        self.child.terminate()
        self.child.wait(20)


class Prometheus(Process):
    """The shipped configuration, with a file in place of DNS, local addresses, and less patience."""

    def __init__(self, directory, exporter):
        self.targets, self.port, self.started = directory / "workers.json", free_port(), time.time()
        config = read_yaml(FOLDER / "prometheus/prometheus.yml")
        config["global"] = {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"}
        config["rule_files"] = [str(RULES)]
        jobs = {job["job_name"]: job for job in config["scrape_configs"]}
        assert jobs["worker"].pop("dns_sd_configs") and jobs["worker"].pop("scrape_interval")
        jobs["worker"]["file_sd_configs"] = [{"files": [str(self.targets)], "refresh_interval": "1s"}]
        jobs["nginx"]["static_configs"][0]["targets"] = [exporter]
        file = directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{self.port}"
        storage = f"--storage.tsdb.path={directory / 'data'}"
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        super().__init__(directory / "prometheus.log", f"{self.url}/-/ready", "prometheus", f"--config.file={file}", storage, listen)

    def follow(self, addresses):
        """What the name server would say now."""
        new = self.targets.with_suffix(".new")
        new.write_text(json.dumps([{"targets": sorted(addresses)}]))
        new.rename(self.targets)

    def get(self, path, **parameters):
        answer = httpx.post(f"{self.url}/api/v1/{path}", data=parameters, timeout=30) if parameters else httpx.get(f"{self.url}/api/v1/{path}")
        body = answer.json()
        assert body["status"] == "success", f"{parameters}: {body['error']}"
        assert not body.get("warnings"), f"{parameters}: {body['warnings']}"
        return body["data"]

    def range(self, expr):
        """Everything since the start, as a graph asks for it."""
        return self.get("query_range", query=expr, start=self.started, end=time.time(), step=SCRAPE_SECONDS)["result"]

    def now(self, expr):
        return self.get("query", query=expr)["result"]

    def number(self, expr):
        """The one number that an expression gives now; 0 for none."""
        result = self.now(expr)
        assert len(result) <= 1, f"{expr}: {result}"
        return finite(result[0])[0] if result else 0
