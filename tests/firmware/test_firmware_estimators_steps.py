"""What takes long is spread over cycles: one step in each; evidence counts once or not at all."""

import sys
from pathlib import Path

import pytest
from estimator_cells import Bench, Cell, Feeder, ocv_nmc

from common.codes import Method
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import estimators_cycles

SETTINGS = Settings("TEST", 4, "nmc", 50000)
STEPS = (
    ("anchors", "_tell"),
    ("soh", "evidence"),
    ("differences", "rest"),
    ("differences", "end"),
    ("differences", "measure"),
)


def count_steps(estimators: Estimators) -> "list[str]":
    """Whatever step runs from now on leaves its name here."""
    ran: list[str] = []

    def watch(owner: object, name: str) -> None:
        method = getattr(owner, name)

        def watched(*args: object) -> object:
            ran.append(name)
            return method(*args)

        setattr(owner, name, watched)

    for owner, name in STEPS:
        watch(getattr(estimators, owner), name)
    watch(estimators, "_windows")
    return ran


@pytest.mark.parametrize("name", ["nca", "lco-cs2", "lfp"])
def test_a_cycle_has_one_step_of_what_takes_long(name: str) -> None:
    estimators = Estimators(Settings("P", estimators_cycles.N_CELLS, name, 100000))
    ran = count_steps(estimators)
    seen = set()
    for _what, snapshot in estimators_cycles.cycles(name):
        ran.clear()
        estimators.update(snapshot)
        assert len(ran) <= 1
        seen.update(ran)
    steps = {step for _owner, step in STEPS}
    assert seen == (steps | {"_windows"} if estimators.window else steps)


def test_the_windows_of_a_charge_are_told_of_every_cell_once() -> None:
    estimators = Estimators(Settings("P", estimators_cycles.N_CELLS, "lco-cs2", 100000))
    told: list[int] = []
    window = estimators.soh.window

    def watched(i: int, *args: object) -> None:
        told.append(i)
        window(i, *args)  # type: ignore[arg-type]

    estimators.soh.window = watched  # type: ignore[method-assign]
    for _what, snapshot in estimators_cycles.cycles("lco-cs2"):
        estimators.update(snapshot)
        if len(told) == estimators_cycles.N_CELLS:
            break
    assert told == list(range(estimators_cycles.N_CELLS))
    assert estimators.soh.count == 1
    assert estimators.soh_bp is not None
    assert estimators.soh_method == Method.CHARGE_WINDOW


@pytest.fixture
def told() -> Bench:
    """A pack charged, rested and discharged, up to the cycle whose look is not weighed yet."""
    cells = [Cell(ocv_nmc, 45.0, 0.6 + i / 1000, 1.6e-3) for i in range(4)]
    pack = Bench(cells, Feeder(4, "nmc", 50000), 4.2, 2.8, 50.0)
    pack.charge(0.5)
    pack.rest(300)
    estimators = pack.feeder.estimators
    while estimators.anchors.open.mean_bp > 3000 or not estimators._told:
        pack.run(-0.5, 1)
    return pack


def test_a_power_cut_between_look_and_evidence_costs_the_evidence(told: Bench) -> None:
    assert told.feeder.estimators.soh.count == 0
    after = Estimators(SETTINGS)
    assert after.restore(told.feeder.estimators.state())
    told.feeder.estimators = after
    told.rest(300)
    assert after.soh.count == 0
    assert after.soh_bp is None


def test_evidence_is_weighed_in_the_next_cycle_and_not_again_after_a_power_cut(
    told: Bench,
) -> None:
    before = told.feeder.estimators
    told.run(-0.5, 1)
    assert before.soh.count == 1
    assert before.soh_bp == pytest.approx(9000, abs=200)
    after = Estimators(SETTINGS)
    assert after.restore(before.state())
    told.feeder.estimators = after
    told.rest(300)
    assert after.soh.count == 1
    assert after.soh.soh[0] == pytest.approx(before.soh.soh[0])
    assert after.soh.var[0] >= before.soh.var[0] * 0.999


def test_evidence_waits_while_the_cells_cannot_be_believed(told: Bench) -> None:
    estimators = told.feeder.estimators
    snapshot = told.feeder.snapshot
    for _ in range(5):
        snapshot.valid = False
        estimators.update(snapshot)
    assert estimators.soh.count == 0
    told.run(-0.5, 1)
    assert estimators.soh.count == 1


def test_what_is_due_every_minute_waits_for_one_cycle_at_most(told: Bench) -> None:
    estimators = told.feeder.estimators
    widened: list[int] = []
    widen = estimators._widen

    def watched(*args: object) -> None:
        widened.append(estimators.now_s)
        widen(*args)  # type: ignore[arg-type]

    estimators._widen = watched  # type: ignore[method-assign]
    told.rest(60 - estimators.now_s % 60 - 1)  # to the last second of a minute
    estimators.anchors.resting = False
    widened.clear()
    estimators._told = True
    told.rest(1)
    assert not widened
    estimators._told = True
    told.rest(1)
    assert widened == [estimators.now_s]
