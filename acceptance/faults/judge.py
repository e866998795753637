"""Brings a fault about under load, and judges what everybody was told of it."""

import math
import re
import time
from collections import Counter

import redis
from faults.load import Load
from faults.stand import QUEUES, TIMEOUT_MS, since
from faults.table import ALL, LASTS_S

from stage import expect, request, until

LATE_S = 4.0
"""What a loaded machine may add to a deadline."""
NORMAL_S = 20.0
"""How soon all is well at the latest; mostly it is a second or two."""


class Case:
    """One fault, on a stand that is well."""

    def __init__(self, stand, load, fault):
        self.stand, self.load, self.fault = stand, load, fault
        until("the stand is well", self._is_well)
        self.leases, self.log_sizes = stand.leases(), stand.log_sizes()
        self.metrics, self.connects = stand.metrics(), load.stream.connects
        self.normal = math.inf
        """When all was well again."""

    def run(self):
        """Begins and ends the fault, and says in a few words how it went. Raises ``AssertionError``."""
        self.begun = time.monotonic()
        self.fault.begin(self.stand)
        self._last()
        self.fault.end(self.stand)
        ended = time.monotonic()
        serves = until("requests are answered again", lambda: self._answered_since(ended), NORMAL_S) - ended
        until("everything is well again", self._is_well, NORMAL_S)
        until("the workers of before live", lambda: self._leases() == self.leases, NORMAL_S)
        self.normal = time.monotonic()
        until("the end of it was said", lambda: all(self._said_end(who) for who in self.fault.hits), NORMAL_S)
        self.load.settle(self._hit())
        self._judge_answers()
        self._judge_runs()
        self._judge_words()
        self._judge_metrics()
        return f"serves after {serves:.1f} s, all well after {self.normal - ended:.1f} s, told {self._told()}"

    def _last(self):
        """Lets it last for as long as it has to, and until readiness says it and some client was told."""
        begun = time.monotonic()
        if self.fault.reason:
            until(f"readiness says {self.fault.reason}", self._is_unready_for_it)
        elif not self.fault.words:
            expect(self.stand.readiness()[0] == 200, "the front stays ready")
        if self.fault.hurts and self.fault.lasts:
            until("a client is told of it", self._hurt)
        hold_s = max(self.fault.hold_s, LASTS_S) if self.fault.lasts else self.fault.hold_s
        time.sleep(max(0.0, hold_s - since(begun)))
        if self.fault.words and not self.fault.reason and "front" not in self.fault.hits:
            status, reasons = self.stand.readiness()
            expect(status == 200, f"nothing is wrong with the front: {reasons}")

    def _is_unready_for_it(self):
        status, reasons = self.stand.readiness()
        named = reasons.get(self.fault.reason, {}).get("fault")
        return status == 503 and named == self.fault.words[-1]

    def _is_well(self):
        """Every queue answers both methods, the front is ready, and an event comes through."""
        event = f"event-{time.monotonic()}"
        try:
            self.stand.bus.publish("news", event)
        except redis.RedisError:
            return False
        serves = all(request(self.stand.port, method, f"/{q}")[0] == 200 for q in QUEUES for method in ("GET", "POST"))
        return serves and self.stand.readiness()[0] == 200 and self.load.stream.has(event)

    def _answered_since(self, ended):
        """When both SDKs had answered both methods to requests of after the fault; none if they have not yet."""
        first = {}
        for asked in list(self.load.asked):
            if asked.queue in ("py", "rust") and asked.begun >= ended and asked.status == 200:
                first.setdefault((asked.queue, asked.method), asked.begun + asked.took_s)
        return max(first.values()) if len(first) == 4 else None

    def _leases(self):
        try:
            return self.stand.leases()
        except redis.RedisError:
            return None

    def _hit(self):
        """The requests that were under way at some time of the fault."""
        over = [asked for asked in self.load.asked if asked.begun < self.normal]
        return [asked for asked in over if asked.status is None or asked.begun + asked.took_s > self.begun]

    def _hurt(self):
        """Those of them that have ended and were not answered."""
        return [asked for asked in self._hit() if asked.status not in (None, 200)]

    def _told(self):
        counts = Counter(asked.told for asked in self._hit())
        return ", ".join(f"{told}: {count}" for told, count in sorted(counts.items()))

    def _judge_answers(self):
        """Every request has one outcome, in time, and it is one that the table allows."""
        hit = self._hit()
        for asked in hit:
            expect(asked.status is not None, f"hangs: {asked}")
            expect(asked.took_s < TIMEOUT_MS / 1000 + LATE_S, f"late: {asked}")
            allowed = asked.told == "200" or {asked.told, f"{asked.method} {asked.told}"} & set(self.fault.told)
            # On a loaded machine the shell worker may be slower than it is asked, and its front say so.
            allowed = allowed or (asked.queue == "sh" and asked.told == "503 queue_full")
            expect(allowed, f"told {asked.told}: {asked}")
        expect(self._hurt() or not self.fault.hurts, "no client was told of it")
        for asked in self.load.asked:
            late = asked.begun >= self.normal and asked.queue != "sh" and asked.status is not None
            expect(not late or asked.status == 200, f"told {asked.told} when all was well again: {asked}")
        texts = Counter((asked.queue, asked.text) for asked in self.load.asked if asked.status == 200)
        expect(max(texts.values()) == 1, f"a reply that two clients got: {texts.most_common(1)}")
        for asked in self.load.asked:
            expect(asked.queue != "py" or asked.status != 200 or asked.text == asked.target, f"not its own: {asked}")

    def _judge_runs(self):
        """Nothing was lost silently or run too often, and nothing was run that its client was told was not."""
        runs = Counter(self.stand.runs())
        for asked in self._hit():
            if asked.queue != "py":
                continue
            count, most = runs[asked.target], 2 if asked.method == "GET" and self.fault.runs_twice else 1
            expect(count <= most, f"run {count} times: {asked}")
            expect(count > 0 or asked.status != 200, f"answered and never run: {asked}")
            refused = asked.method == "POST" and asked.status == 503
            expect(count == 0 or not refused, f"refused and run: {asked}")
        if not self.fault.loses:
            sure = [name for name, is_sure in self.load.noted.items() if is_sure]
            until("every job that Redis confirmed has run", lambda: not set(sure) - set(self.stand.runs()), NORMAL_S)
        expect(self.load.stream.connects == self.connects, "the event stream stayed open")
        ended = {queue: worker.poll() for queue, worker in self.stand.workers.items()}
        expect(set(ended.values()) == {None}, f"workers ended: {ended}")

    def _lines(self, who):
        return self.stand.logged(who, self.log_sizes[who])

    def _said_end(self, who):
        return any("Redis serves again" in line for line in self._lines(who))

    def _judge_words(self):
        """One line for each kind of fault, one for its end, and no other trouble."""
        for who in ALL:
            lines = self._lines(who)
            begun = [line for line in lines if "Redis is in trouble" in line]
            ended = [line for line in lines if "Redis serves again" in line]
            words = list(self.fault.words) if who in self.fault.hits else []
            named = [re.search(r"fault=\"(\w+)|trouble \((\w+)", line).group(1, 2) for line in begun]
            said = sorted(one or other for one, other in named)
            expect(self._fit(said, words) if words else not said, f"{who} says {said}, not {words}: {begun}")
            expect(len(ended) == bool(said), f"{who} says the end {len(ended)} times: {ended}")
            other = [line for line in lines if re.search(r"WARN|ERROR|panicked|Traceback", line) and line not in begun]
            expect(self.fault.kills or not other, f"{who} also says {other[:3]}")

    def _fit(self, said, words):
        """What lasts a moment may be met by one and not by another."""
        return set(words) - set(self.fault.brief) <= set(said) <= {*words, *self.fault.brief} and len(said) == len(
            set(said)
        )

    def _judge_metrics(self):
        """The counter of faults moved, and no worker was held for dead that lives."""
        after = self.stand.metrics()
        moved = {name: value - self.metrics.get(name, 0) for name, value in after.items()}
        if "front" in self.fault.hits:
            for word in self.fault.words:
                expect(moved[f'tempest_redis_faults_total{{fault="{word}"}}'] == 1, f"the counter of {word}")
        deaths = {name: by for name, by in moved.items() if name.startswith("tempest_worker_deaths") and by}
        expect(self.fault.kills or not deaths, f"held for dead: {deaths}")


def run_all(make_stand, faults):
    """Brings all of them about on one stand, one after the other; gives what became of each, by name: how it went, or
    the error."""
    became = {}
    with make_stand() as stand:
        load = Load(stand)
        for fault in faults:
            try:
                became[fault.name] = Case(stand, load, fault).run()
            except Exception as error:
                became[fault.name] = error
        if any(isinstance(outcome, Exception) for outcome in became.values()):
            stand.show()
        hanging = load.stop()
        if hanging:
            became[faults[-1].name] = AssertionError(f"hang: {hanging[:3]}")
    return became
