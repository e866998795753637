"""What a part writes and how it ends."""

import json

import pytest

import load
from part import Part, aligned


def test_goals_are_met_from_their_limit_on():
    part = Part()
    part.goal("more", 0.65, 0.65)
    part.goal("more", 0.64, 0.65)
    part.goal("less", 2.5, 2.5, at_least=False)
    part.goal("less", 2.6, 2.5, at_least=False)
    assert [goal["met"] for goal in part.goals] == [True, False, True, False]


def test_a_failure_fails_and_a_missed_goal_does_not(tmp_path):
    file = tmp_path / "part.json"
    part = Part()
    part.goal("more", 1, 2)
    assert part.finish(file) == 0
    part.fail("a wrong answer")
    assert part.finish(file) == 1
    assert json.loads(file.read_text())["failures"] == ["a wrong answer"]


def test_columns_are_aligned():
    assert aligned([["name", "n"], ["a", "100"]]) == "name    n\na     100"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 6\r\n\r\nwrong\n",
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        b"",
    ],
)
def test_a_wrong_answer_is_seen(answer, one_answer):
    assert load.wrong_answer(one_answer(answer))


def test_the_right_answer_is_seen(one_answer):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 13\r\n\r\n"
    assert load.wrong_answer(one_answer(head + load.BODY)) == ""
