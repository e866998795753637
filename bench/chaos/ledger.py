"""What became of each id, by the words of whoever asked, of the workers, and of what is left in Redis.

The rules are those of protocol/SPEC.md ("What is promised", "The front") and docs/errors.md, and nothing is forgiven
beyond them:

- A job whose push was answered is done, or in ``dead`` with a cause. Else it is *lost*.
- A request ends with its own reply, with a code, with a client that hung up, or with a connection that broke while
  its front was dead. Else it is *lost*.
- Whoever may be started once (a POST, a job with ``attempts`` 1) is never started twice, nobody with a number of an
  attempt that it does not have, nobody who was told that no worker took the request is started, no reply is another
  one's, no payload is changed, and a code is one that the faults explain. Else it is *wrong*.
- A job is not started before it is due, or before the one it follows was done, or all of the group that it ends; a
  number of an attempt is started once.
  Who was told that another job holds its key is not started, and no two hold a key together (holding). What is left of
  all that in Redis says how each job ended, and nothing more (records). Else it is *wrong*, too.
- With ``fsync`` other than ``always`` Redis may forget its last moments. A job whose push lies in them may be lost, an
  ack in them repeats what was done: both are told apart from the rest, with how long before its end Redis knew of it.
  What clients are told is not forgiven by that.
- Whoever may be started several times is at times done several times: *repeated*, which is counted.
"""

from collections import Counter
from dataclasses import dataclass, field

from chaos import firings, holding, records
from chaos.records import Left

# With ``everysec`` Redis may lose its last second, and two while the disk is slow; one for our clocks.
FORGOTTEN_MS = 3_000
# A job may start so much before it is due: whoever moves it knows the time of Redis by half of a round trip.
CLOCK_MS = 250
# What a fault may make of a request; any other code is a defect.
REFUSALS = {"worker_lost", "timeout", "no_worker", "queue_full", "redis_away"}
# Refusals that say that nobody has begun.
NEVER_BEGUN = {"no_worker", "queue_full"}


@dataclass
class Account:
    """The sum of a run. ``outcomes`` has every id once; ``lost`` and ``wrong`` say which, and why."""

    outcomes: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    lost: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    # What Redis forgot as it may: by ``lost`` and ``repeated``, milliseconds from its last word to the end of Redis.
    # How many of each kind of background job there were, but for those that were only pushed.
    kinds: Counter = field(default_factory=Counter)
    # Of each job that was due at a time: how long after it was started first.
    late_ms: list = field(default_factory=list)
    forgotten: dict = field(default_factory=lambda: {"lost": [], "repeated": []})

    @property
    def ids(self):
        """How many ids are accounted for."""
        return sum(self.outcomes.values())


@dataclass(frozen=True)
class Known:
    """All that is known of a run: ``ended`` and ``evidence`` and ``dead`` by id, ``waiting`` a list of ids."""

    ended: dict
    evidence: dict
    dead: dict
    waiting: list
    was_down: object
    # When Redis was killed, if it may lose what it had not written to the disk yet (fsync other than always), and how
    # much of its last time.
    forgetful_ms: tuple = ()
    forgotten_ms: int = FORGOTTEN_MS
    left: Left = field(default_factory=Left)
    planted: tuple = ()


def settle(orders, known):
    """The account of these orders."""
    account = Account()
    cases = {order.id: _Case(order, known, account) for order in orders}
    for case in cases.values():
        case.before = cases.get(case.order.after)
        case.members = [cases[member.id] for member in case.order.members]
        case.settle()
    for stranger in (set(known.evidence) | set(known.dead)) - set(cases):
        account.wrong.append(f"{stranger or 'a dead job without an id'}: nobody ordered it")
    account.wrong += [*holding.judge(cases), *records.judge(cases, known)]
    account.wrong += firings.judge(known.planted, set(known.evidence) | set(known.dead))
    return account


class _Case:
    """One order and what is known of it."""

    def __init__(self, order, known, account):
        self.order, self.known, self.account = order, known, account
        self.entries = known.evidence.get(order.id, [])
        self.starts = [entry for entry in self.entries if entry.what == "start"]
        self.ends = [entry for entry in self.entries if entry.what == "end"]
        self.dead = known.dead.get(order.id, [])
        self.ended = known.ended.get(order.id)
        # The case of the job that this one follows.
        self.before = None
        # Those of the group that this one ends.
        self.members = []

    @property
    def is_done(self):
        """Whether somebody has done it."""
        return bool(self.ends)

    @property
    def due_ms(self):
        """When it may be started; 0: at once."""
        if self.order.due_ms or not self.order.in_ms or not self.ended:
            return self.order.due_ms
        return self.ended.from_ms + self.order.in_ms

    def settle(self):
        """Judges the evidence, then what whoever asked was told."""
        self._judge_starts()
        self._judge_payloads()
        self.account.outcomes[self._outcome()] += 1
        if self.order.how != "plain":
            self.account.kinds[self.order.how] += 1
        if self.due_ms and self.starts and self.order.how != "missed":
            self.account.late_ms.append(self.starts[0].ms - self.due_ms)
        if len(self.ends) > 1:
            self.account.notes["done more than once"] += 1
            self.account.notes["repeated in all"] += len(self.ends) - 1
        if any(start.attempt > 1 for start in self.starts):
            self.account.notes["retried"] += 1

    def _outcome(self):
        if self.order.kind != "job":
            return self._request()
        return self._next() if self.before else self._end() if self.members else self._job()

    def _wrong(self, what):
        self.account.wrong.append(f"{self.order.id}: {what}")

    def _lost(self, what):
        self.account.lost.append(f"{self.order.id}: {what}")
        return "lost"

    def _judge_starts(self):
        # A start that was begun again followed an ack, or a move, that Redis forgot.
        if self.order.attempts == 1 and len(self.starts) > 1 and not self._is_forgotten("repeated", self.entries[:-1]):
            self._wrong(f"may be started once, was started {len(self.starts)} times: {_told(self.starts)}")
        for start in self.starts:
            if not 1 <= start.attempt <= self.order.attempts:
                self._wrong(f"attempt {start.attempt} of {self.order.attempts}")
        if self.starts and self.due_ms and self.starts[0].ms < self.due_ms - CLOCK_MS:
            self._wrong(f"was due at {self.due_ms}, but {_told(self.starts)}")
        self._judge_attempts()
        if any(end.attempt <= self.order.fails for end in self.ends):
            self._wrong("was done by an attempt that was to fail")

    def _judge_attempts(self):
        """Whoever takes a job away raises its attempt; so one that starts again with the same was there twice."""
        counts = Counter(start.attempt for start in self.starts)
        twice = [attempt for attempt, count in counts.items() if count > 1]
        if self.order.how != "plain" and twice and not self._is_forgotten("repeated", self.entries[:-1]):
            self._wrong(f"attempt {twice[0]} was started twice: {_told(self.starts)}")

    def _judge_payloads(self):
        if any(entry.payload != self.order.payload for entry in (*self.entries, *self.dead)):
            self._wrong("its payload was changed")

    def _is_forgotten(self, how, entries):
        """Whether one of these lies in the moments that Redis may have lost; if so, it is counted."""
        return self._forgot(how, [(entry.ms, entry.ms) for entry in entries])

    def _forgot(self, how, spans):
        ends = self.known.forgetful_ms
        found = [
            max(0, end - to) for end in ends for begin, to in spans if begin <= end <= to + self.known.forgotten_ms
        ]
        if found:
            self.account.forgotten[how].append(min(found))
        return bool(found)

    # --- background jobs

    def _job(self):
        for dead in self.dead:
            self._judge_dead(dead)
        if self.ended and self.ended.how == "not_unique" and (self.starts or self.dead):
            self._wrong(f"refused as not unique, but {_told(self.starts)}")
        if self.ends and self.dead:
            # Its worker was killed between its last act and the ack; nobody else can know.
            self.account.notes["done, and dead"] += 1
        if self.ends:
            return "job done"
        if self.dead:
            return f"job dead: {self.dead[0].code}"
        return self._neither_done_nor_dead()

    def _next(self):
        """A job that another one pushes when it is done, before its own ack: if that is dead it is there or not."""
        before = self.before
        if self.starts and (not before.ends or self.starts[0].ms < before.ends[0].ms):
            self._wrong(f"{before.order.id} was not done yet, but {_told(self.starts)}")
        if self.starts or self.dead or (before.ends and not before.dead):
            return self._job()
        return "job never pushed: the one before it is not done"

    def _end(self):
        """A job that is pushed when the last of its group is counted, before the ack of that one: if one is dead its
        last act was counted or not."""
        undone = [member.order.id for member in self.members if not member.ends]
        if self.starts and undone:
            self._wrong(f"{undone[0]} of its group was not done, but {_told(self.starts)}")
        elif self.starts and self.starts[0].ms < max(member.ends[0].ms for member in self.members):
            self._wrong(f"its group was not done yet, but {_told(self.starts)}")
        is_owed = not undone and not any(member.dead for member in self.members)
        if self.starts or self.dead or is_owed:
            return self._job()
        return "job never pushed: its group is not done"

    def _judge_dead(self, dead):
        has_failed = self.order.fails >= self.order.attempts
        if dead.code != "worker_lost" and not (dead.code == "handler_error" and has_failed):
            self._wrong(f"dead without a cause that is known: {dead.code} ({dead.message})")
        elif dead.attempt != self.order.attempts:
            self._wrong(f"dead with attempt {dead.attempt} of {self.order.attempts}")

    def _neither_done_nor_dead(self):
        how = self.ended.how if self.ended else "never ended"
        if self.order.id in self.known.waiting:
            return self._lost(f"{how}, and still waits")
        if how == "withheld" and not self.starts:
            return "job never pushed: its group was not written"
        if how == "refused" and not self.starts:
            return "job refused by Redis"
        if how == "not_unique" and not self.starts:
            return "job refused: another one held its key"
        if how == "unknown" and not self.starts:
            return "job never arrived (its push was cut)"
        if self._forgot("lost", self._pushes()):
            return "job lost with the last moments of Redis"
        return self._lost(f"{how}, {_told(self.starts)}, and is nowhere")

    def _pushes(self):
        """From when to when it was pushed, by whom it was."""
        before = [self.before] if self.before else self.members
        told = [(self.ended.from_ms, self.ended.to_ms)] if self.ended else []
        return [*told, *((end.ms, end.ms) for case in before for end in case.ends)]

    # --- requests

    def _request(self):
        if self.dead:
            self._wrong("a request in dead")
        if self.ended is None or self.ended.how == "hung":
            return self._lost("no answer")
        if self.ended.how == "left":
            return "request left: its client hung up"
        if self.ended.how in ("cut", "unreached"):
            return self._broken()
        if self.ended.status == 200:
            return self._answered()
        return self._refused()

    def _broken(self):
        if not self.known.was_down(self.order.front, self.ended.from_ms, self.ended.to_ms):
            return self._lost(f"{self.ended.how}, and its front lived")
        return (
            "request cut: its front was killed" if self.ended.how == "cut" else "request unreached: its front was dead"
        )

    def _answered(self):
        if self.ended.body != f"{self.order.id} {self.order.payload}":
            self._wrong(f"the reply is not its own: {self.ended.body[:80]!r}")
        if self.ended.more:
            self._wrong(f"answered twice on one connection: {self.ended.more[:80]!r}")
        if not self.ends:
            self._wrong("answered, but nobody has done it")
        return "request answered"

    def _refused(self):
        code = self.ended.code
        if code not in REFUSALS:
            self._wrong(f"refused with {self.ended.status} {code or repr(self.ended.body[:80])}")
        if code in NEVER_BEGUN and self.starts:
            self._wrong(f"refused with {code}, but {_told(self.starts)}")
        return f"request refused: {code}"


def _told(starts):
    if not starts:
        return "never started"
    return "started " + ", ".join(f"as {start.attempt} by {start.worker} {start.pid} at {start.ms}" for start in starts)
