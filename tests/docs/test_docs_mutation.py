"""docs/mutation.md names lines that are there; the run itself says whether they still survive."""

import re
from pathlib import Path


def plain(text: str) -> str:
    """Without comments, and in one line."""
    return " ".join(line.split("  #")[0].strip() for line in text.splitlines())


def entries(root: Path) -> list[tuple[str, str, str, str]]:
    """(module, function, change, reason)"""
    found = []
    module = ""
    for line in (root / "docs" / "mutation.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("### `"):
            module = line.split("`")[1]
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
            function, change, reason = [cell.replace("\\|", "|") for cell in cells]
            found.append((module, function.strip("`"), change.strip("`"), reason))
    return found


def test_every_survivor_is_of_a_line_that_is_there_and_has_a_reason(root: Path) -> None:
    known = entries(root)
    assert known
    for module, function, change, reason in known:
        text = (root / module).read_text(encoding="utf-8")
        before, arrow, after = change.partition(" -> ")
        assert arrow
        assert before != after
        assert reason, change
        if function.startswith("row "):
            continue
        name = function.split(".")[-1]
        if name.endswith("_property"):
            name = name[1:].removesuffix("_property")
        is_function = f"def {name}(" in text
        assert is_function or re.search(rf"\b{name} = ", text), function
        if is_function:
            assert before in plain(text), before
