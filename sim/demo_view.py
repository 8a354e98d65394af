"""What the demo shows: one line a pack, measured beside true, from plain data.

A row is built from three sources that know nothing of one another: the readings on MQTT, the
grade on MQTT, and the simulator's truth. Nothing here talks to a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

_COLUMNS = (
    ("pack", "left"), ("state", "left"), ("V", "right"), ("A", "right"), ("°C", "right"),
    ("SOC %", "right"), ("true", "right"), ("SOH %", "right"), ("true", "right"),
    ("age", "right"), ("grade", "center"),
)  # fmt: skip
_READING = (
    "boot", "seq", "state", "pack_voltage_v", "current_a", "soc_pct", "soc_low_pct",
    "soc_high_pct", "soh_pct", "soh_low_pct", "soh_high_pct", "soh_method", "soh_age_s",
    "faults",
)  # fmt: skip
_SHORT = {"charge_only": "chg only", "discharge_only": "dis only"}
_GRADE_STYLE = {"A": "green", "B": "cyan", "C": "yellow", "M": "magenta", "R": "red"}


@dataclass
class Unplugging:
    """A pack pulled out of its bay during ``step`` and put back: the readings around it."""

    at_s: float
    for_s: float
    step: str
    before: dict[str, Any]
    after: dict[str, Any] = field(default_factory=dict)

    def take(self, reading: dict[str, Any]) -> None:
        """See whether ``reading`` is the last before or the first after it with a current."""
        if not self.before or reading["boot"] == self.before["boot"]:
            self.before = reading
        elif not self.after and reading["current_a"]:
            self.after = reading


@dataclass
class Row:
    """One pack: the last reading, the last grade, the truth, and what the tester does to it."""

    title: str
    state: dict[str, Any] = field(default_factory=dict)
    grade: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    step: str = ""
    plugged: bool = True
    unplugging: Unplugging | None = None


def number(value: float | None, digits: int, unit: str = "") -> str:
    """A figure with its unit; an unknown one is a dash, never a number."""
    return "–" if value is None else f"{value:z.{digits}f}{unit}"


def with_band(state: dict[str, Any], key: str, digits: int) -> str:
    """``71.2 ±1.4`` from ``key_pct``, ``key_low_pct`` and ``key_high_pct``."""
    value, low, high = (state.get(f"{key}{end}_pct") for end in ("", "_low", "_high"))
    if value is None:
        return "unknown"
    band = "" if low is None or high is None else f" ±{(high - low) / 2:.{digits}f}"
    return f"{value:.{digits}f}{band}"


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
    """The live table; below it each pack's test and grade, the simulated time and its speed.

    Fits a terminal of 80 columns.
    """
    shown = Table(
        title="Echelon: retired packs on the bench",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    for heading, justify in _COLUMNS:
        style = "dim" if heading == "true" else None
        shown.add_column(heading, justify=cast("Any", justify), style=style, no_wrap=True)
    for row in rows:
        shown.add_row(*_cells(row))
    below = [line for row in rows for line in (_verdict(row), _interruption(row)) if line]
    below.append(
        Text(
            "\nage: of the evidence for SOH. Columns “true” are the simulator's: neither board "
            "nor gateway knows them.\n"
            f"simulated time {clock(time_s)}, {speed:.0f} times real time",
            style="dim",
        )
    )
    return Group(shown, *below)


def _cells(row: Row) -> list[str | Text]:
    state, truth = row.state if row.plugged else {}, row.truth
    temperatures = [t for t in state.get("temperatures_c") or [] if t is not None]
    doing = str(state.get("state") or "silent")
    doing = _SHORT.get(doing, doing)
    return [
        row.title,
        Text(doing, style="red" if state.get("faults") else ""),
        number(state.get("pack_voltage_v"), 1),
        number(state.get("current_a"), 1),
        number(max(temperatures, default=None), 1),
        with_band(state, "soc", 0),
        number(truth.get("soc_pct"), 0),
        with_band(state, "soh", 1),
        number(truth.get("soh_pct"), 1),
        age(state.get("soh_age_s")),
        Text(str(row.grade.get("class") or "–"), style=_grade_style(row)),
    ]


def _grade_style(row: Row) -> str:
    return _GRADE_STYLE.get(str(row.grade.get("class")), "")


def _interruption(row: Row) -> Text | None:
    cut = row.unplugging
    if cut is None:
        return None
    text = f"{row.title}: unplugged at {clock(cut.at_s)}, {cut.step}, SOC {_soc(cut.before)}"
    if cut.after:
        text += f"; back after {age(cut.for_s)}, boot {cut.after['boot']}, SOC {_soc(cut.after)}"
    return Text(text, style="dim")


def _soc(reading: dict[str, Any]) -> str:
    return with_band(reading, "soc", 1) + " %"


def _verdict(row: Row) -> Text:
    step = row.step if row.plugged else "unplugged"
    line = Text(f"{row.title} ({step or 'waiting'}): ")
    reason = row.grade.get("reason") or "not graded yet"
    return line.append(str(reason), style=_grade_style(row))


def as_json(row: Row, time_s: float) -> dict[str, Any]:
    """One pack as one JSON object: a reading beside the truth."""
    return {
        "kind": "pack",
        "pack": row.title,
        "serial": row.state.get("serial"),
        "simulated_s": round(time_s),
        "bench": row.step,
        **{key: row.state.get(key) for key in _READING},
        "grade": row.grade.get("class"),
        "truth": row.truth,
    }


def unplugging_as_json(row: Row, cut: Unplugging) -> dict[str, Any]:
    """What was read before and after a pack was unplugged, as one JSON object."""
    return {
        "kind": "unplugged",
        "pack": row.title,
        "serial": cut.before.get("serial"),
        "at_simulated_s": round(cut.at_s),
        "for_s": cut.for_s,
        "bench": cut.step,
        **{
            when: {key: reading.get(key) for key in _READING}
            for when, reading in (("before", cut.before), ("after", cut.after))
        },
    }


def grade_as_json(row: Row) -> dict[str, Any]:
    """The final grade of a pack as one JSON object, with the truth beside it."""
    return {"kind": "grade", "pack": row.title, **row.grade, "truth": row.truth}
