"""What a grade stands on: the quantities of one pack, taken from its published messages.

    >>> evidence = Evidence.from_messages(state, detail)
    >>> evidence.values["soh_low_pct"]
    84.1

A quantity that is not known is ``None``; nothing is filled in. Where a quantity has an interval,
the end that counts against the pack is the one taken: the lower bound of the state of health, the
upper bound of resistance and spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from common import codes

if TYPE_CHECKING:
    from collections.abc import Mapping

HOT_BINS = 2  # the last two temperature bins are above 45 degC
MINUTES_PER_DAY = 1440


class EvidenceError(ValueError):
    """A message that cannot be evidence; the text names key and value."""


class Quantity(NamedTuple):
    """How a quantity is called and printed; ``worse`` says which direction is bad."""

    label: str
    unit: str
    decimals: int


QUANTITIES: dict[str, Quantity] = {
    "soh_low_pct": Quantity("state of health (lower 95 % bound)", "%", 1),
    "soh_half_width_pct": Quantity("half-width of the state of health's interval", "points", 1),
    "soh_age_h": Quantity("age of the state of health", "h", 1),
    "soh_evidence_count": Quantity("number of pieces of evidence for the state of health", "", 0),
    "resistance_ratio": Quantity("resistance against new (upper bound)", "x", 2),
    "capacity_spread_pct": Quantity("cell capacity spread (upper bound)", "%", 1),
    "spread_half_width_pct": Quantity("half-width of the capacity spread", "points", 1),
    "rest_voltage_spread_mv": Quantity("cell voltage difference at rest", "mV", 0),
    "self_discharge_pct_per_month": Quantity(
        "self-discharge of the worst cell (upper bound)", "% a month", 1
    ),
    "self_discharge_low_pct_per_month": Quantity(
        "self-discharge of the worst cell (lower bound)", "% a month", 1
    ),
    "self_discharge_half_width_pct_per_month": Quantity(
        "half-width of the worst cell's self-discharge", "points a month", 1
    ),
    "round_trip_efficiency_pct": Quantity("round-trip efficiency (lower bound)", "%", 1),
    "hot_share_pct": Quantity("share of time above 45 °C", "%", 1),
    "deep_discharge_count": Quantity("number of deep discharges", "", 0),
    "critical_event_count": Quantity("number of deep discharges and over-voltages", "", 0),
    "cell_voltage_min_v": Quantity("lowest cell voltage ever", "V", 3),
    "cell_voltage_max_v": Quantity("highest cell voltage ever", "V", 3),
    "temperature_max_c": Quantity("highest cell temperature ever", "°C", 1),
    "cold_charge_min": Quantity("time charging too cold", "min", 0),
    "observed_days": Quantity("time observed", "days", 1),
    "clock_set": Quantity("clock set by a gateway", "", 0),
}


@dataclass(frozen=True)
class CellHealth:
    """One cell; ``number`` counts from 1."""

    number: int
    soh_pct: float | None
    soh_low_pct: float | None
    soh_high_pct: float | None


class Screening(NamedTuple):
    """A state of health that a pulse test alone has given, and the model that judged it."""

    soh_pct: float
    soh_low_pct: float
    soh_high_pct: float
    model_crc: int | None


@dataclass(frozen=True)
class Evidence:
    """One pack at one moment. ``values`` has every key of ``QUANTITIES``.

    ``faults`` are the names of the active and latched faults, ``None`` where they are not known.
    ``checks`` are what a person found: True passed, False failed; absent means not checked.
    ``cell_profile``, its CRC-32 and ``firmware`` are what made the figures on the board.
    ``screening`` is there only where the board's state of health stands on a pulse test alone:
    then it is no state of health here.
    """

    serial: str
    boot: int | None
    seq: int | None
    chemistry: str | None
    soh_pct: float | None
    soh_low_pct: float | None
    soh_high_pct: float | None
    soh_method: str | None
    refusal: str | None
    next_test: str | None
    weak_cell_number: int | None
    weak_cell_z: float | None
    cell_profile: str | None
    cell_profile_crc: int | None
    firmware: str | None
    screening: Screening | None
    values: Mapping[str, float | None]
    faults: frozenset[str] | None
    cells: tuple[CellHealth, ...]
    checks: Mapping[str, bool] = field(default_factory=dict)

    @staticmethod
    def from_messages(
        state: Mapping[str, Any],
        detail: Mapping[str, Any],
        checks: Mapping[str, bool] | None = None,
    ) -> Evidence:
        """Evidence from the ``state`` and ``detail`` a gateway publishes; ``EvidenceError``."""
        serial = state.get("serial")
        if not isinstance(serial, str) or not serial:
            raise EvidenceError(f"state: serial is {serial!r}; a pack without one is not graded")
        if detail.get("serial") != serial:
            raise EvidenceError(
                f"detail: serial is {detail.get('serial')!r}, but state is of {serial!r}"
            )
        health = _part(detail, "health")
        screening = _screening(health, _part(_part(detail, "test"), "result"))
        low, soh, high = (
            _number(health, key) for key in ("soh_low_pct", "soh_pct", "soh_high_pct")
        )
        if screening is not None or None in {low, soh, high}:
            low = soh = high = None  # a figure without its interval is no figure
        elif not low <= soh <= high:  # type: ignore[operator]  # all three are numbers here
            raise EvidenceError(f"health: soh_pct {soh} is not within {low} .. {high}")
        return Evidence(
            serial=serial,
            boot=_whole(detail, "boot"),
            seq=_whole(detail, "seq"),
            chemistry=_code(health, "chemistry"),
            soh_pct=soh,
            soh_low_pct=low,
            soh_high_pct=high,
            soh_method=_code(health, "soh_method"),
            refusal=_code(health, "refusal"),
            next_test=_code(health, "next_test"),
            weak_cell_number=_whole(health, "weak_cell_number"),
            weak_cell_z=_number(health, "weak_cell_z"),
            cell_profile=_code(health, "profile"),
            cell_profile_crc=_whole(health, "profile_crc"),
            firmware=_code(_part(detail, "device"), "firmware"),
            screening=screening,
            values=_values(
                state, health, _part(detail, "lifetime"), _part(detail, "energy"), low, high
            ),
            faults=_faults(state),
            cells=_cells(health),
            checks=dict(checks or {}),
        )


def _values(
    state: Mapping[str, Any],
    health: Mapping[str, Any],
    lifetime: Mapping[str, Any],
    energy: Mapping[str, Any],
    low: float | None,
    high: float | None,
) -> dict[str, float | None]:
    age_s = _number(health, "soh_age_s")
    rest_v = _number(health, "rest_voltage_spread_v")
    observed_min = _number(lifetime, "observed_min")
    deep = _number(lifetime, "deep_discharge_count")
    over = _number(lifetime, "over_voltage_count")
    quality = _code(state, "time_quality")
    spread = _number(health, "capacity_spread_pct")
    spread_high = _number(health, "capacity_spread_high_pct")
    values = {
        "soh_low_pct": low,
        "soh_half_width_pct": None if low is None or high is None else (high - low) / 2,
        "soh_age_h": None if age_s is None else age_s / 3600,
        "soh_evidence_count": _number(health, "soh_evidence_count"),
        "resistance_ratio": _ratio(
            _number(health, "resistance_high_ohm"), _number(health, "resistance_new_ohm")
        ),
        "capacity_spread_pct": spread_high,
        "spread_half_width_pct": (
            None if spread is None or spread_high is None else spread_high - spread
        ),
        "rest_voltage_spread_mv": None if rest_v is None else rest_v * 1000,
        **_self_discharge(energy),
        "round_trip_efficiency_pct": _number(energy, "round_trip_efficiency_low_pct"),
        "hot_share_pct": _hot_share(lifetime),
        "deep_discharge_count": deep,
        "critical_event_count": None if deep is None or over is None else deep + over,
        "cell_voltage_min_v": _number(lifetime, "cell_voltage_min_v"),
        "cell_voltage_max_v": _number(lifetime, "cell_voltage_max_v"),
        "temperature_max_c": _number(lifetime, "temperature_max_c"),
        "cold_charge_min": _number(lifetime, "cold_charge_min"),
        "observed_days": None if observed_min is None else observed_min / MINUTES_PER_DAY,
        "clock_set": None if quality is None else float(quality == "gateway"),
    }
    # 0.1 + 0.2 must not decide a class: registers hold no more than 6 decimals of anything
    return {name: None if v is None else round(v, 6) for name, v in values.items()}


def _self_discharge(energy: Mapping[str, Any]) -> dict[str, float | None]:
    """The worst cell's, both bounds: that of the mean cell and what a cell leaks beyond it.

    The upper bound is unknown as soon as the mean's or one cell's is, for that cell could be the
    worst. The lower one needs only one of them: the worst cell is no better than the mean, and no
    cell charges itself.
    """
    lows, highs = (
        [_number(cell, f"leak_{end}_pct_per_month") for cell in _entries(energy, "energy")]
        for end in ("low", "high")
    )
    mean_low = _number(energy, "self_discharge_low_pct_per_month")
    mean_high = _number(energy, "self_discharge_high_pct_per_month")
    known_lows = [leak for leak in lows if leak is not None]
    known_highs = [leak for leak in highs if leak is not None]
    low = high = half_width = None
    if known_lows or mean_low is not None:
        low = (mean_low or 0.0) + max([0.0, *known_lows])
    if mean_high is not None and known_highs and len(known_highs) == len(highs):
        high = mean_high + max(known_highs)
    if low is not None and high is not None:
        half_width = (high - low) / 2
    return {
        "self_discharge_pct_per_month": high,
        "self_discharge_low_pct_per_month": low,
        "self_discharge_half_width_pct_per_month": half_width,
    }


def _hot_share(lifetime: Mapping[str, Any]) -> float | None:
    bins = lifetime.get("temperature_histogram_min")
    if not isinstance(bins, list) or not bins:
        return None
    minutes = [_checked("temperature_histogram_min", value) for value in bins]
    known = [value for value in minutes if value is not None]
    if len(known) != len(minutes) or sum(known) <= 0:
        return None
    return 100 * sum(known[-HOT_BINS:]) / sum(known)


def _ratio(value: float | None, reference: float | None) -> float | None:
    if value is None or reference is None or reference <= 0:
        return None
    return value / reference


def _screening(health: Mapping[str, Any], result: Mapping[str, Any]) -> Screening | None:
    low, soh, high = (_number(health, key) for key in ("soh_low_pct", "soh_pct", "soh_high_pct"))
    if _code(health, "soh_method") != "pulse_test" or low is None or soh is None or high is None:
        return None
    return Screening(soh, low, high, _whole(result, "model_crc"))


def _faults(state: Mapping[str, Any]) -> frozenset[str] | None:
    found: set[str] = set()
    for key in ("faults", "latched"):
        names = state.get(key)
        if names is None:
            return None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise EvidenceError(f"state: {key} is {names!r}, not a list of names")
        found.update(names)
    return frozenset(found)


def _cells(health: Mapping[str, Any]) -> tuple[CellHealth, ...]:
    found = []
    for position, cell in enumerate(_entries(health, "health"), 1):
        low, soh, high = (_number(cell, key) for key in ("soh_low_pct", "soh_pct", "soh_high_pct"))
        found.append(CellHealth(position, soh, low, high))
    return tuple(found)


def _entries(part: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The entries of the cells of one part, cell 1 first."""
    cells = part.get("cells") or []
    if not isinstance(cells, list):
        raise EvidenceError(f"{name}: cells is {cells!r}, not a list")
    for position, cell in enumerate(cells, 1):
        if not isinstance(cell, dict) or cell.get("number") != position:
            raise EvidenceError(f"{name}: cells: entry {position} is not cell {position}")
    return cells


def _part(detail: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = detail.get(key)
    if not isinstance(part, dict):
        raise EvidenceError(f"detail: {key} is {part!r}, not an object")
    return part


def _number(part: Mapping[str, Any], key: str) -> float | None:
    return _checked(key, part.get(key))


def _whole(part: Mapping[str, Any], key: str) -> int | None:
    value = _number(part, key)
    return None if value is None else int(value)


def _checked(key: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise EvidenceError(f"{key} is {value!r}, not a number")
    return value


def _code(part: Mapping[str, Any], key: str) -> str | None:
    value = part.get(key)
    if value is not None and not isinstance(value, str):
        raise EvidenceError(f"{key} is {value!r}, not a name")
    return value


CHEMISTRIES = tuple(
    name.lower() for number, name in sorted(codes.names(codes.Chemistry).items()) if number
)
FAULTS = tuple(name.lower() for _number_, name in sorted(codes.names(codes.Fault).items()))
