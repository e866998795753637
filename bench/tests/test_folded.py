"""Folded stacks from what `perf script` prints."""

import folded

SAID = """front
\t    55d0 serde_json::ser::write::h0123456789abcdef+0x1f (/opt/bin/tempest)
\t    55d1 tempest_front::work::call+0x2 (/opt/bin/tempest)
\tffff0001 [unknown] ([kernel.kallsyms])

front
\t    55d0 serde_json::ser::write::h0123456789abcdef+0x2 (/opt/bin/tempest)
\t    55d1 tempest_front::work::call+0x2 (/opt/bin/tempest)
\tffff0001 [unknown] ([kernel.kallsyms])

tokio-runtime-w
\t    7f00 epoll_wait+0x4e (/usr/lib/libc.so.6)
"""


def test_a_stack_begins_with_its_thread_and_ends_where_it_was_seen():
    stacks = folded.fold(SAID)
    inner = "[[kernel.kallsyms]];tempest_front::work::call;serde_json::ser::write"
    assert stacks == {f"front;{inner}": 2, "tokio-runtime-w;epoll_wait": 1}


def test_the_top_counts_a_function_once_a_stack():
    lines = folded.top({"t;a;b;a": 3, "t;a": 1}, 5).splitlines()
    assert lines[2].split() == ["100.0%", "100.0%", "a"]
    assert lines[-2:] == ["100.0% 100.0%  a", "  0.0%  75.0%  b"]


def test_nothing_was_sampled():
    assert folded.top({}, 5).count("\n") == 3
