"""One rule against the evidence of one pack: what it measured, what the limit is, what follows."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from gateway.grading.evidence import QUANTITIES
from gateway.grading.profile import CLASSES, limit_for

if TYPE_CHECKING:
    from gateway.grading.evidence import Evidence
    from gateway.grading.profile import Check, Criterion, Gate, Profile

RECYCLE = "R"
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Result:
    """What one rule found. ``verdict`` is pass, fail, unknown, or the class a criterion gives."""

    id: str
    kind: str  # gate, check or criterion
    label: str
    unit: str
    value: float | None
    limit: float | None
    margin: float | None  # how far on the good side of the limit, in the unit of the value
    verdict: str
    otherwise: str  # recycle, hold, list (not required) or classes
    next_test: str | None
    origin: str
    decimals: int = 0

    def measured(self) -> str:
        """The value with its unit, for people."""
        if self.value is None:
            return "not known"
        return _figure(self.value, self.decimals, self.unit)

    def limited(self) -> str:
        """The limit with its unit, for people."""
        return "none" if self.limit is None else _figure(self.limit, self.decimals, self.unit)


def apply_gate(gate: Gate, evidence: Evidence) -> Result:
    """Pass, fail or unknown."""
    value, limit, margin = None, None, None
    unit, decimals = "", 0
    if gate.quantity is not None:
        label, unit, decimals = QUANTITIES[gate.quantity]
        value = evidence.values[gate.quantity]
        limits = gate.min if gate.min is not None else gate.max
        assert limits is not None  # the profile gives one of the two
        limit = limit_for(limits, evidence.chemistry)
        if value is not None and limit is not None:
            margin = value - limit if gate.min is not None else limit - value
        verdict = "unknown" if margin is None else "pass" if margin >= 0 else "fail"
    elif evidence.faults is None:
        label, verdict = "list of faults", "unknown"
    else:
        found = sorted(evidence.faults.intersection(gate.faults or ()))
        label = "fault " + ", ".join(found) if found else "list of faults"
        verdict = "fail" if found else "pass"
    otherwise = "list" if verdict == "unknown" and gate.unknown == "list" else gate.otherwise
    return Result(
        gate.id, "gate", label, unit, value, limit, margin, verdict, otherwise, gate.next_test,
        gate.origin, decimals,
    )  # fmt: skip


def apply_check(check: Check, evidence: Evidence) -> Result:
    """What a person found; unknown where nobody looked."""
    passed = evidence.checks.get(check.id)
    verdict = "unknown" if passed is None else "pass" if passed else "fail"
    otherwise = "list" if passed is None and not check.required else check.otherwise
    return Result(
        check.id, "check", check.text, "", None, None, None, verdict, otherwise,
        f"check: {check.text}", check.origin,
    )  # fmt: skip


def apply_criterion(rule: Criterion, evidence: Evidence) -> Result:
    """The best class whose limit holds; the limit reported is that of the class denied."""
    label, unit, decimals = QUANTITIES[rule.quantity]
    value = evidence.values[rule.quantity]
    limits = [limit_for(getattr(rule, name), evidence.chemistry) for name in CLASSES]
    verdict, limit, margin = "unknown", limits[0], None
    if value is not None and None not in limits:
        verdict = RECYCLE
        for name, at in zip(CLASSES, limits, strict=True):
            assert at is not None
            distance = value - at if rule.better == "higher" else at - value
            if margin is None or distance < 0:
                limit, margin = at, distance
            if distance >= 0:
                verdict = name
                break
    otherwise = "classes" if verdict != "unknown" else rule.unknown
    return Result(
        rule.id, "criterion", label, unit, value, limit, margin, verdict, otherwise,
        rule.next_test, rule.origin, decimals,
    )  # fmt: skip


def held_because(result: Result) -> str:
    """Why a result refuses the grade, as the middle of a sentence."""
    if result.verdict == "unknown" and result.kind == "check":
        return f"nobody has checked: {result.label}"
    if result.verdict == "unknown" and result.value is not None:
        return f"the profile has no limit on {result.label} for this chemistry"
    if result.verdict == "unknown":
        return f"{result.label} is not known"
    if result.value is None:
        return result.label
    return f"{result.label} is {result.measured()}, the limit is {result.limited()}"


def weak_cells(evidence: Evidence, profile: Profile) -> tuple[int, ...]:
    """Numbers of the cells that lie below the median by both measures of the profile.

    Where the cells have no figures of their own, the board's own weakest cell and its z count.
    """
    rule = profile.weak_cells
    known = {c.number: c.soh_pct for c in evidence.cells if c.soh_pct is not None}
    if len(known) >= 3:
        middle = median(known.values())
        sigma = MAD_TO_SIGMA * median(abs(soh - middle) for soh in known.values())
        return tuple(
            number
            for number, soh in sorted(known.items())
            if middle - soh > rule.below_median_min_pct and middle - soh > rule.z_min * sigma
        )
    number, z = evidence.weak_cell_number, evidence.weak_cell_z
    return (number,) if number is not None and z is not None and z > rule.z_min else ()


def rank(name: str) -> int:
    """0 for the best class; R comes last."""
    return (*CLASSES, RECYCLE).index(name)


def relative_margin(result: Result) -> float:
    """The margin as a share of the limit, so that quantities can be compared."""
    margin, limit = result.margin, result.limit
    if margin is None:
        return float("inf")
    if not limit:  # none of something bad, as asked for, is not a tight margin
        return margin if margin < 0 else float("inf")
    return margin / abs(limit)


def _figure(value: float, decimals: int, unit: str) -> str:
    gap = "" if unit in {"", "x"} else " "
    return f"{value:.{decimals}f}{gap}{unit}"
