"""The cells' differences and leaks against cells whose truth is known, and what is published."""

import math
import sys
from pathlib import Path

import pytest
from charge_rig import LEAKY, Pack
from core_fakes import healthy, set_cells
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interpreters import lines

from common import models
from common.codes import Refusal
from common.registers import RegisterMap
from firmware.estimators.differences import Differences
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings

MOST_STATE_BYTES = 160


def days(pack, n, routine):
    """Run ``routine`` daily; ``(figures that were wrong, figures, day the leaky cell was known)``.

    The leaky cell is known when its leak alone excludes 0.
    """
    wrong = []
    figures = 0
    known = None
    for day in range(1, n + 1):
        routine(pack)
        wrong += [(day, *what) for what in pack.wrong()]
        differences = pack.estimators.differences
        leaks = [differences.leak_interval(i) for i in range(pack.n)]
        figures += pack.n + sum(leak is not None for leak in leaks)
        others = [leak for i, leak in enumerate(leaks) if i != LEAKY and leak is not None]
        assert all(leak[1] <= 0 for leak in others), (day, leaks)
        if known is None and leaks[LEAKY] is not None and leaks[LEAKY][1] > 0:
            known = day
    return wrong, figures, known


def full_cycle(pack):
    pack.charge()
    pack.rest(6)
    pack.discharge()
    pack.rest(10)


def part_cycle(pack):
    pack.charge()
    pack.rest(5)
    pack.discharge(hours=1.5)
    pack.rest(13)


# --- against the truth ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "routine", "within"),
    [("nmc", full_cycle, 12), ("nmc", part_cycle, 20), ("lfp", full_cycle, 12)],
)
def test_over_a_month_of_cycles_a_leaky_cell_is_found_and_the_truth_lies_inside(
    kind, routine, within
):
    pack = Pack(kind, seed=4)
    wrong, figures, known = days(pack, 30, routine)
    assert known is not None
    assert known <= within
    assert len(wrong) <= 0.05 * figures, wrong
    d, lo, hi = pack.estimators.differences.interval(LEAKY)
    assert lo <= pack.differences_bp()[LEAKY] <= hi
    assert d < 0


@pytest.mark.slow
def test_a_month_on_the_lfp_plateau_tells_nothing_rather_than_something_wrong():
    pack = Pack("lfp", dt_s=120.0, soc=0.55)
    pack.rest(24 * 30)
    assert not pack.wrong()
    energy = pack.energy()
    for cell in energy["cells"]:
        assert cell["Leak"] is None
        assert cell["DifHi"] - cell["DifLo"] > 10
    assert energy["SelfDis"] is None
    assert energy["SelfRef"] == Refusal.FLAT_REGION


def test_in_a_rest_the_leaky_cell_shows_within_days():
    pack = Pack("nmc", dt_s=120.0)
    pack.rest(24 * 4)
    assert not pack.wrong()
    energy = pack.energy()
    assert energy["cells"][LEAKY]["LeakLo"] > 0
    assert energy["cells"][LEAKY]["Leak"] > 3 * max(
        cell["Leak"] for i, cell in enumerate(energy["cells"]) if i != LEAKY
    )


def test_the_soc_of_each_cell_is_of_its_own_capacity():
    pack = Pack("nmc", soc=0.4)
    pack.charge()
    pack.rest(2)
    pack.discharge()
    pack.rest(2)
    pack.charge(0.5)
    for hours in (0, 0.7, 0.7):
        pack.discharge(0.4, hours)
        for i, cell in enumerate(pack.energy()["cells"]):
            assert cell["SocLo"] <= min(100 * pack.cells.soc[i], 100) <= cell["SocHi"]
            assert cell["SocHi"] - cell["SocLo"] < 12
            assert cell["SocLo"] <= cell["Soc"] <= cell["SocHi"]


def test_bleeding_is_counted_and_taken_off_the_cell_that_is_bled():
    pack = Pack("nmc", leaky=1.0, dt_s=20.0, soc=0.9)
    pack.rest(2)
    differences = pack.estimators.differences
    before, truth = differences.d[1], pack.differences_bp()[1]
    pack.bled = 0b000010
    pack.rest(6)
    moved = truth - pack.differences_bp()[1]
    assert moved > 30
    leaked = differences.leak[1] / 4  # in six hours
    assert before - differences.d[1] - leaked == pytest.approx(moved, rel=0.05)
    pack.bled = 0
    pack.rest(1)
    assert pack.energy()["cells"][1]["Bled"] == pytest.approx(0.25, rel=0.1)
    assert pack.energy()["cells"][0]["Bled"] == 0.0
    assert not pack.wrong()


def test_a_bleeder_twice_as_strong_as_thought_is_found_out_by_the_next_rest():
    pack = Pack("nmc", leaky=1.0, soc=0.9)
    pack.rest(3)
    pack.cells.soc[2] -= 0.05  # nobody counted that
    pack.step(5.0)
    pack.rest(3)
    assert not [what for what in pack.wrong() if what[0] == "difference"]


# --- the filter itself ----------------------------------------------------------------------


def fresh(n=4, kind="nmc"):
    estimators = Estimators(Settings("T", n, kind, 50000))
    return estimators, estimators.differences


def look(estimators, cells_mv, now_s):
    snapshot = healthy(len(cells_mv))
    set_cells(snapshot, cells_mv)
    estimators.differences.rest(snapshot, 0.0, estimators.resistance, now_s)


@given(st.lists(st.integers(3000, 4250), min_size=3, max_size=16), st.integers(1, 40))
@hypothesis_settings(max_examples=60)
def test_whatever_the_cells_are_the_filter_stays_whole(cells_mv, looks):
    estimators, differences = fresh(len(cells_mv))
    n = len(cells_mv)
    for k in range(looks):
        turned = cells_mv[k % n :] + cells_mv[: k % n]
        look(estimators, turned, 3600 * (k + 1) * 7)
        assert sum(differences.d) == pytest.approx(0, abs=0.5 * n)
    for i in range(n):
        d, lo, hi = differences.interval(i)
        assert math.isfinite(d)
        assert lo < d < hi
        assert differences.ll[i] > 0
        assert 0 <= differences.bb[i] <= 1.5
        assert (
            differences.db[i] ** 2 <= 1.05 * differences.dd[i] * max(differences.bb[i], 1e-6) + 1
        )


def test_looks_of_one_rest_are_one_measurement_of_the_difference():
    estimators, differences = fresh()
    widths = []
    for k in range(12):
        look(estimators, [3700, 3700, 3700, 3710], 3600 * (k + 1))
        _d, lo, hi = differences.interval(3)
        widths.append(hi - lo)
    assert widths[-1] > 0.95 * widths[0]


def test_nothing_is_published_before_anything_was_measured():
    pack = Pack("nmc")
    pack.step()
    energy = pack.energy()
    for cell in energy["cells"]:
        for name in ("Soc", "SocLo", "SocHi", "Dif", "DifLo", "DifHi", "Leak", "LeakLo", "LeakHi"):
            assert cell[name] is None, name
        assert cell["Bled"] == 0.0
    assert energy["SelfDis"] is energy["SelfAge"] is None
    assert energy["SelfRef"] == Refusal.NO_EVIDENCE


def test_what_is_known_survives_a_restart_and_is_less_sure():
    pack = Pack("nmc", dt_s=120.0)
    pack.rest(24 * 3)
    before = pack.estimators
    after = Estimators(pack.settings)
    assert after.restore(before.state())
    known, taken = before.differences, after.differences
    assert list(taken.bled_uah) == list(known.bled_uah)
    for i in range(pack.n):
        assert taken.leak_interval(i) == pytest.approx(known.leak_interval(i), rel=1e-5)
        assert taken.interval(i)[0] == pytest.approx(known.interval(i)[0], rel=1e-5)
        assert taken.interval(i)[2] > known.interval(i)[2] + 200
    assert after.self_discharge.figure() == pytest.approx(before.self_discharge.figure())


def test_an_older_version_of_the_state_is_left_alone():
    pack = Pack("nmc")
    data = bytearray(pack.estimators.state())
    data[0] = 1
    assert not Estimators(pack.settings).restore(bytes(data))


# --- what it costs --------------------------------------------------------------------------


def test_the_state_of_a_cell_stays_small():
    """All that the estimators keep per cell, on the profile that keeps most."""

    def arrays(thing, seen):
        if id(thing) in seen:
            return 0
        seen.add(id(thing))
        if hasattr(thing, "itemsize") and hasattr(thing, "typecode"):
            return len(thing) * thing.itemsize
        if isinstance(thing, (list, tuple)):
            return sum(arrays(part, seen) for part in thing)
        if type(thing).__module__.startswith("firmware."):
            return sum(arrays(part, seen) for part in vars(thing).values())
        return 0

    for profile in ("nmc", "lco-cs2", "nca"):
        sizes = []
        for n in (4, 16):
            estimators = Estimators(Settings("T", n, profile, 50000))
            sizes.append(arrays(estimators, set()))
        each = (sizes[1] - sizes[0]) / 12
        print(profile, each)
        assert each <= MOST_STATE_BYTES, profile
    assert isinstance(estimators.differences, Differences)


def test_micropython_comes_to_the_same_differences(micropython):
    here, there = (
        " ".join(lines(interpreter, "charge_storage.py")).split()
        for interpreter in (sys.executable, micropython)
    )
    assert len(here) == len(there) > 30
    # 32-bit floats move the ends of a leak by a tenth, which is itself unsure by a third
    narrow = "32" in Path(micropython).parent.name
    for a, b in zip(here, there, strict=True):
        if a.lstrip("-").isdigit():
            near = {"abs": 6, "rel": 0.15} if narrow else {"abs": 2, "rel": 2e-3}
            assert int(a) == pytest.approx(int(b), **near)
        else:
            assert a == b


def test_without_a_look_nothing_is_measured():
    _estimators, differences = fresh()
    differences.measure(3600)
    assert not differences.known


def test_differences_are_told_though_the_charge_of_the_pack_is_unknown():
    estimators, differences = fresh()
    for k in range(4):
        look(estimators, [3700, 3700, 3700, 3710], 3600 * (k + 1))
        differences.measure(3600 * (k + 1))
    assert differences.known
    estimators.soc.soc_bp = None
    block = RegisterMap(4).block(models.ENERGY)
    differences.publish(block)
    cells = block.layout.decode(block.bytes())["cells"]
    assert [cell["Soc"] for cell in cells] == [None] * 4
    assert cells[3]["Dif"] is not None
