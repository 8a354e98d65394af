"""Each gate and class with what decided it; worse is never better, the unknown never passes."""

import dataclasses

import pytest
from grading_packs import CHECKED, cells, evidence, self_discharge, soh
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.grading import profile as profiles
from gateway.grading.decide import grade
from gateway.grading.evidence import QUANTITIES

FIELD = profiles.load("packgrade-2026")
BENCH = profiles.load("packgrade-2026-bench")
RANK = {"A": 0, "B": 1, "C": 2, "M": 3, "R": 3}  # M as it stands is worth no more than R


def graded(profile=FIELD, **changes):
    return grade(evidence(**changes), profile)


def test_a_healthy_pack_is_reused_and_its_tightest_criterion_named():
    found = graded()
    assert (found.grade_class, found.route, found.status) == ("A", "reuse", "re-used")
    assert not found.provisional
    assert found.binding.id == "efficiency"
    assert found.binding.margin == 2.5
    assert found.reason == (
        "Class A (the same use): every criterion holds; the tightest is round-trip efficiency "
        "(lower bound) 96.5 %, the limit is 94.0 %."
    )
    assert found.next_test is None
    assert found.weak_cells == ()


def spread(high):
    return {"capacity_spread_pct": high - 1, "capacity_spread_high_pct": high}


HISTOGRAM = "temperature_histogram_min"
CLASSES = [
    # what is changed, class, binding, value, limit of the class it was denied
    ({"health": soh(80.0)}, "A", "soh", 80.0, 80.0),
    ({"health": soh(79.99)}, "B", "soh", 79.99, 80.0),
    ({"health": soh(70.0)}, "B", "soh", 70.0, 80.0),
    ({"health": soh(69.9)}, "C", "soh", 69.9, 70.0),
    ({"health": soh(60.0)}, "C", "soh", 60.0, 70.0),
    ({"health": soh(59.9)}, "R", "soh", 59.9, 60.0),
    ({"health": {"resistance_high_ohm": 0.032}}, "B", "resistance", 1.6, 1.5),
    ({"health": {"resistance_high_ohm": 0.042}}, "C", "resistance", 2.1, 2.0),
    ({"health": {"resistance_high_ohm": 0.06}}, "R", "resistance", 3.0, 2.5),
    ({"health": {"capacity_spread_high_pct": 3.0}}, "A", "spread", 3.0, 3.0),
    ({"health": {"capacity_spread_high_pct": 3.5}}, "B", "spread", 3.5, 3.0),
    ({"health": spread(6.5)}, "C", "spread", 6.5, 6.0),
    ({"health": spread(10.5)}, "R", "spread", 10.5, 10.0),
    ({"health": {"rest_voltage_spread_v": 0.016}}, "B", "rest_voltage", 16, 15),
    ({"health": {"rest_voltage_spread_v": 0.041}}, "C", "rest_voltage", 41, 40),
    ({"health": {"rest_voltage_spread_v": 0.081}}, "R", "rest_voltage", 81, 80),
    (
        {"health": {"rest_voltage_spread_v": 0.012, "chemistry": "lfp"},
         "lifetime": {"cell_voltage_max_v": 3.6}}, "B", "rest_voltage", 12, 10,
    ),
    ({"energy": self_discharge(1.5, 2.5)}, "B", "self_discharge", 2.5, 2.0),
    ({"energy": self_discharge(3.0, 4.0)}, "C", "self_discharge", 4.0, 3.0),
    ({"energy": self_discharge(4.5, 5.1)}, "R", "self_discharge", 5.1, 5.0),
    ({"energy": {"round_trip_efficiency_low_pct": 93.0}}, "B", "efficiency", 93.0, 94.0),
    ({"energy": {"round_trip_efficiency_low_pct": 86.0}}, "C", "efficiency", 86.0, 90.0),
    ({"energy": {"round_trip_efficiency_low_pct": 80.0}}, "R", "efficiency", 80.0, 85.0),
    ({"lifetime": {HISTOGRAM: [*[0] * 3, 97, 0, 0, 3, 0]}}, "B", "hot_share", 3, 1),
    ({"lifetime": {HISTOGRAM: [*[0] * 3, 90, 0, 0, 5, 5]}}, "C", "hot_share", 10, 5),
    ({"lifetime": {"over_voltage_count": 1}}, "B", "critical_events", 1, 0),
    ({"lifetime": {"deep_discharge_count": 3}}, "C", "critical_events", 3, 2),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected", "binding", "value", "limit"), CLASSES)
def test_the_worst_criterion_decides_and_is_named(changes, expected, binding, value, limit):
    found = graded(**changes)
    assert (found.grade_class, found.binding.id) == (expected, binding)
    assert (found.binding.value, found.binding.limit) == (pytest.approx(value), limit)
    assert found.binding.margin == pytest.approx(-abs(value - limit))
    assert found.binding.label in found.reason


def test_of_two_criteria_in_the_worst_class_the_one_further_off_is_named():
    both = {"resistance_high_ohm": 0.039} | soh(79.0)
    assert graded(health=both).binding.id == "resistance"
    assert graded(health=both | soh(71.0) | {"resistance_high_ohm": 0.0301}).binding.id == "soh"


def test_the_lower_end_of_the_interval_is_graded_not_the_middle():
    narrow, wide = graded(health=soh(80.5, 83.5)), graded(health=soh(77.5, 86.5))
    assert narrow.evidence.soh_pct == wide.evidence.soh_pct == 82
    assert (narrow.grade_class, wide.grade_class) == ("A", "B")
    assert wide.provisional
    assert wide.next_test == "full cycle"
    assert "provisional: state of health is known to 4.5 points only" in wide.limitations


def test_routes_and_the_laws_words():
    expected = {
        80.0: ("reuse", "re-used"),
        70.0: ("repurpose", "repurposed"),
        60.0: ("repurpose", "repurposed"),
        50.0: ("recycle", "waste"),
    }
    for low, outcome in expected.items():
        found = graded(health=soh(low))
        assert (found.route, found.status) == outcome


RECYCLED = [
    ({"state": {"latched": ["cell_deep_discharge"]}}, "permanent_fail"),
    ({"state": {"faults": ["afe_permanent_fail"]}}, "permanent_fail"),
    ({"lifetime": {"cell_voltage_min_v": 1.49}}, "cell_voltage_floor"),
    ({"lifetime": {"cell_voltage_max_v": 4.36}}, "cell_voltage_ceiling"),
    (
        {"lifetime": {"cell_voltage_max_v": 3.9}, "health": {"chemistry": "lfp"}},
        "cell_voltage_ceiling",
    ),
    ({"lifetime": {"temperature_max_c": 80.1}}, "temperature_ceiling"),
    ({"lifetime": {"deep_discharge_count": 11}}, "deep_discharges"),
    ({"energy": self_discharge(5.1, 6.0)}, "self_discharge_ceiling"),
    ({"checks": CHECKED | {"visual": False}}, "visual"),
    ({"checks": CHECKED | {"insulation": False}}, "insulation"),
    ({"checks": CHECKED | {"calendar_expiry": False}}, "calendar_expiry"),
]


@pytest.mark.parametrize(("changes", "binding"), RECYCLED)
@pytest.mark.parametrize("profile", [FIELD, BENCH], ids=["field", "bench"])
def test_an_unsafe_pack_is_recycled_however_healthy(changes, binding, profile):
    found = graded(profile, **changes)
    assert (found.grade_class, found.route, found.status) == ("R", "recycle", "waste")
    assert found.binding.id == binding
    assert found.reason.startswith("Recycle: ")


def test_an_unsafe_pack_is_recycled_even_where_the_evidence_is_thin():
    found = graded(lifetime={"temperature_max_c": 95.0}, health={"soh_pct": None})
    assert found.route == "recycle"


HELD = [
    ({"lifetime": {"cold_charge_min": 61}}, "cold_charging", "manual review"),
    ({"lifetime": {"temperature_histogram_min": [0, 0, 0, 80, 0, 0, 20, 0]}}, "heat", "manual"),
    ({"state": {"faults": ["stack_mismatch"]}}, "sensors", "repair the measurement"),
    ({"state": {"faults": None}}, "permanent_fail", None),
    ({"state": {"time_quality": "none"}}, "clock", "let a gateway set the clock"),
    ({"lifetime": {"observed_min": 13 * 1440}}, "history", "go on observing"),
    ({"lifetime": {"observed_min": None}}, "history", "go on observing"),
    ({"health": {"soh_evidence_count": 1}}, "evidence_count", "another charge"),
    ({"health": {"soh_age_s": 31 * 86400}}, "evidence_age", "another charge"),
    ({"health": soh(80.0, 90.1)}, "interval", "full cycle"),
    ({"health": {"capacity_spread_high_pct": 11.0}}, "spread_interval", "full cycle"),
    ({"energy": self_discharge(0.5, 5.1)}, "self_discharge_interval", "rest for a week"),
    ({"health": {"resistance_high_ohm": None}}, "resistance", "one current step"),
    ({"health": {"capacity_spread_high_pct": None}}, "spread", "full cycle"),
    ({"health": {"rest_voltage_spread_v": None}}, "rest_voltage", "two hours at rest"),
    ({"health": {"chemistry": "unknown"}}, "cell_voltage_ceiling", None),
    ({"checks": {"visual": True}}, "insulation", "check: insulation"),
]


@pytest.mark.parametrize(("changes", "binding", "next_test"), HELD)
def test_thin_or_doubtful_evidence_is_held_with_the_reason_and_the_next_test(
    changes, binding, next_test
):
    found = graded(**changes)
    assert (found.grade_class, found.route, found.status) == (None, "hold", None)
    assert found.binding.id == binding
    assert found.reason.startswith("Hold: ")
    if next_test is not None:
        assert found.next_test.startswith(next_test)
        assert found.next_test in found.reason


def test_a_pack_without_a_state_of_health_is_held_with_the_boards_own_words():
    unknown = {"soh_low_pct": None, "soh_pct": None, "soh_high_pct": None}
    why = {"refusal": "flat_region", "next_test": "charge_to_full", "soh_evidence_count": 0}
    found = graded(BENCH, health=unknown | why)
    assert found.route == "hold"
    assert found.binding.id == "soh"
    assert found.reason == (
        "Hold: there is no state of health yet (flat region); next: charge to full."
    )
    assert found.next_test == "charge to full"
    assert found.probabilities == {}


def test_everything_that_holds_a_grade_is_listed():
    found = graded(lifetime={"observed_min": 60}, health={"rest_voltage_spread_v": None})
    assert found.binding.id == "history"
    assert "also held: cell voltage difference at rest is not known" in found.limitations


def test_the_bench_profile_lists_what_nobody_checked_instead_of_requiring_it():
    short = {"observed_min": 600}
    nobody_watched = {"self_discharge_low_pct_per_month": None, "cells": []}
    found = graded(BENCH, lifetime=short, checks={}, energy=nobody_watched)
    assert found.grade_class == "A"
    assert "not checked: no swelling, leak, impact or water" in found.limitations
    assert "not checked: insulation of 500 ohm per volt at least" in found.limitations
    self_discharge = "not checked: self-discharge of the worst cell (lower bound)"
    assert found.limitations.count(self_discharge) == 1
    assert graded(FIELD, lifetime=short).route == "hold"


def test_a_leak_that_may_be_there_scraps_no_pack_and_one_that_is_there_does():
    may = {"energy": self_discharge(0.5, 8.0)}
    assert graded(**may).route == "hold"
    assert graded(BENCH, **may).grade_class == "A"
    assert graded(BENCH, energy=self_discharge(2.5, 8.0)).binding.id == "self_discharge"


def test_a_pulse_test_alone_is_told_and_not_graded():
    pulses = {"soh_method": "pulse_test", "next_test": "none"} | soh(78.0, 84.0)
    result = {"model_crc": 0xDEADBEEF}
    found = graded(BENCH, health=pulses, result=result)
    assert found.route == "hold"
    assert found.reason.startswith("Hold: the state of health stands on a pulse test alone; next:")
    assert found.next_test == "full cycle"
    said = "screening only, not graded: a pulse test says 81.0 % (78.0 to 84.0 %)"
    assert said in found.limitations
    message = found.to_message()
    assert (message["screening_soh_pct"], message["screening_model_crc"]) == (81.0, 0xDEADBEEF)
    assert message["soh_pct"] is None

    for method in ("fused", "full_cycle"):
        known = graded(BENCH, health=pulses | {"soh_method": method}, result=result)
        assert said not in known.limitations
        assert known.to_message()["screening_soh_pct"] is None
        assert known.to_message()["soh_pct"] == 81.0


def test_a_quick_test_is_named_where_the_board_advises_one():
    unknown = dict.fromkeys(("soh_low_pct", "soh_pct", "soh_high_pct"))
    found = graded(health=unknown | {"next_test": "quick_test", "refusal": "no_evidence"})
    assert found.next_test == "quick test"
    assert "; next: quick test." in found.reason


def test_the_bench_profile_wants_todays_cycle():
    assert graded(BENCH, health={"soh_age_s": 25 * 3600}).binding.id == "evidence_age"
    assert graded(BENCH, health={"soh_age_s": None}).binding.id == "evidence_age"


WEAK = {"cells": cells(88, 88.5, 87.5, 88, 58, 88.2, 87.9, 88.1)} | spread(36.0)


def test_one_weak_cell_in_a_good_pack_is_remanufactured_and_named():
    found = graded(health=WEAK | soh(58.0))
    assert (found.grade_class, found.route, found.status) == ("M", "remanufacture", "repurposed")
    assert found.weak_cells == (5,)
    assert found.binding.id == "spread"
    assert found.reason.startswith(
        "Remanufacture: cell 5 holds the pack down (cell capacity spread"
    )
    assert found.next_test == "replace cell 5, then full cycle"


def test_remanufactured_is_said_only_where_the_law_can_be_met():
    new = cells(95, 95.0, 94.8, 95, 58, 94.9, 95, 95)
    for cell in new:
        cell["soh_high_pct"] = cell["soh_low_pct"] + 1
        cell["soh_pct"] = cell["soh_low_pct"] + 0.5
    found = graded(health=WEAK | soh(58.0) | {"cells": new})
    assert (found.grade_class, found.status) == ("M", "remanufactured")


@pytest.mark.parametrize(
    ("health", "lifetime"),
    [
        ({"cells": cells(*[73.0] * 7, 50)}, {}),  # the others are too old themselves
        ({"cells": cells(88, 50, 88, 50, 50, 88, 88, 88)}, {}),  # too many
        ({"cells": [{"number": n} for n in range(1, 9)]}, {}),  # which one is not known
        ({}, {"deep_discharge_count": 6, "over_voltage_count": 6}),  # not a cell's fault
    ],
)
def test_a_pack_not_worth_new_cells_is_recycled(health, lifetime):
    found = graded(health=WEAK | soh(58.0) | health, lifetime=lifetime)
    assert (found.grade_class, found.route) == ("R", "recycle")


def test_a_weak_cell_is_named_also_where_the_class_does_not_hang_on_it():
    mild = {"cells": cells(88, 88.5, 87.5, 88, 83, 88.2, 87.9, 88.1)}
    found = graded(health=mild | spread(8.0) | soh(83.0))
    assert (found.grade_class, found.binding.id) == ("C", "spread")
    assert found.weak_cells == (5,)
    assert found.reason.endswith("; weak: cell 5.")


def test_even_ageing_has_no_weak_cell():
    assert (
        graded(health={"cells": cells(70, 70.4, 69.8, 71, 70.2, 70.1, 69.9, 68)}).weak_cells == ()
    )


def test_the_boards_weakest_cell_counts_where_cells_have_no_figures():
    bare = {"cells": [{"number": n} for n in range(1, 9)], "weak_cell_number": 3}
    assert graded(health=bare | {"weak_cell_z": 4.2}).weak_cells == (3,)
    assert graded(health=bare | {"weak_cell_z": 3.1}).weak_cells == ()
    assert graded(health=bare | {"weak_cell_z": None}).weak_cells == ()


def test_probabilities_come_from_the_interval_and_sum_to_one():
    found = graded(health=soh(78.04, 81.96))  # 80 with a standard deviation of 1
    assert found.probabilities == {"A": 0.5, "B": 0.5, "C": 0.0, "R": 0.0}
    capped = graded(health=soh(78.04, 81.96) | {"resistance_high_ohm": 0.042})
    assert capped.probabilities == {"A": 0.0, "B": 0.0, "C": 1.0, "R": 0.0}


def test_a_grade_carries_what_it_was_made_by_and_the_same_input_gives_the_same_grade():
    found = graded().to_message()
    assert found["profile"] == "packgrade-2026"
    assert found["profile_version"] == 1
    assert found["profile_sha256"] == FIELD.sha256
    assert (found["cell_profile"], found["cell_profile_crc"]) == ("nmc", 0x1A2B3C4D)
    assert found["firmware"] == "0.1.0"
    assert (found["evidence_boot"], found["evidence_seq"]) == (3, 90000)
    assert graded().to_report() == graded().to_report()


def test_a_grade_never_calls_itself_a_standards():
    for changes in ({}, {"health": soh(50)}, {"checks": {}}):
        report = str(graded(**changes).to_message())
        assert "UL 1974" not in report


# --- properties -------------------------------------------------------------------------------

HIGHER_IS_BETTER = {
    "soh_low_pct", "soh_evidence_count", "round_trip_efficiency_pct", "cell_voltage_min_v",
    "observed_days", "clock_set",
}  # fmt: skip

NEAR_LIMITS = {
    "soh_low_pct": st.floats(50, 100),
    "soh_half_width_pct": st.floats(0, 7),
    "soh_age_h": st.floats(0, 1000),
    "soh_evidence_count": st.integers(0, 9),
    "resistance_ratio": st.floats(0.8, 3),
    "capacity_spread_pct": st.floats(0, 14),
    "spread_half_width_pct": st.floats(0, 7),
    "rest_voltage_spread_mv": st.floats(0, 100),
    "self_discharge_pct_per_month": st.floats(0, 6),
    "self_discharge_low_pct_per_month": st.floats(-1, 6),
    "self_discharge_half_width_pct_per_month": st.floats(0, 4),
    "round_trip_efficiency_pct": st.floats(80, 100),
    "hot_share_pct": st.floats(0, 20),
    "deep_discharge_count": st.integers(0, 12),
    "critical_event_count": st.integers(0, 14),
    "cell_voltage_min_v": st.floats(1, 3.5),
    "cell_voltage_max_v": st.floats(3.5, 4.5),
    "temperature_max_c": st.floats(20, 100),
    "cold_charge_min": st.integers(0, 90),
    "observed_days": st.floats(0, 100),
    "clock_set": st.sampled_from([0.0, 1.0]),
}
GOOD = evidence()


def with_values(changes):
    return dataclasses.replace(GOOD, values=dict(GOOD.values) | changes)


def test_the_properties_cover_every_quantity():
    assert set(NEAR_LIMITS) == set(QUANTITIES)


some_values = st.dictionaries(st.sampled_from(sorted(QUANTITIES)), st.none(), max_size=4).flatmap(
    lambda keys: st.fixed_dictionaries({key: NEAR_LIMITS[key] for key in keys})
)
either_profile = st.sampled_from([FIELD, BENCH])


@settings(max_examples=300)
@given(
    profile=either_profile,
    base=some_values,
    name=st.sampled_from(sorted(QUANTITIES)),
    data=st.data(),
)
def test_worse_evidence_never_gives_a_better_class(profile, base, name, data):
    pair = sorted([data.draw(NEAR_LIMITS[name]), data.draw(NEAR_LIMITS[name])])
    better, worse = reversed(pair) if name in HIGHER_IS_BETTER else pair
    first = grade(with_values(base | {name: better}), profile)
    second = grade(with_values(base | {name: worse}), profile)
    if second.route == "hold":
        return  # refused: no class at all
    if first.route == "hold":
        # what was held for one reason can only become unsafe, never fit
        assert second.grade_class == "R"
        return
    assert RANK[second.grade_class] >= RANK[first.grade_class]


@settings(max_examples=300)
@given(profile=either_profile, base=some_values, name=st.sampled_from(sorted(QUANTITIES)))
def test_what_is_unknown_never_passes(profile, base, name):
    found = grade(with_values(base | {name: None}), profile)
    rules = [r for r in found.results if r.value is None and r.kind != "check" and r.label ==
             QUANTITIES[name].label]  # fmt: skip
    assert all(rule.verdict == "unknown" for rule in rules)
    if found.grade_class in ("A", "B", "C", "M"):
        # it got a class only where the profile says so for every rule, and then it is told
        assert all(rule.otherwise == "list" for rule in rules)
        assert all(f"not checked: {rule.label}" in found.limitations for rule in rules)


@given(profile=either_profile, names=st.sets(st.sampled_from(sorted(QUANTITIES)), min_size=1))
def test_taking_evidence_away_never_raises_a_healthy_pack(profile, names):
    found = grade(with_values(dict.fromkeys(names)), profile)
    assert found.grade_class in ("A", None)
    if "soh_low_pct" in names:
        assert found.grade_class is None


@settings(max_examples=200)
@given(profile=either_profile, values=some_values)
def test_every_grade_has_a_reason_in_one_line_and_a_route(profile, values):
    found = grade(with_values(values), profile)
    assert "\n" not in found.reason
    assert found.reason.endswith(".")
    assert found.binding is not None
    assert (found.route == "hold") == (found.grade_class is None)
    if found.probabilities:
        assert sum(found.probabilities.values()) == pytest.approx(1, abs=0.002)
        assert all(0 <= chance <= 1 for chance in found.probabilities.values())
