"""A lasting problem is logged once, then at growing intervals, and when it has ended."""

import itertools

import pytest

from service.observability.problem_log import FIRST_INTERVAL, MAX_INTERVAL, ProblemLog


def test_lines_become_rarer_and_the_end_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    problems, moments = ProblemLog(lambda: now), []
    while now < 4 * MAX_INTERVAL:
        problems.failed("key", "it fails", error="why")
        if capsys.readouterr().out:
            moments.append(now)
        now += 1
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert gaps[:3] == [FIRST_INTERVAL, 2 * FIRST_INTERVAL, 4 * FIRST_INTERVAL]
    assert gaps == sorted(gaps)
    assert max(gaps) == MAX_INTERVAL
    assert problems.ended("key", "it works")
    assert "it works" in capsys.readouterr().out
    assert not problems.ended("key", "it works")
    assert not capsys.readouterr().out


def test_problems_do_not_hide_each_other_and_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    problems = ProblemLog(lambda: 0.0)
    for key in ("a", "b", "a"):
        problems.failed(key, "it fails")
    assert capsys.readouterr().out.count("it fails") == 2
    problems.ended("a", "it works")
    problems.failed("a", "it fails")
    assert capsys.readouterr().out.count("it fails") == 1
