"""A headless Chromium, driven over a pipe by its DevTools protocol: no driver, no port, nothing to install but it.

with Browser(programs) as browser:
    page = browser.open("http://localhost:1337/")
    page.until("it shows a name", "document.querySelector('h1').textContent")
    expect(not page.errors, page.errors)
"""

import json
import os
import selectors
import time

from stage import PATIENCE_S, Skipped, need

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # root in a container has no other way
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)


def _program():
    for name in PROGRAMS:
        try:
            return need(name)
        except Skipped:
            continue
    raise Skipped(f"{PROGRAMS[0]} is missing")


class Browser:
    """A Chromium that lives no longer than the programs it is one of, with a profile in their folder."""

    def __init__(self, programs):
        program = _program()
        commands_out, self._commands = os.pipe()
        self._answers, answers_in = os.pipe()
        profile = programs.folder / "chromium"
        options = [*OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._process = programs.start(program, *options, log="chromium.log", files=(commands_out, answers_in))
        os.close(commands_out)
        os.close(answers_in)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._bytes, self._last_id, self._pages = b"", 0, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._commands)  # to Chromium the end of the pipe is the end
        self._process.wait(PATIENCE_S)
        self._selector.close()
        os.close(self._answers)

    def open(self, url):
        """A page of its own, at this address."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.go(url)
        return page

    def call(self, method, session=None, **parameters):
        """What a command of the DevTools protocol gives; what happened meanwhile is told to its page."""
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        end = time.monotonic() + PATIENCE_S
        while True:
            message = self._message(end - time.monotonic(), method)
            if message.get("id") == self._last_id:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']['message']}")
                return message["result"]
            if message.get("sessionId") in self._pages:
                self._pages[message["sessionId"]].note(message["method"], message["params"])

    def _message(self, patience_s, method):
        while b"\0" not in self._bytes:
            if patience_s <= 0 or not self._selector.select(patience_s):
                raise AssertionError(f"Chromium does not answer {method}")
            piece = os.read(self._answers, 1 << 20)
            if not piece:
                raise AssertionError("Chromium has ended")
            self._bytes += piece
        message, self._bytes = self._bytes.split(b"\0", 1)
        return json.loads(message)


class Page:
    """One page: what it shows, and what went wrong on it."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session
        self.errors = []
        """What the console shows in red, but for the network's."""
        self.network_errors = []
        """What could not be loaded."""

    def go(self, url):
        """Loads an address; fails when nothing answers there."""
        loaded = self.call("Page.navigate", url=url)
        if "errorText" in loaded:
            raise AssertionError(f"{url}: {loaded['errorText']}")
        self.until(f"{url} is loaded", "location.href !== 'about:blank' && document.readyState === 'complete'")

    def call(self, method, **parameters):
        """A command of the DevTools protocol for this page."""
        return self._browser.call(method, self._session, **parameters)

    def value(self, expression):
        """What an expression of JavaScript gives; a promise is waited for."""
        given = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in given:
            raise AssertionError(f"{expression}: {_exception(given['exceptionDetails'])}")
        return given["result"].get("value")

    def text(self, selector):
        """The text of the first element that fits."""
        return self.value(f"document.querySelector({json.dumps(selector)})?.textContent")

    def click(self, selector):
        """Clicks the first element that fits, as a script would."""
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def until(self, what, expression, patience_s=PATIENCE_S):
        """Asks until the expression is true, and gives its value."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            given = self.value(expression)
            if given:
                return given
            time.sleep(0.05)
        raise AssertionError(f"never happened on the page: {what}; it shows {self.value('document.body.innerText')!r}")

    def note(self, event, about):
        """What the browser says of this page."""
        if event == "Runtime.exceptionThrown":
            self.errors.append(_exception(about["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(word.get("value", word.get("description"))) for word in about["args"]))
        elif event == "Log.entryAdded" and about["entry"]["level"] == "error":
            entry = about["entry"]
            errors = self.network_errors if entry["source"] == "network" else self.errors
            errors.append(f"{entry['text']} ({entry.get('url', 'no address')})")


def _exception(details):
    return details.get("exception", {}).get("description") or details["text"]
