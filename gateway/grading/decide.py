"""The decision: evidence and a profile in, a grade out. Pure: no clock, no files, no chance.

1. Gates. One that fails with ``recycle`` ends it; one that fails with ``hold``, or whose value is
   not known, refuses the grade: unknown is never passed.
2. Classes. Each criterion gives the best class whose limit it keeps (A, B, C; R keeps none). The
   worst criterion decides and is named; there is no weighted score, which could hide a fatal one.
3. A pack of class R that only weak cells hold down is sent to remanufacture, the cells by number.

    >>> grade(evidence, profile.load("packgrade-2026")).route
    'repurpose'
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt
from statistics import median
from typing import TYPE_CHECKING, Any

from gateway.grading.profile import CLASSES, limit_for
from gateway.grading.rules import (
    RECYCLE,
    Result,
    apply_check,
    apply_criterion,
    apply_gate,
    held_because,
    rank,
    relative_margin,
    weak_cells,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.grading.evidence import CellHealth, Evidence
    from gateway.grading.profile import Criterion, Profile, Remanufacture

REMANUFACTURE = "M"
ROUTES = {
    "A": "reuse",
    "B": "repurpose",
    "C": "repurpose",
    REMANUFACTURE: "remanufacture",
    RECYCLE: "recycle",
}
USES = {"A": "the same use", "B": "daily storage", "C": "low-duty backup"}
# the words of EU 2023/1542, Annex XIII 4(c)
STATUSES = {"A": "re-used", "B": "repurposed", "C": "repurposed", RECYCLE: "waste"}
Z_95 = 1.959964  # half-width of a 95 % interval in standard deviations


@dataclass(frozen=True)
class Grade:
    """The outcome. ``grade_class`` is A, B, C, M, R, or ``None`` where the grade is refused."""

    serial: str
    grade_class: str | None
    route: str  # reuse, repurpose, remanufacture, recycle or hold
    status: str | None  # the law's word that is recommended
    provisional: bool
    binding: Result | None
    reason: str
    probabilities: dict[str, float]
    weak_cells: tuple[int, ...]
    next_test: str | None
    limitations: tuple[str, ...]
    results: tuple[Result, ...]
    evidence: Evidence
    profile: Profile

    def to_message(self) -> dict[str, Any]:
        """The flat JSON that is published; ``results`` are left to ``to_report``."""
        binding, evidence, screening = self.binding, self.evidence, self.evidence.screening
        return {
            "serial": self.serial,
            "class": self.grade_class,
            "route": self.route,
            "status": self.status,
            "provisional": self.provisional,
            "binding": binding and binding.id,
            "binding_value": binding and _rounded(binding.value),
            "binding_limit": binding and _rounded(binding.limit),
            "binding_unit": binding and binding.unit,
            "margin": binding and _rounded(binding.margin),
            "reason": self.reason,
            "soh_pct": evidence.soh_pct,
            "soh_low_pct": evidence.soh_low_pct,
            "soh_high_pct": evidence.soh_high_pct,
            "screening_soh_pct": screening and screening.soh_pct,
            "screening_soh_low_pct": screening and screening.soh_low_pct,
            "screening_soh_high_pct": screening and screening.soh_high_pct,
            "screening_model_crc": screening and screening.model_crc,
            "probabilities": self.probabilities,
            "weak_cells": list(self.weak_cells),
            "next_test": self.next_test,
            "limitations": list(self.limitations),
            "profile": self.profile.id,
            "profile_version": self.profile.version,
            "profile_sha256": self.profile.sha256,
            "cell_profile": evidence.cell_profile,
            "cell_profile_crc": evidence.cell_profile_crc,
            "firmware": evidence.firmware,
            "evidence_boot": evidence.boot,
            "evidence_seq": evidence.seq,
        }

    def to_report(self) -> dict[str, Any]:
        """The message with what every rule found."""
        results = [
            {
                "id": r.id,
                "kind": r.kind,
                "label": r.label,
                "value": _rounded(r.value),
                "limit": _rounded(r.limit),
                "unit": r.unit,
                "margin": _rounded(r.margin),
                "verdict": r.verdict,
                "origin": r.origin,
            }
            for r in self.results
        ]
        return self.to_message() | {"results": results}


def grade(evidence: Evidence, profile: Profile) -> Grade:
    """Grade one pack. The same arguments give the same grade."""
    gates = [apply_gate(gate, evidence) for gate in profile.gates]
    gates += [apply_check(check, evidence) for check in profile.checks]
    criteria = [apply_criterion(rule, evidence) for rule in profile.criteria]
    weak = weak_cells(evidence, profile)
    decision = _Decision(evidence, profile, gates, criteria, weak)

    unsafe = [r for r in gates if r.verdict == "fail" and r.otherwise == "recycle"]
    if unsafe:
        return decision.recycled_by(unsafe[0])
    held = [r for r in gates if r.otherwise != "list" and r.verdict != "pass"]
    held += [r for r in criteria if r.otherwise == "hold" and r.verdict == "unknown"]
    if held:
        return decision.held_by(held)
    return decision.classed()


class _Decision:
    """The results of every rule, and the ways they can end."""

    def __init__(
        self,
        evidence: Evidence,
        profile: Profile,
        gates: list[Result],
        criteria: list[Result],
        weak: tuple[int, ...],
    ) -> None:
        self.evidence = evidence
        self.profile = profile
        self.gates = gates
        self.criteria = [r for r in criteria if r.verdict != "unknown"]
        self.results = (*gates, *criteria)
        self.weak = weak
        half_width = evidence.values["soh_half_width_pct"]
        allowed = profile.provisional.soh_half_width_max_pct
        self.provisional = half_width is not None and half_width > allowed

    def recycled_by(self, result: Result) -> Grade:
        if result.kind == "check":
            why = f"check failed: {result.label}"
        elif result.value is None:
            why = result.label
        else:
            why = f"{result.label} is {result.measured()}, the limit is {result.limited()}"
        return self._grade(RECYCLE, result, f"Recycle: {why}.", {RECYCLE: 1.0}, None)

    def held_by(self, held: list[Result]) -> Grade:
        if self.evidence.soh_pct is None:
            about_soh = [r for r in self.results if r.id == self._soh().id]
            refusal = (self.evidence.refusal or "none").replace("_", " ")
            why = "there is no state of health yet"
            if self.evidence.screening is not None:
                why = "the state of health stands on a pulse test alone"
            why += "" if refusal == "none" else f" ({refusal})"
            first, next_test = about_soh[0], self.evidence.next_test
            if next_test in {None, "none"}:
                next_test = first.next_test
        else:
            first, next_test = held[0], held[0].next_test
            why = held_because(first)
        next_test = next_test and next_test.replace("_", " ")
        sentence = f"Hold: {why}" + (f"; next: {next_test}." if next_test else ".")
        others = [held_because(r) for r in held if r.id != first.id]
        if self.evidence.soh_pct is None:
            soh_rules = {g.id for g in self.profile.gates if "soh_" in (g.quantity or "")}
            others = [held_because(r) for r in held if r.id not in soh_rules | {first.id}]
        extra = tuple(f"also held: {other}" for other in others)
        return self._grade(None, first, sentence, self._probabilities("A"), next_test, extra)

    def classed(self) -> Grade:
        worst = max((r.verdict for r in self.criteria), key=rank)
        if worst == RECYCLE:
            remanufacture = self._remanufacture()
            if remanufacture is not None:
                return remanufacture
        if worst == CLASSES[0]:
            binding = min(self.criteria, key=relative_margin)
            reason = (
                f"Class A ({USES['A']}): every criterion holds; the tightest is {binding.label} "
                f"{binding.measured()}, the limit is {binding.limited()}."
            )
        else:
            deciding = [r for r in self.criteria if r.verdict == worst]
            binding = min(deciding, key=relative_margin)
            denied = (*CLASSES, RECYCLE)[rank(worst) - 1]
            head = "Recycle" if worst == RECYCLE else f"Class {worst} ({USES[worst]})"
            reason = (
                f"{head}: {binding.label} is {binding.measured()}, class {denied} asks for "
                f"{binding.limited()}."
            )
        if self.weak:
            reason = reason[:-1] + f"; weak: {_cells_text(self.weak)}."
        chances = self._probabilities(self._worst_beside_soh())
        next_test = self._soh().next_test if self.provisional else None
        return self._grade(worst, binding, reason, chances, next_test)

    def _remanufacture(self) -> Grade | None:
        """The grade M, where only weak cells hold the pack down; else ``None``."""
        rule = self.profile.remanufacture
        failing = [r for r in self.criteria if r.verdict == RECYCLE]
        cells = self.evidence.cells
        lows = [c.soh_low_pct for c in cells if c.soh_low_pct is not None]
        if (
            not self.weak
            or any(r.id not in rule.caused_by_weak_cells for r in failing)
            or len(lows) != len(cells)
            or not cells
            or 100 * len(self.weak) > rule.weak_cells_max_pct * len(cells)
            or median(lows) < rule.median_cell_soh_min_pct
        ):
            return None
        binding = min(failing, key=relative_margin)
        status = _status_after_swap([c for c in cells if c.number not in self.weak], rule)
        reason = (
            f"Remanufacture: {_cells_text(self.weak)} hold the pack down ({binding.label} is "
            f"{binding.measured()}, class C asks for {binding.limited()}), while the median cell "
            f"has {median(lows):.1f} % at least; replace and grade again."
        )
        if len(self.weak) == 1:
            reason = reason.replace(" hold the pack", " holds the pack", 1)
        next_test = f"replace {_cells_text(self.weak)}, then full cycle"
        return self._grade(REMANUFACTURE, binding, reason, {}, next_test, status=status)

    def _grade(
        self,
        grade_class: str | None,
        binding: Result,
        reason: str,
        probabilities: dict[str, float],
        next_test: str | None,
        extra: tuple[str, ...] = (),
        status: str | None = None,
    ) -> Grade:
        return Grade(
            serial=self.evidence.serial,
            grade_class=grade_class,
            route=ROUTES[grade_class] if grade_class else "hold",
            status=status or STATUSES.get(grade_class or ""),
            provisional=self.provisional and grade_class is not None,
            binding=binding,
            reason=reason,
            probabilities=probabilities,
            weak_cells=self.weak,
            next_test=next_test,
            limitations=tuple(dict.fromkeys([*extra, *self._limitations()])),
            results=self.results,
            evidence=self.evidence,
            profile=self.profile,
        )

    def _limitations(self) -> Iterator[str]:
        screening = self.evidence.screening
        if screening is not None:
            yield (
                f"screening only, not graded: a pulse test says {screening.soh_pct:.1f} % "
                f"({screening.soh_low_pct:.1f} to {screening.soh_high_pct:.1f} %)"
            )
        for result in self.results:
            if result.otherwise == "list" and result.verdict == "unknown":
                yield f"not checked: {result.label}"
        if self.provisional:
            half_width = self.evidence.values["soh_half_width_pct"]
            yield f"provisional: state of health is known to {half_width:.1f} points only"
        yield from self.profile.limitations

    def _soh(self) -> Criterion:
        return next(c for c in self.profile.criteria if c.quantity == "soh_low_pct")

    def _worst_beside_soh(self) -> str:
        others = [r.verdict for r in self.criteria if r.id != self._soh().id]
        return max(others, key=rank, default=CLASSES[0])

    def _probabilities(self, cap: str) -> dict[str, float]:
        """P(class) from a normal posterior of the state of health, no better than ``cap``."""
        soh, low, high = (
            self.evidence.soh_pct,
            self.evidence.soh_low_pct,
            self.evidence.soh_high_pct,
        )
        if soh is None or low is None or high is None:
            return {}
        sigma = max((high - low) / 2 / Z_95, 1e-9)
        chances = {}
        above = 0.0  # probability of this class or a better one
        for name in (*CLASSES, RECYCLE):
            if name == RECYCLE:
                at_least = 1.0
            else:
                limit = limit_for(getattr(self._soh(), name), self.evidence.chemistry)
                if limit is None:
                    return {}
                at_least = 0.0 if rank(name) < rank(cap) else _above(limit, soh, sigma)
            chances[name] = round(at_least - above, 3)
            above = at_least
        return chances


def _status_after_swap(sound: list[CellHealth], rule: Remanufacture) -> str:
    """``remanufactured`` only where the law's two numbers can be kept with sound new cells."""
    lows = [c.soh_low_pct for c in sound if c.soh_low_pct is not None]
    highs = [c.soh_high_pct for c in sound if c.soh_high_pct is not None]
    kept = (
        lows
        and len(highs) == len(lows) == len(sound)
        and min(lows) >= rule.law_capacity_min_pct
        and max(highs) - min(lows) <= rule.law_spread_max_pct
    )
    return "remanufactured" if kept else "repurposed"


def _above(limit: float, mean: float, sigma: float) -> float:
    return 0.5 * (1 + erf((mean - limit) / sigma / sqrt(2)))


def _cells_text(numbers: tuple[int, ...]) -> str:
    return ("cell " if len(numbers) == 1 else "cells ") + ", ".join(map(str, numbers))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
