"""A pack of 72 cells is one pack: the application, its estimates, what it saves and serves.

The chip here only gives what it is told; chips with so many cells have tests of their own.
"""

import gc
import sys
from pathlib import Path

import pytest
from app_rig import ChipI2C
from commanded_bench import Bench as Commanded
from core_fakes import FakeAfe, Uart, set_cells
from estimator_cells import Bench, Cell, Feeder, aged, ocv_nmc
from hypothesis import given
from hypothesis import strategies as st
from interpreters import lines

from common import models
from common.codes import Fault, Method, State, Test
from common.registers import Layout
from firmware.afe.bq76952 import Bq76952
from firmware.app import App
from firmware.boards.desk import DeskBoard
from firmware.estimators.estimators import Estimators
from firmware.estimators.soh import least_z
from firmware.quicktest import REST_S
from firmware.settings import ANSWER_BYTES, BAUDRATES, RANGES, Settings, SettingsError
from firmware.storage import MAX_BYTES, Storage
from sim.bq76952 import Bq76952 as Chip

N = 72
RATED_MAH = 100000
CELLS_MV = [3700 + cell % 7 for cell in range(N)]
TOP_HIGH_MV = [4150 if cell in (0, 33, 71) else 4090 for cell in range(N)]


class Rig:
    """The application on a board whose chip measures 72 cells."""

    def __init__(self, root: Path) -> None:
        self.board = DeskBoard(ChipI2C(Chip(16, shunt_uohm=500, seed=1)), Uart(), str(root))
        self.settings = Settings("LONG", N, "nmc", RATED_MAH)
        self.afe = FakeAfe(N)
        self.cells(CELLS_MV)
        # The firmware collects garbage every cycle: its own, not that of the whole test run.
        gc.collect()
        gc.freeze()
        self.boot()

    def cells(self, cells_mv: list[int]) -> None:
        set_cells(self.afe.next, cells_mv)

    def boot(self) -> None:
        self.app = App(self.board, self.settings, self.afe)

    def run(self, seconds: int) -> None:
        end_ms = self.board.now_ms + 1000 * seconds
        while self.board.now_ms < end_ms:
            self.app.step()

    def decode(self, model_id: int) -> dict:
        block = self.app.image.map.block(model_id)
        return block.layout.decode(block.bytes())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


# --- settings -------------------------------------------------------------------------------


@given(st.integers(3, N), st.sampled_from(["nmc", "lfp", "nca"]))
def test_every_pack_of_3_to_72_cells_has_settings_that_hold(n_cells: int, profile: str) -> None:
    settings = Settings("P", n_cells, profile, RATED_MAH)
    settings.check()
    low, high = settings.bounds("stack_tolerance_mv")
    assert low < settings.stack_tolerance_mv == high
    # a missing or doubled cell must not hide in it
    assert settings.stack_tolerance_mv < settings.cuv_mv
    for name, _low, _high in RANGES:
        low, high = settings.bounds(name)
        assert low <= getattr(settings, name) <= high, name


def test_more_than_72_cells_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"n_cells 73 is out of range \(3 to 72\)"):
        Settings("P", 73, "nmc", RATED_MAH).check()


@pytest.mark.parametrize("baudrate", BAUDRATES)
def test_the_longest_block_stands_still_for_twice_as_long_as_reading_it_takes(
    baudrate: int,
) -> None:
    settings = Settings("P", N, "nmc", RATED_MAH)
    settings.baudrate = baudrate
    settings.detail_every = settings.bounds("detail_every")[0]
    # the shortest period that is allowed with this baudrate
    settings.period_ms = max(100, 2 * (ANSWER_BYTES * 11000 // baudrate))
    settings.check()
    words = max(Layout(model[0], N).words for model in models.MODELS)
    answers = -(-words // 125)
    wire_ms = (2 * words + answers * (5 + 8)) * 11000 / baudrate  # with the requests
    quiet_ms = answers * (2 * 3.5 * 11000 / baudrate + 20)  # and the silence around each
    assert 2 * (wire_ms + quiet_ms) < settings.detail_every * settings.period_ms


# --- the application -------------------------------------------------------------------------


def test_the_board_measures_closes_its_switches_and_serves_all_cells(rig: Rig) -> None:
    rig.run(30)
    snapshot = rig.decode(models.SNAPSHOT)
    assert (snapshot["St"], snapshot["Sw"], snapshot["Flt"]) == (State.ON, 3, 0)
    assert [round(1000 * cell["V"]) for cell in snapshot["cells"]] == CELLS_MV
    assert snapshot["V"] == sum(CELLS_MV) / 1000
    assert rig.app.recall(20)
    recalled = rig.decode(models.RECALL)
    assert (recalled["Seq"], recalled["cells"]) == (20, snapshot["cells"])


def test_high_cells_are_bled_wherever_they_stand_and_their_charge_is_counted(rig: Rig) -> None:
    rig.cells(TOP_HIGH_MV)
    rig.run(10)
    snapshot = rig.decode(models.SNAPSHOT)
    assert (snapshot["Bal"], snapshot["Bal2"], snapshot["Bal3"]) == (1, 1 << 1, 1 << 7)
    rig.run(120)
    bled = rig.app.estimators.differences.bled_uah
    assert [cell for cell in range(N) if bled[cell]] == [0, 33, 71]
    assert bled[0] == bled[33] == bled[71]
    energy = rig.decode(models.ENERGY)
    assert [i for i, cell in enumerate(energy["cells"]) if cell["Bled"]] == [0, 33, 71]


def test_what_is_known_of_every_cell_survives_a_restart(rig: Rig) -> None:
    rig.run(5)
    found = [(8000 + 10 * cell, 7800 + 10 * cell, 8200 + 10 * cell) for cell in range(N)]
    rig.app.estimators.pulses(found, 0)
    rig.run(310)
    before = rig.decode(models.HEALTH)
    assert before["Mth"] == Method.PULSE_TEST
    assert before["Weak"] == 1
    rig.boot()
    rig.run(15)
    after = rig.decode(models.HEALTH)
    assert after["Boot"] == before["Boot"] + 1
    for cell, (was, now) in enumerate(zip(before["cells"], after["cells"], strict=True)):
        assert now["Soh"] == was["Soh"] == 80 + cell / 10
    assert (after["Soh"], after["Weak"]) == (before["Soh"], 1)


def test_a_chip_with_fewer_inputs_keeps_the_switches_open_and_says_why(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.app = App(rig.board, rig.settings, Bq76952(rig.board, N))
    rig.run(20)
    assert rig.app.protection.allowed == 0
    assert rig.decode(models.SNAPSHOT)["Flt"] & 1 << Fault.CONFIGURATION
    assert capsys.readouterr().out == (
        "BQ76952: n_cells 72: it measures 3 to 16 (correct it, or take an LTC6813)\n"
    )


# --- estimates -------------------------------------------------------------------------------


def test_a_charge_and_discharge_tell_the_health_of_every_cell_and_are_kept(tmp_path: Path) -> None:
    capacities = [46.0 - 0.05 * cell for cell in range(N)]
    capacities[60] = 36.0
    cells = [Cell(aged(ocv_nmc, 0.008), ah, 0.3, 0.0017) for ah in capacities]
    feeder = Feeder(N, "nmc", 50000, offset_ma=5.0)
    bench = Bench(cells, feeder, 4.2, 2.8, 50.0)
    bench.rest(130)
    bench.charge(0.7, 0.05)
    bench.rest(500)
    bench.discharge(0.7)
    bench.rest(1000)
    e = feeder.estimators
    for cell, ah in enumerate(capacities):
        _soh, lo, hi = e.soh.interval(cell, e.now_s)
        assert lo <= 200 * ah <= hi
    assert e.soh.weakest() == 60
    assert e.soh_bp == pytest.approx(7200, abs=200)
    assert e.soh_lo_bp <= 7200 <= e.soh_hi_bp
    state = e.state()
    assert len(state) < MAX_BYTES
    storage = Storage(str(tmp_path))
    storage.save("estimates", state)
    storage.save("lifetime", e.counters())
    again = Estimators(feeder.settings)
    load = Storage(str(tmp_path)).load
    assert again.restore(load("estimates"), load("lifetime"))
    for name in ("soh_bp", "soh_lo_bp", "soh_hi_bp", "soc_bp", "fec_centi"):
        assert getattr(again, name) == pytest.approx(getattr(e, name), abs=1), name
    assert list(again.soh.soh) == list(e.soh.soh)


def test_the_least_of_so_many_cells_has_an_upper_end_no_lower_than_the_normal_one() -> None:
    for n, quantile in ((3, 2.394), (16, 2.955), (36, 3.197), (72, 3.393)):  # of 1 - 0.025 / n
        assert quantile - 0.03 < least_z(n) < quantile + 0.11


def test_a_quick_test_of_72_cells_is_judged_saved_and_taken_up() -> None:
    bench = Commanded((0.8,) * (N - 1) + (0.7,), profile="lfp-35ah")
    bench.start(Test.QUICK)
    bench.cycle(REST_S + 1200 + N)
    block = bench.read()
    assert block["ResTst"] == Test.QUICK
    assert [cell["R"] for cell in block["cells"]] == pytest.approx([0.008] * N, rel=0.05)
    state = bench.tests.state()
    assert len(state) < MAX_BYTES
    again = Commanded((0.8,) * N, profile="lfp-35ah")
    again.tests.restore(state)
    assert again.read()["cells"] == block["cells"]


def test_a_saved_test_of_another_register_map_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Commanded()
    bench.start(Test.QUICK)
    bench.cycle(REST_S + 1200)
    assert bench.read()["ResTst"] == Test.QUICK
    with monkeypatch.context() as patch:
        patch.setattr(models, "MAP_VERSION", 1)
        state = bench.tests.state()
    again = Commanded()
    before = again.read()
    again.tests.restore(state)
    assert again.read() == before
    again.tests.restore(bench.tests.state())
    assert again.read()["ResTst"] == Test.QUICK


@given(st.sets(st.integers(0, N - 1), min_size=1, max_size=8), st.integers(1, 19))
def test_exactly_the_bled_cells_lose_charge(bled: set[int], seconds: int) -> None:
    feeder = Feeder(N, "nmc", RATED_MAH)
    differences = feeder.estimators.differences
    s = feeder.snapshot
    s.dt_ms = 1000
    set_cells(s, [4000] * N)
    s.balancing = sum(1 << cell for cell in bled)
    for _ in range(seconds):
        differences.update(s, 0)
    s.balancing = 0
    differences.update(s, 0)
    uah = (4000 * 256 * 10 * seconds + 180000) // 360000
    assert list(differences.bled_uah) == [uah * (cell in bled) for cell in range(N)]


# --- 32 bits ---------------------------------------------------------------------------------


def test_micropython_bleeds_and_counts_the_same(micropython: str) -> None:
    printed = lines(micropython, "bled_cells.py")
    assert printed == lines(sys.executable, "bled_cells.py")
    assert printed[0] == f"{1 << 71 | 1 << 63 | 1 << 32:#x} 32 63 71", "31 is a neighbour of 32"
