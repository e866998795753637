"""What a part of the benchmark gives: tables, goals, bars of the chart; printed, and written as JSON.

Each part is a script that runs alone, and that `bench/compare` runs with `--json FILE`. The file is an object with:

tables   [{"title", "columns": [text], "rows": [[text]]}]
goals    [{"goal", "figure": number, "limit": number, "met": true or false}]
bars     [{"chart", "name", "value": number, "ours": true or false}], in the order in which they are drawn
notes    [text]: what a reader must know to judge the figures
failures [text]: a wrong answer, an error under load; none in a run that counts
raw      anything: the figures of each run
"""

import argparse
import json
import pathlib
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def argument_parser(about):
    """A parser for the options that every part has: where the built programs are, where the result goes."""
    options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    built = ROOT / "target/release"
    options.add_argument("--bin", type=pathlib.Path, default=built, help="the built programs [target/release]")
    options.add_argument("--json", metavar="FILE", help="write the result into this file")
    return options


class Part:
    """The result of one part while it is made."""

    def __init__(self):
        end_on_sigterm()
        self.tables, self.goals, self.bars, self.notes, self.failures, self.raw = [], [], [], [], [], {}

    def table(self, title, columns, rows):
        """Adds a table and prints it."""
        rows = [[str(cell) for cell in row] for row in rows]
        self.tables.append({"title": title, "columns": columns, "rows": rows})
        print(f"\n{title}\n{aligned([columns, *rows])}", flush=True)

    def goal(self, goal, figure, limit, at_least=True):
        """Adds a figure to reach, and prints whether it was."""
        met = figure >= limit if at_least else figure <= limit
        self.goals.append({"goal": goal, "figure": figure, "limit": limit, "met": met})
        print(goal_line(self.goals[-1]), flush=True)

    def bar(self, chart, name, value, ours):
        """Adds a bar to a chart."""
        self.bars.append({"chart": chart, "name": name, "value": value, "ours": ours})

    def note(self, text):
        """Adds a note and prints it."""
        self.notes.append(text)
        print(f"note: {text}", flush=True)

    def fail(self, text):
        """Adds a failure and prints it: the figures do not count."""
        self.failures.append(text)
        print(f"FAILED: {text}", file=sys.stderr, flush=True)

    def finish(self, file):
        """Writes the file if one was named, and gives the exit code of the script: 1 if anything was wrong."""
        if file:
            pathlib.Path(file).write_text(json.dumps(vars(self), indent=1) + "\n")
        return 1 if self.failures else 0


def end_on_sigterm():
    """Ends the script on SIGTERM as on Ctrl-C, so that what it has started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def goal_line(goal):
    """One line about a goal: reached or missed, the figure, what it should be."""
    return f"{'reached' if goal['met'] else 'MISSED '}  {goal['goal']}: {goal['figure']:.2f}"


def aligned(rows):
    """Rows as text in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row, widths):
    first, *rest = (
        cell.ljust(width) if not place else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()
