"""Rules for the tests: an assertion whose message is a comparison asserts less than it seems to."""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def suspicious(source: str) -> list[int]:
    """The lines of assertions such as `assert a, b == c`."""
    nodes = ast.walk(ast.parse(source))
    return [
        node.lineno for node in nodes if isinstance(node, ast.Assert) and isinstance(node.msg, ast.Compare | ast.BoolOp)
    ]


def test_no_assertion_has_a_comparison_for_its_message() -> None:
    found = {str(path.relative_to(TESTS)): suspicious(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py")}
    assert found
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_one_that_has_is_found() -> None:
    assert suspicious("assert len(a), len(b) == (1, 2)\nassert a == b, 'text'") == [1]
