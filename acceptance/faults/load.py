"""A light, steady load of which everything is known: who asked what and was told what, which jobs were accepted, which
events came."""

import http.client
import itertools
import json
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass

import redis

PACE_S = {"py": 0.12, "rust": 0.12, "sh": 1.5}
"""Time between two requests to a queue: what a worker of that kind does easily."""
PATIENCE_S = 30
METHODS = ("GET", "POST")


@dataclass
class Asked:
    """A request."""

    queue: str
    method: str
    target: str
    begun: float
    status: int | None = None
    """None until it has ended; 0 if the connection did."""
    code: str = ""
    """The code word of a refusal."""
    text: str = ""
    took_s: float = 0.0

    @property
    def told(self):
        """What the client was told: ``200``, or status and code."""
        return f"{self.status} {self.code}".strip()


class Load:
    """Asks until it is stopped. Requests are independent of one another: a slow one delays none."""

    def __init__(self, stand):
        self._stand = stand
        self._over = threading.Event()
        self._numbers = itertools.count(1)
        self.asked = []
        self.noted = {}
        """Jobs nobody waits for, by name: True if Redis confirmed them."""
        self.stream = Stream(stand.port, "news")
        self._senders = [threading.Thread(target=self._ask, args=(queue,), daemon=True) for queue in PACE_S]
        self._senders += [threading.Thread(target=self._note, daemon=True)]
        for sender in self._senders:
            sender.start()

    def _ask(self, queue):
        for method in itertools.cycle(METHODS):
            if self._over.wait(PACE_S[queue]):
                return
            asked = Asked(queue, method, f"/{queue}?id={next(self._numbers)}", time.monotonic())
            self.asked.append(asked)
            threading.Thread(target=self._request, args=(asked,), daemon=True).start()

    def _request(self, asked):
        connection = http.client.HTTPConnection("127.0.0.1", self._stand.port, timeout=PATIENCE_S)
        try:
            body = b"x" if asked.method == "POST" else None
            connection.request(asked.method, asked.target, body, {"accept": "application/json"})
            response = connection.getresponse()
            asked.text = response.read().decode(errors="replace")
            if response.status >= 400:
                asked.code = json.loads(asked.text)["code"]
            status = response.status
        except OSError as error:
            status, asked.text = 0, str(error)
        finally:
            connection.close()
        asked.took_s = time.monotonic() - asked.begun
        asked.status = status

    def _note(self):
        """Pushes jobs nobody waits for, as anybody may. One that was refused or is in doubt is not repeated."""
        while not self._over.wait(0.2):
            name = f"note-{next(self._numbers)}"
            job = json.dumps({"action": "note", "id": name, "args": name})
            self.noted[name] = False
            try:
                # A connection for each: a client library sends a command again when its connection breaks.
                with redis.Redis(port=self._stand.redis_port, socket_timeout=2, retry=None) as bus:
                    bus.rpush("tempest:{py}", job)
                self.noted[name] = True
            except redis.RedisError:
                continue

    def stop(self):
        """Asks nothing more; gives the requests that have not ended by then."""
        self._over.set()
        for sender in self._senders:
            sender.join()
        self.settle(self.asked)
        self.stream.close()
        return [asked for asked in self.asked if asked.status is None]

    def settle(self, asked):
        """Waits until these requests have ended."""
        until = time.monotonic() + PATIENCE_S
        while any(each.status is None for each in asked) and time.monotonic() < until:
            time.sleep(0.02)

    def told(self, since):
        """How often clients that asked since then were told what."""
        return Counter((asked.method, asked.told) for asked in self.asked if asked.begun >= since)


class Stream(threading.Thread):
    """An EventSource client: connects again when its stream ends."""

    def __init__(self, port, topic):
        super().__init__(daemon=True)
        self._port, self._topic = port, topic
        self._over = False
        self._bytes = bytearray()
        self.connects = 0
        self.start()

    def run(self):
        while not self._over:
            try:
                self._read()
            except OSError:
                time.sleep(0.1)

    def _read(self):
        with socket.create_connection(("127.0.0.1", self._port), timeout=1) as sock:
            self.connects += 1
            sock.sendall(f"GET /sub/{self._topic} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            while not self._over:
                try:
                    read = sock.recv(1 << 16)
                except TimeoutError:
                    continue
                if not read:
                    return
                self._bytes += read

    def has(self, event):
        """Whether an event came."""
        return f"data: {event}\n".encode() in self._bytes

    def close(self):
        """Leaves."""
        self._over = True
        self.join()
