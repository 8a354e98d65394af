"""The diagnosis table as the documentation shows it, made from the one the board uses.

    python tests/docs/diagnosis_table.py

Writes it into ``docs/firmware.md``, between two marks. The column "limits fall from" is found by
trying: the value is moved until a limit falls below the rating.
"""

from pathlib import Path

from common.codes import Fault, LimitReason, names
from firmware import diagnosis as d
from firmware.limits import Limits
from firmware.settings import Settings
from firmware.snapshot import Snapshot

BEGIN, END = "<!-- diagnosis table: made by tests/docs/diagnosis_table.py -->", "<!-- end -->"
DOCUMENT = Path(__file__).parents[2] / "docs" / "firmware.md"
EXAMPLE = ("EXAMPLE", 14, "nmc", 50000)

_HEAD = (
    "bit", "fault", "what is looked at", "limits fall from", "warns", "cuts", "released",
    "samples", "opens", "latches",
)  # fmt: skip

# What is looked at; of values, also the unit that a register counts in and how many make one.
_MEASURED = {
    "CELL_OVER_VOLTAGE": ("highest cell", "V", 1000),
    "CELL_UNDER_VOLTAGE": ("lowest cell", "V", 1000),
    "CELL_DEEP_DISCHARGE": ("lowest cell", "V", 1000),
    "CHARGE_OVER_CURRENT": ("current in charge", "A", 1000),
    "DISCHARGE_OVER_CURRENT": ("current in discharge", "A", 1000),
    "CHARGE_OVER_TEMPERATURE": ("hottest cell sensor", "°C", 10),
    "CHARGE_UNDER_TEMPERATURE": ("coldest cell sensor", "°C", 10),
    "DISCHARGE_OVER_TEMPERATURE": ("hottest cell sensor", "°C", 10),
    "DISCHARGE_UNDER_TEMPERATURE": ("coldest cell sensor", "°C", 10),
    "FET_OVER_TEMPERATURE": ("sensor at the switches", "°C", 10),
    "TEMPERATURE_RISE": ("sensor that warmed most in the last 30 to 60 s", "K", 10),
    "CELL_SPREAD": ("highest cell less lowest", "V", 1000),
    "SHORT_CIRCUIT": ("the chip's comparator has opened",),
    "SENSOR_IMPLAUSIBLE": (
        "a cell or sensor that cannot be, jumps, or stands still; one missing",
    ),
    "STACK_MISMATCH": ("the cells' sum against the whole stack",),
    "AFE_COMMUNICATION": ("two cycles without an answer",),
    "AFE_RESET": ("the chip has lost its settings",),
    "AFE_PROTECTION": ("a protection of the chip has tripped; opens what it stops",),
    "AFE_PERMANENT_FAIL": ("the chip has given up for good",),
    "MEASUREMENT_STALE": ("no complete measurement for four cycles",),
    "SWITCH_MISMATCH": ("told to close, a switch stays open",),
    "CONFIGURATION": ("settings that cannot be, or that the chip refuses",),
    "STORAGE": ("flash does not take what must survive",),
    "LOOP_OVERRUN": ("the loop lost a cycle",),
    "OPEN_WIRE": ("one cell falls by what its neighbour rises",),
    "CURRENT_OFFSET": ("a learnt offset of the current above a thousandth of the rating",),
    "SWITCH_WELDED": ("told to open, a switch stays closed, or current passes it",),
    "PRECHARGE_FAILED": ("the terminals did not get their voltage in any of the tries",),
    "INSULATION": ("the board's insulation monitor",),
    "CLOCK_INVALID": ("nobody has told the time since boot",),
}
# Where a limit is tried: the attributes to move, from where, by which step, and the limit.
_TRIED = {
    "CELL_OVER_VOLTAGE": (("max_mv",), 1, "ccl_ma"),
    "CELL_UNDER_VOLTAGE": (("min_mv",), -1, "dcl_ma"),
    "CHARGE_OVER_TEMPERATURE": (("min_dc", "max_dc"), 1, "ccl_ma"),
    "CHARGE_UNDER_TEMPERATURE": (("min_dc", "max_dc"), -1, "ccl_ma"),
    "DISCHARGE_OVER_TEMPERATURE": (("min_dc", "max_dc"), 1, "dcl_ma"),
    "DISCHARGE_UNDER_TEMPERATURE": (("min_dc", "max_dc"), -1, "dcl_ma"),
    "FET_OVER_TEMPERATURE": (("fet_dc",), 1, "ccl_ma"),
}
_OPENS = {0: "", 1: "charge", 2: "discharge", 3: "both"}


def _calm(settings: Settings) -> Snapshot:
    snapshot = Snapshot(settings.n_cells)
    snapshot.valid = True
    snapshot.min_mv = snapshot.max_mv = 3700
    snapshot.sum_mv = 3700 * settings.n_cells
    snapshot.min_dc = snapshot.max_dc = snapshot.fet_dc = 250
    return snapshot


def falls_from(settings: Settings, fault: str) -> int | None:
    """The value (mV, 0.1 °C) from which on a limit is below the rating; ``None``: none is."""
    if fault not in _TRIED:
        return None
    attributes, step, limit = _TRIED[fault]
    snapshot = _calm(settings)
    rated_ma = settings.occ_ma if limit == "ccl_ma" else settings.ocd_ma
    value = getattr(snapshot, attributes[0])
    while True:
        limits = Limits(settings)
        limits.ccl_ma, limits.dcl_ma = settings.occ_ma, settings.ocd_ma
        limits.update(snapshot, True, LimitReason.NONE, 0)
        if getattr(limits, limit) < rated_ma:
            return value - step
        value += step
        for attribute in attributes:
            setattr(snapshot, attribute, value)


def _row(settings: Settings, row: tuple[int, ...]) -> tuple[str, ...]:
    name = names(Fault)[row[d._FAULT]]
    what, *kind = _MEASURED[name]
    falls = warns = cuts = released = ""
    if kind:
        unit, parts = kind
        sign = -1 if row[d._WHAT] in (d._LOW_CELL, d._COLD) else 1

        def shown(value: int | None) -> str:
            return "" if value is None else f"{value / parts:g} {unit}"

        falls = shown(falls_from(settings, name))
        warns = shown(sign * row[d._WARN]) if row[d._WARN] < row[d._CUT] else ""
        cuts = shown(sign * row[d._CUT])
        released = shown(sign * row[d._RELEASE])
    elif row[d._CUT]:
        warns = "yes"
    samples = f"{row[d._UP]} up, {row[d._DOWN]} down" if not row[d._CUT] or kind else ""
    opens = _OPENS[row[d._FORBIDS]]
    if row[d._DELAY_S]:
        opens += f", {row[d._DELAY_S]} s to leave"
    latch = row[d._LATCH]
    latches = {0: "", 1: "yes"}.get(latch, f"{latch}th in an hour")
    if latch and row[d._WHAT] < d._FAST:
        latches = f"after {d._LATCH_SAMPLES} more"
    bit = str(row[d._FAULT])
    return (bit, f"`{name}`", what, falls, warns, cuts, released, samples, opens, latches)


def markdown() -> str:
    """The table, for the example's settings."""
    settings = Settings(*EXAMPLE)
    rows = [_HEAD, tuple("---" for _ in _HEAD)]
    rows += [_row(settings, row) for row in d.table(settings)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Put the table into the document."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END, 1)[1]
    text = f"{before}{BEGIN}\n\n{markdown()}\n\n{END}{after}"
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
