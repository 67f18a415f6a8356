"""Accounts that several workers share, over a file and over a server: a token that is good once, limits that hold for all of them together,
rests that all of them heed, accounts that one of them is given and all of them use; and what a killed worker leaves behind."""

import asyncio
import collections
import json
import signal
import threading
import time

import httpx
import pytest
from edge import wait_until
from stores import headers, metric, question
from stores import pack, place, play, server, simulated  # noqa: F401, fixtures

# Until all workers know of each other, and their places are the cluster's.
TOGETHER = 5
# Within which what one worker knows all of them do: three, and what a busy machine adds.
SECONDS = 20


def ask(url, model, text="echo:hello", **more):
    return httpx.post(f"{url}/v1/chat/completions", headers=headers(), json={**question(text), "model": model, **more}, timeout=150)


def all_at_once(urls, model, each, text="echo:hello"):
    """Answers to `each` questions a worker, asked in one moment."""

    async def run():
        async with httpx.AsyncClient(timeout=150, limits=httpx.Limits(max_connections=200)) as client:
            asked = [client.post(f"{url}/v1/chat/completions", headers=headers(), json={**question(text), "model": model}) for url in urls for _ in range(each)]
            return await asyncio.gather(*asked)

    return asyncio.run(run())


def statuses(answers):
    return dict(collections.Counter(answer.status_code for answer in answers))


def accounts(url):
    return httpx.get(f"{url}/v1/accounts", headers=headers(), timeout=30).raise_for_status().json()["data"]


def together(urls):
    """All of them have heard of each other."""
    time.sleep(TOGETHER)
    return urls


def pasted(simulators, name, number=1):
    """The settings with one account of a provider: that of the number."""
    settings = dict(simulators.settings)
    value = settings[name if number == 1 else f"{name}_{number}"]
    return {known: it for known, it in settings.items() if not known.startswith(f"{name}_")} | {name: value}


def counted(urls, provider, state):
    return sum(metric(url, f'hive_accounts{{provider="{provider}",state="{state}"}}') for url in urls)


@pytest.mark.parametrize(
    ("provider", "model", "variable", "number", "short"),
    [
        ("kimi", "kimi", "KIMI_TOKEN", 2, "refresh_short_lived"),
        ("zhipu", "glm-5-nothink", "ZHIPU_TOKEN", 1, None),
        ("minimax", "MiniMax-M3", "MINIMAX_TOKEN", 1, None),
        ("langfast", "gpt-4o-mini", "LANGFAST_SESSION", 1, "short_lived"),
    ],
)
def test_a_token_that_is_good_once_is_used_once(pack, place, play, provider, model, variable, number, short):
    simulators = play(provider, accounts=2, generation="langfast=session")
    settings = {"STORE_URL": place, **pasted(simulators, variable, number)}
    if settings[variable].startswith("{"):
        # Without the access token that is pasted with it, so that it is renewed first.
        settings[variable] = json.loads(settings[variable])["refresh_token"]
    site = f"{provider.upper()}_BASE_URL"
    if short:
        # Each is renewed before it is used.
        simulators.fault(site, short, times=0)
    urls = [pack.start(1, **settings, TOKENS_FILE=str(pack.folder / f"tokens-{n}"))[0] for n in range(4)]
    for _ in range(3):
        answers = all_at_once(urls, model, 3)
        assert statuses(answers) == {200: 12}, [answer.text for answer in answers if answer.status_code != 200][:3]
    # All of them are killed, and the pasted one is not good any more: the store has the newest.
    pack.end(signal.SIGKILL)
    urls = [pack.start(1, **settings, TOKENS_FILE=str(pack.folder / f"new-{n}"))[0] for n in range(4)]
    answers = all_at_once(urls, model, 2)
    assert statuses(answers) == {200: 8}, [answer.text for answer in answers if answer.status_code != 200][:3]
    again = [violation for violation in simulators.state(site)["violations"] if "used before" in violation]
    assert again == []


def test_a_name_and_password_log_in_once_for_all_workers(pack, place, play):
    simulators = play("qwen_intl", accounts=3)
    own = {name: simulators.settings.pop(name) for name in list(simulators.settings) if name.startswith("INTL_")}
    settings = {"STORE_URL": place, **simulators.settings, "INTL_EMAIL": own["INTL_EMAIL_3"], "INTL_PASSWORD": own["INTL_PASSWORD_3"]}
    for n in range(2):
        urls = [pack.start(1, **settings, TOKENS_FILE=str(pack.folder / f"tokens-{n}-{m}"))[0] for m in range(4)]
        answers = all_at_once(urls, "qwen_intl/qwen3-max", 2)
        assert statuses(answers) == {200: 8}, [answer.text for answer in answers if answer.status_code != 200][:3]
        pack.end(signal.SIGKILL)
    # Those that came later have what the first ones were given.
    assert len(simulators.asked("QWEN_INTL_BASE_URL", "signin")) == 1


def test_a_token_that_is_good_once_outlives_a_server_that_is_emptied(pack, server, play):
    simulators = play("kimi", accounts=2)
    simulators.fault("KIMI_BASE_URL", "refresh_short_lived", times=0)
    settings = {"STORE_URL": server.url(), **pasted(simulators, "KIMI_TOKEN", 2)}
    urls = [pack.start(1, **settings, TOKENS_FILE=str(pack.folder / f"tokens-{n}"))[0] for n in range(4)]
    for _ in range(2):
        assert statuses(all_at_once(urls, "kimi", 1)) == {200: 4}
        # One of them alone knows the newest.
        for _ in range(3):
            assert ask(urls[0], "kimi").status_code == 200
        server.empty()
        time.sleep(SECONDS / 3)
    answers = all_at_once([*urls[1:], *pack.start(1, **settings)], "kimi", 1)
    assert statuses(answers) == {200: 4}, [answer.text for answer in answers]
    again = [violation for violation in simulators.state("KIMI_BASE_URL")["violations"] if "used before" in violation]
    assert again == []


def test_an_account_has_as_many_turns_as_it_may_among_all_workers(pack, place, play):
    simulators = play("qwen", pace=20)
    urls = together(pack.start(4, STORE_URL=place, QWEN_MAX_CONCURRENCY="2", **simulators.settings))
    answers = all_at_once(urls, "qwen-plus", 4, "count:20")
    assert statuses(answers) == {200: 16}, [answer.text for answer in answers if answer.status_code != 200][:3]
    state = simulators.state("QWEN_BASE_URL")
    # Where a machine is too busy to hold places in time, each worker heeds its share, rounded up.
    late = sum(metric(url, 'hive_store_errors_total{operation="hold"}') for url in urls)
    assert state["max_concurrent_per_account"]["1"] <= (5 if late else 2), (state, late)
    assert state["violations"] == []


def test_a_killed_worker_holds_no_place_for_longer_than_half_a_minute(pack, place, play):
    simulators = play("qwen", pace=50)
    urls = together(pack.start(2, STORE_URL=place, QWEN_MAX_CONCURRENCY="1", **simulators.settings))
    stream = threading.Thread(target=lambda: swallowed(lambda: ask(urls[0], "qwen-plus", "count:2000")))
    stream.start()
    wait_until(lambda: simulators.state("QWEN_BASE_URL")["open_streams"] == 1)
    time.sleep(1)
    killed = time.monotonic()
    pack.workers[0][0].send_signal(signal.SIGKILL)
    answer = ask(urls[1], "qwen-plus")
    took = time.monotonic() - killed
    stream.join()
    assert answer.status_code == 200, answer.text
    assert 5 < took < 33, took


def swallowed(what):
    try:
        return what()
    except httpx.TransportError:
        return None


def test_what_one_worker_meets_all_of_them_heed(pack, place, play):
    simulators = play("kimi", accounts=2)
    urls = together(pack.start(4, STORE_URL=place, ACCOUNT_PROBE_SECONDS="15", RETRY_DELAYS_MS="10", **pasted(simulators, "KIMI_TOKEN")))
    assert statuses(all_at_once(urls, "kimi", 1)) == {200: 4}
    assert wait_until(lambda: counted(urls, "kimi", "ready") == 1, SECONDS)

    # A rest.
    simulators.fault("KIMI_BASE_URL", "rate_limited_retry_after", times=1, retry_after=12)
    assert ask(urls[0], "kimi").status_code == 429
    wait_until(lambda: counted(urls, "kimi", "cooling") == 1 and all(accounts(url)[0]["state"] == "cooling" for url in urls), SECONDS)
    calls = simulators.state("KIMI_BASE_URL")["questions"]
    for url in urls:
        answer = ask(url, "kimi")
        assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 12, answer.text
    assert simulators.state("KIMI_BASE_URL")["questions"] == calls, "nobody has asked"
    wait_until(lambda: ask(urls[1], "kimi").status_code == 200, 15, 0.5)

    # A refusal, and one probe for all of them.
    wait_until(lambda: counted(urls, "kimi", "ready") == 1, SECONDS)
    simulators.fault("KIMI_BASE_URL", "unauthenticated", times=0)
    assert ask(urls[2], "kimi").status_code == 502
    wait_until(lambda: all(accounts(url)[0]["state"] == "disabled" for url in urls), SECONDS)
    assert (counted(urls, "kimi", "disabled"), counted(urls, "kimi", "ready")) == (1, 0)
    calls = simulators.state("KIMI_BASE_URL")["questions"]
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for url in urls:
            assert ask(url, "kimi").status_code in (502, 503)
        time.sleep(0.2)
    probes = simulators.state("KIMI_BASE_URL")["questions"] - calls
    assert 1 <= probes <= 2, probes
    simulators.well("KIMI_BASE_URL")
    wait_until(lambda: [ask(url, "kimi").status_code for url in urls].count(200), 40, 0.5)
    wait_until(lambda: all(ask(url, "kimi").status_code == 200 for url in urls), SECONDS, 0.5)


def test_the_pace_is_that_of_all_workers_together(pack, place, play):
    simulators = play("kimi")
    urls = together(pack.start(4, STORE_URL=place, KIMI_MIN_INTERVAL="0.7", **simulators.settings))
    answers = all_at_once(urls, "kimi", 2)
    assert statuses(answers) == {200: 8}, [answer.text for answer in answers if answer.status_code != 200][:3]
    times = sorted(simulators.asked("KIMI_BASE_URL"))
    # What a turn does before its question takes its own time, on a busy machine much of it: the pauses are seen together, of which
    # one too few would be 700 ms. Where the store was too late each worker keeps its own pace.
    late = sum(metric(url, 'hive_store_errors_total{operation="hold"}') for url in urls)
    assert len(times) == 8 and (late or times[-1] - times[0] > 7 * 700 - 600), (times, late)
    pack.end(signal.SIGTERM)
    while time.time() % 3600 > 3500:
        time.sleep(1)
    urls = together(pack.start(4, STORE_URL=place, KIMI_TURNS_PER_HOUR="5", KIMI_TURNS_PER_DAY="7", **simulators.settings))
    answers = all_at_once(urls, "kimi", 4)
    assert statuses(answers) == {200: 5, 429: 11}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 0 < int(refused.headers["retry-after"]) <= 3600, refused.headers


def test_an_account_that_one_worker_is_given_all_of_them_use(pack, place, play):
    simulators = play("kimi", "openai", accounts=3)
    tokens = [value for name, value in simulators.settings.items() if name.startswith("KIMI_TOKEN")]
    settings = {name: value for name, value in simulators.settings.items() if not name.startswith("KIMI_TOKEN")}
    settings["OPENAI_COMPAT_1_API_KEY"], *more_keys = settings["OPENAI_COMPAT_1_API_KEY"].split(",")
    urls = pack.start(4, STORE_URL=place, **settings)
    assert len(tokens) == 3 and more_keys

    def add(url, provider, credential):
        return httpx.post(f"{url}/v1/accounts", headers=headers(), json={"provider": provider, "credential": credential}, timeout=60)

    def numbers(url, provider):
        return [account["number"] for account in accounts(url) if account["provider"] == provider]

    # Three at once, two of them on one worker: each is there, under a number of its own.
    async def race():
        return await asyncio.gather(*(asyncio.to_thread(add, urls[n % 2], "kimi", token) for n, token in enumerate(tokens)))

    added = asyncio.run(race())
    assert statuses(added) == {201: 3}, [answer.text for answer in added]
    wait_until(lambda: all(len(set(numbers(url, "kimi"))) == 3 for url in urls), SECONDS)
    assert [sorted(numbers(url, "kimi")) for url in urls] == [sorted(numbers(urls[0], "kimi"))] * 4
    assert statuses(all_at_once(urls, "kimi", 1)) == {200: 4}
    assert wait_until(lambda: counted(urls, "kimi", "ready") == 3, SECONDS)
    assert add(urls[1], "kimi", tokens[0]).status_code == 409

    # A key of an API lane.
    answer = add(urls[2], "sim", more_keys[0])
    assert answer.status_code == 201, answer.text
    assert add(urls[2], "sim", more_keys[0]).status_code == 409
    wait_until(lambda: all(len(numbers(url, "sim")) == 2 for url in urls), SECONDS)
    assert statuses(all_at_once(urls, "sim-chat", 4)) == {200: 16}
    assert len(simulators.state("OPENAI_COMPAT_1_BASE_URL")["max_concurrent_per_account"]) == 2

    # Looked at on any of them.
    ids = [answer.json()["id"] for answer in added]
    checked = httpx.post(f"{urls[3]}/v1/accounts/{ids[0]}/check", headers=headers(), timeout=60)
    assert checked.status_code == 200 and checked.json()["check"] == {"ok": True}, checked.text
    wait_until(lambda: all(next(it for it in accounts(url) if it["id"] == ids[0])["checked_at"] >= checked.json()["checked_at"] for url in urls), SECONDS)

    # All of them start anew.
    pack.end(signal.SIGKILL)
    urls = pack.start(4, STORE_URL=place, **settings)
    wait_until(lambda: all(len(set(numbers(url, "kimi"))) == 3 and len(numbers(url, "sim")) == 2 for url in urls), SECONDS)
    assert statuses(all_at_once(urls, "kimi", 1)) == {200: 4}

    # Taken back by one of them.
    for n, account in enumerate(ids):
        assert httpx.delete(f"{urls[n % 4]}/v1/accounts/{account}", headers=headers(), timeout=60).status_code == 200
    wait_until(lambda: all(numbers(url, "kimi") == [] for url in urls), SECONDS)
    assert statuses(all_at_once(urls, "kimi", 1)) == {503: 4}


def sign_ups(simulators):
    return len(simulators.asked("LANGFAST_BASE_URL", "signup"))


def test_guests_outlive_their_workers_and_are_no_more_than_the_cluster_may_have(pack, place, play):
    simulators = play("langfast")
    settings = {"STORE_URL": place, "MIN_CREDENTIALS": "1", "MAX_CREDENTIALS": "4", **simulators.settings}
    urls = together(pack.start(2, **settings))
    assert statuses(all_at_once(urls, "gpt-4o-mini", 4)) == {200: 8}
    wait_until(lambda: counted(urls, "langfast", "ready") == sign_ups(simulators) <= 4, SECONDS)
    first = sign_ups(simulators)
    assert first >= 2, "each worker has one at least"

    # Told to end, they leave their guests to those who come.
    pack.end(signal.SIGTERM)
    urls = together(pack.start(2, **settings))
    assert statuses(all_at_once(urls, "gpt-4o-mini", 1)) == {200: 2}
    assert sign_ups(simulators) == first

    # Killed, they hold them for half a minute more.
    wait_until(lambda: counted(urls, "langfast", "ready") == 2, SECONDS)
    pack.end(signal.SIGKILL)
    time.sleep(31)
    urls = pack.start(2, **settings)
    for _ in range(2):
        assert statuses(all_at_once(urls, "gpt-4o-mini", 1)) == {200: 2}
    assert sign_ups(simulators) == first
    assert simulators.state("LANGFAST_BASE_URL")["violations"] == []
