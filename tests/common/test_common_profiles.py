"""Cell profiles are sound: tables rise, limits stand in order, none is looser than it may be."""

import importlib
import re
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import cells
from common.codes import Chemistry
from common.ecm import Ecm
from common.profiles import (
    LIMITS,
    NAMES,
    CellProfile,
    hard_limits,
    limits_of,
    module_name,
    profile,
    profile_crc,
)
from firmware.tools.profile_file import table_crc

every_profile = pytest.mark.parametrize("cell", [profile(name) for name in NAMES], ids=NAMES)
RISING = tuple(range(3000, 4040, 40))
OWN = """
from common.profiles import CellProfile

PROFILE = CellProfile("my-cell", 1, tuple(range(3000, 4040, 40)), 20, (0, 0), 60000%s)
"""


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


@every_profile
def test_no_limit_is_looser_than_the_chemistry_allows(cell):
    hard = hard_limits(cell.chemistry)
    for (_name, tighter), own, most in zip(LIMITS, limits_of(cell), hard, strict=True):
        assert (own - most) * tighter >= 0


@every_profile
def test_what_was_fitted_bears_the_crc_of_its_numbers(cell):
    assert (cell.windows is None) == (cell.windows_crc == 0)
    if cell.windows is not None:
        assert cell.windows_crc == table_crc(cell.windows)
    assert (cell.pulse is None) == (cell.pulse_crc == 0)
    if cell.pulse is not None:
        assert cell.pulse_crc == table_crc(importlib.import_module(cell.pulse).MODEL_SLOW)


def test_a_profile_is_found_by_its_name():
    assert profile("lfp").chemistry == Chemistry.LFP
    assert profile("lco-cs2").windows is not None
    assert [profile(name).name for name in NAMES] == list(NAMES)


def test_every_chemistry_has_a_profile():
    assert {profile(name).chemistry for name in NAMES} == {
        Chemistry.NMC, Chemistry.LFP, Chemistry.LCO, Chemistry.NCA, Chemistry.LMO,
    }  # fmt: skip


def test_all_profiles_say_different_crcs():
    assert len({profile_crc(profile(name)) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", ["NCM", "nowhere", "../x", "", "_own"])
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    known = re.escape(f"(known: {', '.join(NAMES)}")
    with pytest.raises(ValueError, match=known):
        profile(name)


def made(**changes):
    given = {
        "name": "x",
        "chemistry": Chemistry.NMC,
        "ocv_mv": RISING,
        "ocv_sigma_mv": 20,
        "flat_bp": (0, 0),
        "r_ref_uohm_ah": 60000,
    }
    return CellProfile(**{**given, **changes})


def circuit(**changes):
    given = dict.fromkeys(("soc_bp", "ocv_dmv", "half_dmv", "thermal_uv_k", "r_soc_bp"), (0, 1))
    given |= dict.fromkeys(("r_dc", "r0", "r1", "r2"), (2, 3))
    given |= dict.fromkeys(
        ("tau1_ms", "tau2_ms", "hysteresis_bp", "bias_mv", "bias_bp", "bias_span_bp", "fast_mv",
         "fast_pm", "fast_s", "r_pm", "r_s", "capacity_pm"), 5,
    )  # fmt: skip
    return Ecm(**{**given, **changes})


@given(st.integers(0, len(RISING) - 1), st.integers(-39, 39).filter(bool))
def test_the_crc_changes_with_every_point_of_the_table(k, by_mv):
    other = list(RISING)
    other[k] += by_mv
    assert profile_crc(made(ocv_mv=tuple(other))) != profile_crc(made())


@pytest.mark.parametrize(
    "changes",
    [
        {"chemistry": Chemistry.LCO},
        {"ocv_sigma_mv": 21},
        {"flat_bp": (100, 0)},
        {"flat_bp": (0, 100)},
        {"r_ref_uohm_ah": 60001},
        {"windows": ((),), "windows_crc": 1},
        {"pulse": "cells.pulse_x", "pulse_crc": 1},
        {"circuit": circuit()},
        *({"limits": ((name, value),)} for name, value in (
            ("cell_max_mv", 4249), ("cell_full_mv", 4199), ("cell_empty_mv", 2801),
            ("cell_min_mv", 2501), ("cell_deep_mv", 1501), ("charge_min_dc", 1),
            ("charge_max_dc", 449), ("discharge_min_dc", -199), ("discharge_max_dc", 599),
            ("charge_c10", 9), ("discharge_c10", 19),
        )),
    ],
    ids=lambda changes: "circuit" if "circuit" in changes else str(changes),
)  # fmt: skip
def test_the_crc_changes_with_every_other_number(changes):
    assert profile_crc(made(**changes)) != profile_crc(made())


def test_the_crc_changes_with_every_number_of_the_circuit():
    before = profile_crc(made(circuit=circuit()))
    for name, value in vars(circuit()).items():
        other = value + 1 if isinstance(value, int) else (value[0], value[1] + 1)
        assert profile_crc(made(circuit=circuit(**{name: other}))) != before, name


def test_the_name_and_what_is_not_of_the_cell_are_not_in_the_crc():
    assert profile_crc(made(name="y")) == profile_crc(made())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limits": (("cell_max_mv", 4251),)}, "cell_max_mv 4251 is looser than 4250"),
        ({"limits": (("cell_empty_mv", 2799),)}, "cell_empty_mv 2799 is looser than 2800"),
        ({"limits": (("charge_c10", 11),)}, "charge_c10 11 is looser than 10"),
        ({"limits": (("charge_c10", 0),)}, "charge_c10 0 must be at least 1"),
        ({"limits": (("cell_full_mv", 2700),)}, "cell_full_mv 2700 must be above cell_empty_mv"),
        ({"limits": (("charge_min_dc", 450),)}, "charge_min_dc 450 must be below charge_max_dc"),
        ({"limits": (("cell_top_mv", 1),)}, "cell_top_mv is not a limit"),
        ({"chemistry": Chemistry.UNKNOWN}, "chemistry 0 has no limits"),
        ({"ocv_mv": RISING[:-1]}, "ocv_mv has 25 values, not 26"),
        ({"ocv_mv": (*RISING[:-1], RISING[-2])}, "ocv_mv does not rise at 3960 mV"),
    ],
)
def test_what_cannot_be_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        made(**changes)


@pytest.fixture
def board(tmp_path, monkeypatch):
    """Writes a profile into the folder ``cells`` of a board's file system."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cells").mkdir()

    def write(text, module="my_cell"):
        (tmp_path / "cells" / f"{module}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "cells"]:
        del sys.modules[name]


def test_a_board_may_bring_a_profile_of_its_own(board):
    board(OWN % "")
    found = profile("my-cell")
    assert (found.name, found.chemistry, found.cell_max_mv) == ("my-cell", Chemistry.NMC, 4250)


def test_a_profile_of_its_own_is_no_looser_than_its_chemistry(board):
    board(OWN % ', limits=(("cell_max_mv", 4300),)')
    with pytest.raises(ValueError, match="'my-cell': cell_max_mv 4300 is looser than 4250"):
        profile("my-cell")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PROFILE = 1", "is another one"),
        (OWN.replace("my-cell", "nmc") % "", "is another one"),
        ("PROFILE = missing", "missing"),
        ("PROFILE =", "invalid syntax"),
        ("", "PROFILE"),
    ],
)
def test_a_broken_profile_of_its_own_is_named(board, text, message):
    board(text)
    with pytest.raises(ValueError, match=f"'my-cell'.*{message}"):
        profile("my-cell")


def test_a_shipped_name_cannot_be_taken_by_a_board(board):
    board(OWN % "", module="nmc")
    assert profile("nmc").r_ref_uohm_ah == 75000


def test_a_profile_s_module_is_its_name():
    assert module_name("lfp-1.2ah") == "lfp_1_2ah"


def test_a_model_that_the_board_was_not_given_is_none(board):
    board(OWN % ', pulse="cells.pulse_missing"')
    assert cells.pulse("my-cell") is None
    assert cells.pulse("nmc") is None
    assert cells.circuit("nmc") is None
    assert cells.pulse("lmo-10ah")[1] == 10000
