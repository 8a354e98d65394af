"""Cell profiles are sound: tables rise, limits stand in order."""

import re
from itertools import pairwise

import pytest

from common.codes import Chemistry
from common.profiles import PROFILES, profile

every_profile = pytest.mark.parametrize("cell", PROFILES, ids=lambda p: p.name)


@every_profile
def test_the_ocv_table_rises_from_empty_to_full(cell):
    assert len(cell.soc_bp) == len(cell.ocv_mv) >= 10
    assert (cell.soc_bp[0], cell.soc_bp[-1]) == (0, 10000)
    for table in (cell.soc_bp, cell.ocv_mv):
        assert all(a < b for a, b in pairwise(table))


@every_profile
def test_voltage_limits_stand_in_order(cell):
    assert (
        cell.cell_deep_mv
        < cell.cell_min_mv
        < cell.cell_empty_mv
        < cell.cell_full_mv
        < cell.cell_max_mv
    )
    assert cell.ocv_mv[-1] <= cell.cell_full_mv
    assert cell.ocv_mv[0] >= cell.cell_deep_mv


@every_profile
def test_charging_is_allowed_in_a_narrower_range_of_temperature_than_discharging(cell):
    assert cell.discharge_min_dc <= cell.charge_min_dc < cell.charge_max_dc
    assert cell.charge_max_dc <= cell.discharge_max_dc
    assert cell.charge_min_dc >= 0  # plating


@every_profile
def test_the_flat_region_is_where_the_table_is_flat(cell):
    low, high = cell.flat_bp
    slopes = [
        (mv1 - mv0) / (bp1 - bp0) * 100  # mV per 1 % of SOC
        for bp0, bp1, mv0, mv1 in zip(
            cell.soc_bp, cell.soc_bp[1:], cell.ocv_mv, cell.ocv_mv[1:], strict=False
        )
        if low <= bp0 and bp1 <= high
    ]
    assert all(slope < 10 for slope in slopes)
    assert (cell.chemistry == Chemistry.LFP) == bool(slopes)


def test_a_profile_is_found_by_its_name():
    assert profile("lfp").chemistry == Chemistry.LFP
    assert profile("nmc").chemistry == Chemistry.NMC


def test_an_unknown_name_is_answered_with_the_known_ones():
    known = ", ".join(p.name for p in PROFILES)
    told = re.escape(f"cell profile 'NCM' is not known (known: {known})")
    with pytest.raises(ValueError, match=told):
        profile("NCM")
