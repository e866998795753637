"""The page of a result: what it was made on, goals, tables, notes."""

import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SYSTEM = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def said_by(*command):
    """The first line that a command prints, wherever it prints it."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": SYSTEM})
    except FileNotFoundError:
        return "not here"
    return next(iter((said.stdout + said.stderr).splitlines()), "").strip()


def module_version(name):
    """The command that says which version of a module this Python has."""
    return [sys.executable, "-c", f"from importlib.metadata import version; print(version({name!r}))"]


def machine(**tools):
    """What figures were made on and with; `tools`: commands that say their version, by name."""
    cpu = next(line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    memory = next(line for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    os_release = platform.freedesktop_os_release()
    return {
        "processor": f"{os.cpu_count()} x {cpu.split(':')[1].strip()}",
        "memory": f"{int(memory.split()[1]) / 2**20:.0f} GiB",
        "system": f"{os_release.get('PRETTY_NAME', '')}, {platform.system()} {platform.release()} {platform.machine()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "tempest": said_by("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "rustc": said_by("rustc", "--version"),
        "redis": said_by("redis-server", "--version"),
        "python": platform.python_version(),
        **{name: said_by(*command) for name, command in tools.items()},
    }


def page(title, command, about, found):
    """The page, of the parts of a run by name, each as part.py describes it, with its own `command` if it has one."""
    lines = [f"# {title}", "", f"    {command}", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += _goals([goal for part in found.values() for goal in part.get("goals", [])])
    for name, part in found.items():
        lines += ["", f"## {name}"]
        lines += ["", f"    {part['command']}"] if "command" in part else []
        lines += [f"\n**FAILED**: {failure}" for failure in part.get("failures", [])]
        for table in part.get("tables", []):
            lines += ["", f"### {table['title']}", "", _row(table["columns"]), _row(["---"] * len(table["columns"]))]
            lines += [_row(row) for row in table["rows"]]
        lines += ["", *(f"- {note}" for note in part.get("notes", []))]
    return "\n".join(lines).rstrip() + "\n"


def _goals(goals):
    if not goals:
        return []
    lines = ["", "## Goals", "", "| | figure | limit | |", "|---|---|---|---|"]
    for goal in goals:
        met = "reached" if goal["met"] else "**missed**"
        lines.append(_row([goal["goal"], f"{goal['figure']:.2f}", str(goal["limit"]), met]))
    return lines


def _row(cells):
    return f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |"
