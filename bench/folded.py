"""What `perf script` says, as folded stacks: `thread;outermost;…;innermost` and how often, and the functions on top."""

import re
from collections import Counter

# "    7f00 function+0x10 (/path/of/object)"
FRAME = re.compile(r"^\s+[0-9a-f]+ (.+?)(?:\+0x[0-9a-f]+)? \((.*)\)$")
HASH = re.compile(r"::h[0-9a-f]{16}$")


def fold(said):
    """Samples by stack."""
    stacks, stack, thread = Counter(), [], ""
    for line in [*said.splitlines(), ""]:
        frame = FRAME.match(line)
        if frame:
            stack.append(_name(*frame.groups()))
        elif line.strip():
            thread = line.strip().replace(";", ":")
        elif thread:
            stacks[";".join([thread, *reversed(stack)])] += 1
            stack, thread = [], ""
    return stacks


def _name(function, where):
    function = HASH.sub("", function).replace(";", ":")
    return f"[{where.rsplit('/', 1)[-1]}]" if function == "[unknown]" else function


def top(stacks, count):
    """The functions that take most by themselves, with what they take together with those they call."""
    alone, whole, total = Counter(), Counter(), sum(stacks.values()) or 1
    for stack, samples in stacks.items():
        frames = stack.split(";")[1:] or ["[no stack]"]
        alone[frames[-1]] += samples
        for frame in set(frames):
            whole[frame] += samples
    lines = ["  self   with what it calls"]
    for title, counter in (("by themselves", alone), ("with what they call", whole)):
        lines.append(f"--- {title}")
        for name, _ in counter.most_common(count):
            lines.append(f"{alone[name] / total:6.1%} {whole[name] / total:6.1%}  {name}")
    return "\n".join(lines) + "\n"
