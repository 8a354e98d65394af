"""The list of tests that the coverage is measured without names tests that there are."""

import re

import line_coverage
import pytest


@pytest.mark.parametrize("test", line_coverage.SLOW)
def test_what_is_left_out_exists(root, test):
    file, _, name = test.partition("::")
    text = (root / "tests" / "firmware" / file).read_text(encoding="utf-8")
    assert not name or re.search(rf"^(def |class )?{name}", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("covered", "of", "said"),
    [(3, 3, "100"), (0, 0, "100"), (99999, 100000, "99.99"), (1, 4, "25.00")],
)
def test_nearly_all_is_not_all(covered, of, said):
    assert line_coverage.share(covered, of) == said
