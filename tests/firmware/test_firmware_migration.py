"""Records of earlier versions are taken up, whole; what is new begins at its start."""

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
import recorded_records as old
from app_rig import Rig

from common import models
from common.codes import Fault, Refusal
from firmware.estimators import estimators_state, lifetime
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


def in_seconds(minutes: Sequence[int]) -> list[int]:
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
    for data in (b"a", b"b", b"c", b"d"):
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
    words = tuple(range(1000, 1039))
    again.restore(made(3, words), spoil(e.counters()))  # those of before are better than none
    assert list(again.lifetime.words) == in_seconds(words[:35])


def made(version: int = 4, counters: tuple[int, ...] = ()) -> bytes:
    """A record of four cells in which no two figures are alike, as docs/journal.md lays it out."""
    e = fresh()
    head = (version, 4, len(counters) and len(counters) - 4, 1000, e.profile_crc, 90000, 7)
    data = struct.pack("<BBHLLLL", *head) + struct.pack(f"<{len(counters)}i", *counters)
    data += struct.pack("<Bff", 1, 5125.5, 64.25)
    data += struct.pack("<lllffl", -150, 40, 600, 0.375, 0.0625, 7200)
    for i in range(4):
        data += struct.pack("<ffffBL", 0.75 + i / 64, 2e-4, 1e-4, 0.5, 1 + i, 80000 + i)
    data += struct.pack("<LL", 9, 85000)
    for i in range(4):
        data += struct.pack("<ff", 70000.0 + i, 2.5e6 + i)
    data += struct.pack("<fffffl", 1.25, 0.125, 0.9375, 0.875, 0.96875, 3000)
    data += struct.pack("<B", 1)
    for i in range(4):
        data += struct.pack("<ffffl", 10.5 + i, 0.25 + i / 8, 400.0 + i, 0.5 + i, 1234 + i)
    return data


@pytest.mark.parametrize("version", [3, 4])
def test_every_figure_is_taken_up_from_its_place(version: int) -> None:
    counters = tuple(range(1000, 1039)) if version == 3 else ()
    e = fresh()
    assert e.restore(made(version, counters))
    assert (e.now_s, e.soh.count) == (90000, 7)
    assert (e.soc.known, e.soc.predict()[0]) == (True, 5125.5)
    assert e.soc.predict()[1] > 64.25**2
    assert (e.offset.bias_ua, e.offset.var_ua2, e.offset.at_s) == (-150, 1600.0, 89400)
    loss = e.self_discharge
    assert (loss.rate, loss.var, loss.at_s) == (0.375, 0.0625, 82800)
    soh = e.soh
    assert list(soh.soh) == [0.75, 0.765625, 0.78125, 0.796875]
    assert list(soh.var) == pytest.approx([2e-4] * 4)
    assert all(1e-4 < best < 2e-4 for best in soh.best)  # it faded while the board was off
    assert list(soh.own) == [0.5] * 4
    assert list(soh.method) == [1, 2, 3, 4]
    assert list(soh.at_s) == [80000, 80001, 80002, 80003]
    assert (e.resistance.count, e.resistance.at_s) == (9, 85000)
    assert list(e.resistance.r) == [70000.0, 70001.0, 70002.0, 70003.0]
    assert list(e.resistance.var) == [2.5e6, 2.5e6 + 1, 2.5e6 + 2, 2.5e6 + 3]
    assert (e.energy.factor, e.energy.factor_sigma) == (1.25, 0.125)
    assert e.efficiency.figure() == (0.9375, 0.875, 0.96875)
    assert e.efficiency.at_s == 87000
    cells = e.differences
    assert (cells.known, cells.at_s) == (True, 90000)
    assert list(cells.d) == [10.5, 11.5, 12.5, 13.5]
    assert list(cells.leak) == [0.25, 0.375, 0.5, 0.625]
    assert all(dd > 400.0 for dd in cells.dd)  # less sure by the time off
    assert list(cells.ll) == [0.5, 1.5, 2.5, 3.5]
    assert list(cells.bled_uah) == [1234, 1235, 1236, 1237]
    if version == 3:
        assert list(e.lifetime.words) == in_seconds(range(1000, 1035))
        assert list(e.lifetime.rest) == [1035, 1036, 1037, 1038]
    assert e.fec_centi == e.soh.fec_centi == e.lifetime.fec_centi()
    assert soh.refusal == Refusal.NONE
    assert e.soc.capacity == pytest.approx(0.7734375e-4)
    assert e.soc_bp == 5126  # and told at once


def test_every_figure_is_saved_in_its_place() -> None:
    e = fresh()
    e.restore(made())
    saved, data = e.state(), made()
    size = estimators_state.size(e)
    assert len(saved) == len(data) == size == 86 + 4 * 49
    for i in range(4):  # what grows less sure is not the same
        soh, cell = 53 + 21 * i, 202 + 20 * i
        for at in (soh + 8, cell + 8):
            data = data[:at] + saved[at : at + 4] + data[at + 4 :]
    sigma = struct.unpack_from("<f", saved, 25)[0]
    assert sigma == pytest.approx(e.soc.predict()[1] ** 0.5)
    assert saved == data[:25] + saved[25:29] + data[29:]


def test_ages_go_on_and_a_figure_that_is_not_known_has_none() -> None:
    e = fresh()
    e.restore(made())
    e.now_s += 50
    saved = e.state()
    ages = [struct.unpack_from("<l", saved, at)[0] for at in (37, 49, 197)]
    assert ages == [650, 7250, 3050]
    new = fresh()
    new.now_s = 77
    saved = new.state()
    assert [struct.unpack_from("<l", saved, at)[0] for at in (37, 49)] == [-1, -1]
    assert struct.unpack_from("<fff", saved, 185) == (0.0, 0.0, 0.0)
    new.soh.at_s[0] = new.offset.at_s = new.self_discharge.at_s = 0
    assert [struct.unpack_from("<l", new.state(), at)[0] for at in (37, 49)] == [77, 77]
    e.restore(saved)
    assert (e.offset.at_s, e.self_discharge.at_s, e.efficiency.figure()) == (-1, -1, None)
    assert (e.soc.known, e.differences.known) == (False, False)
    assert e.soh.refusal != Refusal.PROFILE_CHANGED


@pytest.mark.parametrize(("at", "new"), [(1, 3), (4, 233), (8, 1)])
def test_figures_of_another_pack_are_left_and_its_counters_kept(at: int, new: int) -> None:
    words = tuple(range(1000, 1039))
    data = bytearray(made(3, words))
    data[at] = new if at != 8 else data[8] ^ 1
    if at == 1:  # three cells
        del data[-49:]
    e = fresh()
    assert not e.restore(bytes(data))
    assert e.soh.refusal == Refusal.PROFILE_CHANGED
    assert list(e.lifetime.words) == in_seconds(words[:35])
    assert e.fec_centi == e.soh.fec_centi == e.lifetime.fec_centi()
    assert (e.soh.count, e.resistance.count, e.soc.known, e.now_s) == (0, 0, False, 90000)


@pytest.mark.parametrize("version", [0, 2, 5])
def test_figures_of_an_unknown_version_are_left_alone(version: int) -> None:
    e = fresh()
    assert not e.restore(bytes((version,)) + made()[1:])
    assert (e.now_s, e.soh.count) == (0, 0)


@pytest.mark.slow
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
