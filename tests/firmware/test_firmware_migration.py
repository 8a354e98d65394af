"""Records of earlier versions are taken up, whole; what is new begins at its start."""

import struct
from pathlib import Path

import pytest
import recorded_records as old
from app_rig import Rig

from common import models
from common.codes import Fault
from firmware.estimators import lifetime
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings
from firmware.storage import Storage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in old.FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def fresh() -> Estimators:
    return Estimators(Settings("RIG", 4, "nmc", 1000))


def in_seconds(minutes: list[int]) -> list[int]:
    """Counters as version 1 had them, as they stand now; what is new is at its start."""
    words = list(fresh().lifetime.words)
    times = {*range(lifetime.HOT, lifetime.RUN + 1), *range(lifetime.SOC_0, 35)}
    for k, word in enumerate(minutes):
        words[k] = 60 * word if k in times else word
    return words


def same_as_recorded(e: Estimators) -> None:
    assert e.now_s == old.RUN_S
    assert list(e.lifetime.words) == in_seconds(old.WORDS)
    assert not any(e.lifetime.ms)
    assert list(e.lifetime.rest) == old.REST
    assert e.fec_centi == old.FEC_CENTI
    assert list(e.resistance.r) == old.R_UOHM
    assert e.resistance.count == old.N_RESISTANCES
    assert e.offset.bias_ua == old.BIAS_UA


def test_slots_in_one_folder_are_read_and_the_next_saves_put_them_where_they_belong(
    root: Path,
) -> None:
    storage = Storage(str(root))
    estimates = storage.load("estimates")
    assert estimates is not None
    assert (root / "estimates.0").read_bytes()[11:-4] == estimates
    assert storage.load("boot") == b"\x01\0\0\0"
    for data in (b"a", b"b"):
        storage.save("estimates", data)
        assert Storage(str(root)).load("estimates") == data
    assert not (root / "estimates.1").exists()
    assert not storage.damaged
    assert (root / "second" / "estimates.1").exists()


def test_what_version_3_of_the_estimates_had_is_taken_up_with_its_counters(root: Path) -> None:
    e = fresh()
    assert e.restore(Storage(str(root)).load("estimates"))
    same_as_recorded(e)
    again = fresh()  # and as this version saves them
    assert again.restore(e.state(), e.counters())
    same_as_recorded(again)
    assert len(again.state()) == len(e.state()) == 453 - 15 - 4 * (35 + 4)


def test_counters_of_their_own_are_newer_than_those_among_the_estimates(root: Path) -> None:
    e = fresh()
    e.restore(Storage(str(root)).load("estimates"))
    e.lifetime.words[lifetime.RUN] += 5
    again = fresh()
    assert again.restore(Storage(str(root)).load("estimates"), e.counters())
    assert again.lifetime.words[lifetime.RUN] == old.WORDS[lifetime.RUN] * 60 + 5


def test_counters_are_kept_when_the_estimates_are_of_no_use() -> None:
    e = fresh()
    e.lifetime.words[lifetime.CHARGED] = 70
    for useless in (b"", b"\xff" * 453, e.state()[:-1]):
        again = fresh()
        assert not again.restore(useless, e.counters())
        assert again.lifetime.words[lifetime.CHARGED] == 70
        assert again.fec_centi == again.soh.fec_centi == 70 * 5000 // 1000


@pytest.mark.parametrize("n_words", [0, 1, 10, 11, 17, 18, 34, 35])
def test_version_1_counted_minutes(n_words: int) -> None:
    rest = (1, 2, 3, 4)
    words = list(range(100, 100 + n_words))
    e = fresh()
    assert e.restore(fresh().state(), struct.pack(f"<BB{4 + n_words}i", 1, n_words, *rest, *words))
    assert list(e.lifetime.rest) == list(rest)
    assert list(e.lifetime.words) == in_seconds(words)
    assert not any(e.lifetime.ms)


@pytest.mark.parametrize("n_words", [0, 1, 17, 52, 53, 54, 60])
def test_a_record_of_another_length_is_taken_up_as_far_as_both_reach(n_words: int) -> None:
    words, ms = list(range(100, 100 + n_words)), list(range(900, 900 + n_words))
    data = struct.pack(f"<BB{4 + n_words}i{n_words}H", 2, n_words, 1, 2, 3, 4, *words, *ms)
    e, start = fresh(), fresh()
    assert e.restore(start.state(), data)
    assert list(e.lifetime.rest) == [1, 2, 3, 4]
    for got, given, begun in (
        (e.lifetime.words, words, start.lifetime.words),
        (e.lifetime.ms, ms, start.lifetime.ms),
    ):
        assert list(got) == (given + list(begun)[n_words:])[: len(begun)]


def test_what_is_saved_is_as_its_description_says() -> None:
    e = fresh()
    for k in range(len(e.lifetime.words)):
        e.lifetime.words[k] = -k
        e.lifetime.ms[k] = k
    e.lifetime.rest[3] = 9
    n = len(e.lifetime.words)
    data = e.counters()
    assert len(data) == 336
    assert data == struct.pack(f"<BB{4 + n}i{n}H", 2, n, 0, 0, 0, 9, *range(0, -n, -1), *range(n))
    again = fresh()
    again.restore(b"", data)
    assert again.counters() == data


@pytest.mark.parametrize("spoil", [lambda d: d[:-1], lambda d: b"\x03" + d[1:], lambda d: d[:1]])
def test_counters_that_are_not_whole_or_of_another_version_are_left_alone(spoil) -> None:
    e = fresh()
    e.lifetime.words[0] = 5
    again = fresh()
    again.restore(e.state(), spoil(e.counters()))
    assert list(again.lifetime.words) == list(fresh().lifetime.words)


@pytest.mark.usefixtures("thaw")
def test_a_board_goes_on_with_what_the_version_before_saved(root: Path) -> None:
    rig = Rig(root, rated_ah=1.0)
    rig.run(3)
    assert rig.app.boot == 2
    assert rig.app.protection.connected is False
    assert rig.app.estimators.now_s >= old.RUN_S
    assert rig.app.estimators.lifetime.words[lifetime.DISCHARGED] == 3
    rig.run(305)
    assert not rig.read(models.PROTECTION)["Flt"] & 1 << Fault.STORAGE
    for _ in range(2):
        rig.boot()
        rig.run(305)
    assert rig.app.estimators.lifetime.words[lifetime.RUN] >= 60 * (old.WORDS[lifetime.RUN] + 13)
    assert sorted(path.name for path in root.rglob("*.?")) == [
        "boot.0", "boot.1", "connected.0",
        "estimates.0", "estimates.1", "lifetime.0", "lifetime.1",
    ]  # fmt: skip
