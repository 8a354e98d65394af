"""Evidence is what the gateway published: nothing filled in, nothing foreign let through."""

import copy
from contextlib import suppress

import pytest
from grading_packs import DETAIL, STATE, evidence, messages
from hypothesis import given
from hypothesis import strategies as st

from gateway.grading.evidence import QUANTITIES, Evidence, EvidenceError


def test_the_gateways_messages_carry_every_quantity():
    found = evidence()
    assert found.serial == "P-0001"
    assert (found.boot, found.seq) == (3, 90000)
    assert found.chemistry == "nmc"
    assert found.faults == frozenset()
    assert len(found.cells) == 8
    assert found.values == {
        "soh_low_pct": 89.5,
        "soh_half_width_pct": 1.5,
        "soh_age_h": 2.0,
        "soh_evidence_count": 6,
        "resistance_ratio": 1.1,
        "capacity_spread_pct": 1.8,
        "spread_half_width_pct": 0.6,
        "rest_voltage_spread_mv": 6.0,
        "self_discharge_pct_per_month": 1.1,
        "self_discharge_low_pct_per_month": 0.4,
        "self_discharge_half_width_pct_per_month": 0.35,
        "round_trip_efficiency_pct": 96.5,
        "hot_share_pct": 0.0,
        "deep_discharge_count": 0,
        "critical_event_count": 0,
        "cell_voltage_min_v": 2.95,
        "cell_voltage_max_v": 4.201,
        "temperature_max_c": 41.2,
        "cold_charge_min": 0,
        "observed_days": 60.0,
        "clock_set": 1.0,
    }
    assert set(found.values) == set(QUANTITIES)


def test_the_bound_that_counts_against_the_pack_is_taken():
    found = evidence(
        health={"resistance_ohm": 0.02, "resistance_high_ohm": 0.03, "capacity_spread_pct": 1.0}
    )
    assert found.values["resistance_ratio"] == 1.5
    assert found.values["capacity_spread_pct"] == 1.8


def test_a_figure_without_its_interval_is_no_figure():
    found = evidence(health={"soh_low_pct": None})
    assert found.soh_pct is None
    assert found.values["soh_low_pct"] is None
    assert evidence(health={"resistance_high_ohm": None}).values["resistance_ratio"] is None


MEAN = {"self_discharge_low_pct_per_month": 0.5, "self_discharge_high_pct_per_month": 1.5}
NO_MEAN = dict.fromkeys(MEAN)


def leaks(*intervals):
    return {
        "cells": [
            {"number": n, "leak_low_pct_per_month": low, "leak_high_pct_per_month": high}
            for n, (low, high) in enumerate(intervals, 1)
        ]
    }


@pytest.mark.parametrize(
    ("energy", "low", "high"),
    [
        (MEAN | leaks((-1, 0), (3, 4)), 3.5, 5.5),
        (MEAN | leaks((-1, 0), (-2, 0.5)), 0.5, 2.0),  # the worst is no better than the mean
        (MEAN | leaks((3, 4), (None, None)), 3.5, None),  # the other could be worse still
        (NO_MEAN | leaks((3, 4), (-1, 0)), 3.0, None),  # a soft short, whatever the mean
        (MEAN | leaks(), 0.5, None),
        (NO_MEAN | leaks((None, None)), None, None),
        (NO_MEAN | leaks(), None, None),
    ],
)
def test_self_discharge_is_that_of_the_worst_cell_as_far_as_it_is_known(energy, low, high):
    values = evidence(energy=energy).values
    assert values["self_discharge_low_pct_per_month"] == low
    assert values["self_discharge_pct_per_month"] == high
    half_width = None if high is None else (high - low) / 2
    assert values["self_discharge_half_width_pct_per_month"] == half_width


def test_hot_time_is_a_share_of_the_time_observed():
    bins = [0, 0, 0, 900, 0, 0, 60, 40]
    found = evidence(lifetime={"temperature_histogram_min": bins})
    assert found.values["hot_share_pct"] == 10.0
    for unknown in (None, [], [0] * 8, [None, *bins[1:]]):
        found = evidence(lifetime={"temperature_histogram_min": unknown})
        assert found.values["hot_share_pct"] is None


def test_active_and_latched_faults_count_alike_and_unknown_ones_stay_unknown():
    found = evidence(state={"faults": ["stack_mismatch"], "latched": ["short_circuit"]})
    assert found.faults == {"stack_mismatch", "short_circuit"}
    assert evidence(state={"latched": None}).faults is None


NUMBERS = [
    key
    for key, value in DETAIL["health"].items()
    if isinstance(value, int | float) and key not in ("weak_cell_number", "weak_cell_z")
]


@given(st.sets(st.sampled_from(NUMBERS + [f"lifetime.{k}" for k in DETAIL["lifetime"]])))
def test_what_is_unknown_in_a_message_is_unknown_in_evidence_and_nothing_else_changes(keys):
    state, detail = messages()
    for key in keys:
        part, _, name = key.rpartition(".")
        detail[part or "health"][name] = None
    found = Evidence.from_messages(state, detail).values
    full = evidence().values
    assert all(found[name] in (None, full[name]) for name in QUANTITIES)
    if "soh_low_pct" in keys:
        assert found["soh_low_pct"] is None


def changed(part, key, value):
    both = {"state": copy.deepcopy(STATE), "detail": copy.deepcopy(DETAIL)}
    (both[part] if part in both else both["detail"][part])[key] = value
    return both["state"], both["detail"]


@pytest.mark.parametrize(
    ("part", "key", "value", "told"),
    [
        ("state", "serial", None, "state: serial is None; a pack without one is not graded"),
        ("detail", "serial", "P-2", "detail: serial is 'P-2', but state is of 'P-0001'"),
        ("detail", "health", None, "detail: health is None, not an object"),
        ("detail", "lifetime", 3, "detail: lifetime is 3, not an object"),
        ("detail", "energy", None, "detail: energy is None, not an object"),
        ("energy", "cells", 1, "energy: cells is 1, not a list"),
        ("health", "soh_pct", "91", "soh_pct is '91', not a number"),
        ("health", "soh_pct", True, "soh_pct is True, not a number"),
        ("health", "soh_pct", float("nan"), "soh_pct is nan, not a number"),
        ("health", "soh_low_pct", 95.0, "health: soh_pct 91.0 is not within 95.0 .. 92.5"),
        ("health", "chemistry", 1, "chemistry is 1, not a name"),
        ("health", "cells", {"1": 2}, "health: cells is {'1': 2}, not a list"),
        ("health", "cells", [{"number": 2}], "health: cells: entry 1 is not cell 1"),
        ("state", "faults", "none", "state: faults is 'none', not a list of names"),
    ],
)
def test_a_message_that_cannot_be_evidence_is_refused_with_key_and_value(part, key, value, told):
    with pytest.raises(EvidenceError) as caught:
        Evidence.from_messages(*changed(part, key, value))
    assert str(caught.value) == told


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


PARTS = {"state": STATE, "detail": DETAIL} | {
    key: part for key, part in DETAIL.items() if isinstance(part, dict)
}


@given(part=st.sampled_from(sorted(PARTS)), data=st.data(), value=JSON)
def test_no_message_breaks_it(part, data, value):
    known = PARTS[part]
    key = data.draw(st.sampled_from(sorted(known)))
    with suppress(EvidenceError):
        found = Evidence.from_messages(*changed(part, key, value))
        assert set(found.values) == set(QUANTITIES)
