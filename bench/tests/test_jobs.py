"""bench/jobs: what it makes of looks at a queue, of what workers say, and of rounds."""

import json
from types import SimpleNamespace

import pytest

from jobs import command, depth, due, rates, systems
from page import page
from part import Part


def test_a_rate_counts_from_the_first_look_at_which_some_were_done():
    samples = [(10.0, 1000), (10.5, 1000), (11.0, 900), (12.0, 300), (13.0, 0)]
    assert rates.rate(samples, 1000) == 450


def test_a_rate_counts_until_the_first_look_at_which_all_were_done():
    samples = [(1.0, 50), (2.0, 0), (9.0, 0)]
    assert rates.rate(samples, 100) == 50


def test_jobs_that_are_done_between_two_looks_took_that_long_at_most():
    assert rates.rate([(1.0, 100), (3.0, 100), (5.0, 0), (6.0, 0)], 100) == 50


def test_what_the_processes_of_a_worker_ran_is_summed():
    said = '[warning] {"ran": 9}\n{"ran": 3}\nbye\n{"ran": 4}\n'
    assert systems.ran(said) == 7


def test_a_worker_that_does_not_say_what_it_ran_is_a_mistake():
    with pytest.raises(RuntimeError, match="does not say"):
        systems.ran("Traceback: …\n")


def test_goals_are_of_medians():
    part = Part()
    ways = {family: (systems.ALL[family].drains[0], systems.ALL[family].fills[0]) for family in ("rust", "bullmq")}
    found = {"rust": [(90_000, 60_000), (120_000, 30_000), (110_000, 61_000)], "bullmq": [(9_000, 20_001)]}
    rates.tell(part, found, ways, judged=True)
    goals = {goal["goal"]: (goal["figure"], goal["met"]) for goal in part.goals}
    assert goals == {
        "Rust: jobs drained a second, at least 50,000": (60_000, True),
        "Rust: jobs enqueued a second, at least 100,000": (110_000, True),
        "drained: Tempest, Rust / BullMQ, at least 3": (60_000 / 20_001, False),
    }


def test_a_deep_queue_is_judged_by_ratios_of_medians():
    def run(rate):
        times = {"rate": rate, "p50_us": 100, "p99_us": 200}
        return {"deep": dict.fromkeys(depth.STEPS, times), "steady": {"rate": rate / 2}}

    part = Part()
    depth.tell(part, {100: [run(1000)] * 3, 5000: [run(10), run(940), run(2000)]}, 5000, judged=True)
    assert [(goal["figure"], goal["met"]) for goal in part.goals] == [(0.94, False)] * 3
    assert ["push, p99_us", "200", "200", "1.00"] in part.tables[0]["rows"]


def test_what_is_due_is_judged_by_its_worst_round():
    times = {"p50_us": 300, "p99_us": 900, "max_us": 1200}
    part, late = Part(), {**times, "max_us": 30_000}
    rounds = [{"moved_s": 1.5, "quiet": times, "busy": late}, {"moved_s": 2.5, "quiet": times, "busy": times}]
    due.tell(part, 1000, rounds, judged=True)
    assert [(goal["figure"], goal["met"]) for goal in part.goals] == [(2.5, False)]
    assert part.tables[1]["rows"] == [["quiet", "0.3", "0.9", "1.2"], ["busy", "0.3", "0.9", "30.0"]]


@pytest.mark.parametrize(("given", "jobs"), [({}, 40_000), ({"quick": True}, 10_000), ({"smoke": True}, 400)])
def test_short_runs_have_fewer_jobs(given, jobs):
    options = SimpleNamespace(**{"smoke": False, "quick": False, **given})
    assert rates.share(systems.BullMQ, options) == jobs


def test_every_system_can_be_named():
    named = {family for name in command.SYSTEMS for family in command.WITH.get(name, (name,))}
    assert named == set(systems.ALL)


@pytest.mark.parametrize("wrong", [["--only", "speed"], ["--systems", "sidekiq"], ["--quick", "--smoke"]])
def test_what_is_unknown_is_refused(wrong, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["run", *wrong])
    with pytest.raises(SystemExit):
        command.arguments("about")
    assert "error" in capsys.readouterr().err


def test_part_of_a_run_is_no_result(tmp_path, monkeypatch):
    part = Part()
    part.note("all of it")
    monkeypatch.setattr("sys.argv", ["run", "--quick", "--out", str(tmp_path)])
    command.write(part, {"processor": "2 x any"}, command.arguments("about"))
    (text,), (figures,) = tmp_path.glob("*-jobs.md"), tmp_path.glob("*-jobs.json")
    assert "bench/jobs/run --quick" in text.read_text()
    assert json.loads(figures.read_text())["notes"] == ["all of it"]


def test_a_part_without_a_command_has_none_on_its_page():
    assert "## Figures\n\n- a note" in page("Title", "bench/any", {}, {"Figures": {"notes": ["a note"]}})
