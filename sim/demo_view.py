"""What the demo shows: one line a pack, measured beside true, from plain data.

A row is built from three sources that know nothing of one another: the readings on MQTT, the
grade on MQTT, and the simulator's truth. Nothing here talks to a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

_HEADINGS = (
    "pack", "bench", "state", "V", "A", "°C", "SOC", "true", "SOH", "true", "evidence", "grade",
)  # fmt: skip
_NUMBERS = frozenset(("V", "A", "°C", "SOC", "true", "SOH", "evidence"))
_GRADE_STYLE = {"A": "green", "B": "cyan", "C": "yellow", "M": "magenta", "R": "red"}


@dataclass
class Row:
    """One pack: the last reading, the last grade, the truth, and what the tester does to it."""

    title: str
    state: dict[str, Any] = field(default_factory=dict)
    grade: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    step: str = ""
    done: bool = False


def number(value: float | None, digits: int, unit: str = "") -> str:
    """A figure with its unit; an unknown one is a dash, never a number."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def with_band(state: dict[str, Any], key: str) -> str:
    """``71.2 ±1.4 %`` from ``key_pct``, ``key_low_pct`` and ``key_high_pct``."""
    value, low, high = (state.get(f"{key}{end}_pct") for end in ("", "_low", "_high"))
    if value is None:
        return "unknown"
    band = "" if low is None or high is None else f" ±{(high - low) / 2:.1f}"
    return f"{value:.1f}{band} %"


def age(seconds: float | None) -> str:
    """How old the evidence is, in the unit a person would use."""
    if seconds is None:
        return "–"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """Simulated time as ``h:mm:ss``."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def table(rows: list[Row], time_s: float, speed: float) -> Group:
    """The live table with the simulated time and its speed below."""
    shown = Table(title="Echelon: four retired packs on the bench", title_justify="left")
    for heading in _HEADINGS:
        shown.add_column(
            heading,
            justify="right" if heading in _NUMBERS else "left",
            style="dim" if heading == "true" else None,
            no_wrap=heading != "grade",
        )
    for row in rows:
        state, truth = row.state, row.truth
        temperatures = [t for t in state.get("temperatures_c") or [] if t is not None]
        grade = row.grade.get("class")
        shown.add_row(
            row.title,
            row.step,
            Text(
                str(state.get("state") or "silent").lower().replace("_", " "),
                style="red" if state.get("faults") else "",
            ),
            number(state.get("pack_voltage_v"), 2),
            number(state.get("current_a"), 1),
            number(max(temperatures, default=None), 1),
            with_band(state, "soc"),
            number(truth.get("soc_pct"), 1),
            with_band(state, "soh"),
            number(truth.get("soh_pct"), 1),
            age(state.get("soh_age_s")),
            Text(describe_grade(row.grade), style=_GRADE_STYLE.get(str(grade), "")),
        )
    below = Text(
        f"simulated time {clock(time_s)}, {speed:.0f} times real time; "
        "columns “true” are the simulator's, unknown to board and gateway",
        style="dim",
    )
    return Group(shown, below)


def describe_grade(grade: dict[str, Any]) -> str:
    """The grade in a few words: class, route and the criterion that decided."""
    if not grade:
        return "not graded yet"
    weak = grade.get("weak_cells") or []
    names = f", weak cell {', '.join(str(n) for n in weak)}" if weak else ""
    words = f"{grade.get('class') or ''} {grade.get('route')}".strip()
    return f"{words}: {str(grade.get('binding')).replace('_', ' ')}{names}"


def as_json(row: Row, time_s: float) -> dict[str, Any]:
    """One pack as one JSON object: a reading beside the truth."""
    keys = (
        "boot", "seq", "state", "pack_voltage_v", "current_a", "soc_pct", "soc_low_pct",
        "soc_high_pct", "soh_pct", "soh_low_pct", "soh_high_pct", "soh_method", "soh_age_s",
        "faults",
    )  # fmt: skip
    return {
        "kind": "pack",
        "pack": row.title,
        "serial": row.state.get("serial"),
        "simulated_s": round(time_s),
        "bench": row.step,
        **{key: row.state.get(key) for key in keys},
        "grade": row.grade.get("class"),
        "truth": row.truth,
    }


def grade_as_json(row: Row) -> dict[str, Any]:
    """The final grade of a pack as one JSON object, with the truth beside it."""
    return {"kind": "grade", "pack": row.title, **row.grade, "truth": row.truth}
