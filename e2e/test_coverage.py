"""The completeness of the tests themselves."""

import pytest

from harness import coverage
from harness.operations import served


def test_every_sentence_has_its_row():
    assert list(coverage.rows()) == coverage.sentences()


def test_the_table_and_the_tests_agree():
    tests = coverage.tests()
    assert set(tests) <= set(coverage.sentences())
    for number, (named, waits) in coverage.rows().items():
        assert named == tests.get(number, set()), number
        assert named or waits, f"{number} has neither a test nor a reason"


def test_every_served_operation_was_called(request, answers):
    if not request.config.all_tests:
        pytest.skip("only some of the tests were asked for")
    assert served() - answers.called == set(), "never called"
    assert served() - answers.succeeded == set(), "never succeeded"
    assert answers.called - served() == set(), "called, and not in the list of what is served"
