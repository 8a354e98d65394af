"""Which permanent failures are on, and how far beyond everything else their thresholds stand."""

import pytest
from bq76952_plans import pack, plan, raw
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from firmware.settings import Settings


def test_only_failures_that_no_open_wire_looks_like_are_on_but_for_an_overcharged_cell() -> None:
    made = plan()
    assert [raw(made, 0x92C0 + i) for i in range(4)] == [0x5E, 0x03, 0x7F, 0x00]


@given(
    profile=st.sampled_from(["nmc", "lfp", "nca", "lmo"]),
    rated_mah=st.integers(100, 1000000),
    shunt_uohm=st.integers(50, 10000),
)
@hypothesis_settings(max_examples=150)
def test_permanent_failures_stand_clearly_beyond_the_first_line(
    profile: str, rated_mah: int, shunt_uohm: int
) -> None:
    settings = Settings("P1", 16, profile, rated_mah)
    settings.shunt_uohm = shunt_uohm
    applied = plan(settings).applied
    assert applied["sov_mv"] >= applied["cov_mv"] + 250
    assert applied["suv_mv"] <= settings.profile.cell_deep_mv - 300
    assert applied["cudep_mv"] < applied["suv_mv"]
    unit = applied["user_ma"]
    assert applied["socc_ma"] >= 2 * settings.occ_ma - unit
    assert applied["socd_ma"] >= 2 * settings.ocd_ma - unit
    most_ma = 0x7FFF * unit
    assert applied["socc_ma"] > applied["occ_ma"] or applied["socc_ma"] >= most_ma
    assert applied["socd_ma"] > applied["ocd1_ma"] or applied["socd_ma"] >= most_ma
    assert applied["sot_dc"] >= applied["otd_dc"] + 150
    assert applied["sotf_dc"] >= applied["otf_dc"] + 150


@pytest.mark.parametrize(
    ("changes", "address", "code", "name", "applied"),
    [
        ({}, 0x92CE, 4551, "sov_mv", 4551),
        ({}, 0x92CB, 1200, "suv_mv", 1200),
        ({}, 0x92C8, 900, "cudep_mv", 900),
        ({}, 0x92D4, 12500, "socc_ma", 125000),
        ({"occ_ma": 100}, 0x92D4, 1200, "socc_ma", 12000),  # beyond what OCC can hold
        ({"occ_ma": 163835}, 0x92D4, 32767, "socc_ma", 327670),  # its highest
        ({"ocd_ma": 163835}, 0x92D7, -32768, "socd_ma", 327680),
        ({"otf_dc": 900}, 0x92DC, 110, "sotf_dc", 1100),
        ({"otf_dc": 1700}, 0x92DC, 150, "sotf_dc", 1500),
        ({}, 0x92DA, 80, "sot_dc", 800),
        ({}, 0x92EE, 1000, "cfetf_ma", 1000),
        ({"occ_ma": 100}, 0x92EE, 500, "cfetf_ma", 500),
        ({"occ_ma": 300000}, 0x92EE, 5000, "cfetf_ma", 5000),
        ({"occ_ma": 300000}, 0x92F1, -5000, "dfetf_ma", 5000),
        ({}, 0x92E2, 1000, "vimr_mv", 1000),
    ],
)
def test_thresholds_of_permanent_failures(
    changes: dict[str, int], address: int, code: int, name: str, applied: int
) -> None:
    made = plan(pack(**changes))
    assert raw(made, address) == code
    assert made.applied[name] == applied


def test_permanent_failures_take_their_time() -> None:
    made = plan()
    delays_s = [raw(made, a) for a in (0x92D0, 0x92D6, 0x92D9, 0x92DB, 0x92DD, 0x92F0, 0x92F3)]
    assert delays_s == [10, 5, 5, 10, 10, 5, 5]
