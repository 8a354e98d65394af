"""The lifetime counters: exact to their unit, over any sequence of power cuts."""

import sys
from pathlib import Path

import pytest
from core_fakes import healthy, nmc, set_cells, set_temperatures
from interpreters import lines

from common import models
from common.registers import RegisterMap
from firmware.estimators.lifetime import (
    COLD,
    COLD_CHARGING,
    CURRENT_0,
    DEEP,
    ENERGY_IN,
    ENERGY_OUT,
    HOT,
    HOT_CHARGING,
    OVER,
    RTE,
    RUN,
    SELF,
    SOC_0,
    TEMPERATURE_0,
    Lifetime,
)

RATED_MAH = 10000  # rest is up to 50 mA


@pytest.fixture
def lifetime() -> Lifetime:
    return Lifetime(nmc(rated_mah=RATED_MAH))


def told(lifetime: Lifetime, *loss: object) -> dict[str, object]:
    block = RegisterMap(4).block(models.LIFETIME)
    lifetime.publish(block, *loss)
    return block.layout.decode(block.bytes())


@pytest.mark.parametrize(
    ("current_ma", "place"),
    [
        (-20000, 0), (-10000, 0), (-9999, 1), (-5000, 1), (-4999, 2), (-2000, 2), (-1999, 3),
        (-51, 3), (-50, 4), (0, 4), (50, 4), (51, 5), (1999, 5), (2000, 6), (4999, 6), (5000, 7),
        (9999, 7), (10000, 8), (30000, 8),
    ],
)  # fmt: skip
def test_time_goes_into_the_bin_of_its_current(
    lifetime: Lifetime, current_ma: int, place: int
) -> None:
    s = healthy()
    s.current_ma = current_ma
    for _ in range(60):
        lifetime.update(s, 5000)
    bins = list(lifetime.words[CURRENT_0 : CURRENT_0 + 9])
    assert bins == [60 if k == place else 0 for k in range(9)]
    assert told(lifetime)[f"Cur{place}"] == 1


def test_rest_is_ten_milliamperes_at_least() -> None:
    small = Lifetime(nmc(rated_mah=1000))
    s = healthy()
    for s.current_ma in (-11, -10, 10, 11):
        small.update(s, None)
    assert list(small.words[CURRENT_0 + 3 : CURRENT_0 + 6]) == [1, 2, 1]


def test_time_is_counted_to_the_millisecond_in_each_of_its_places(lifetime: Lifetime) -> None:
    s = healthy()
    for n in range(1000):
        s.dt_ms = 1001 if n % 2 else 998
        s.current_ma = 3000 if n % 2 else 0
        lifetime.update(s, 4000 if n % 2 else 9999)
    wanted = {CURRENT_0 + 4: 499000, CURRENT_0 + 6: 500500, SOC_0 + 4: 500500, SOC_0 + 9: 499000}
    wanted |= {RUN: 999500, TEMPERATURE_0 + 3: 999500}
    for place, ms in wanted.items():
        assert 1000 * lifetime.words[place] + lifetime.ms[place] == ms
    assert told(lifetime)["RunMin"] == 16


@pytest.mark.parametrize(("soc_bp", "place"), [(0, 0), (999, 0), (1000, 1), (9999, 9), (10000, 9)])
def test_time_goes_into_the_bin_of_its_charge(lifetime: Lifetime, soc_bp: int, place: int) -> None:
    lifetime.update(healthy(), soc_bp)
    assert lifetime.words[SOC_0 + place] == sum(lifetime.words[SOC_0 : SOC_0 + 10]) == 1


@pytest.mark.parametrize(
    ("dc", "place"),
    [(-1, 0), (0, 1), (99, 1), (100, 2), (199, 2), (200, 3), (299, 3), (300, 4),
     (399, 4), (400, 5), (449, 5), (450, 6), (599, 6), (600, 7), (900, 7)],
)  # fmt: skip
def test_time_goes_into_the_bin_of_the_hottest_cell(
    lifetime: Lifetime, dc: int, place: int
) -> None:
    s = healthy()
    set_temperatures(s, dc - 30, dc)
    lifetime.update(s, None)
    bins = list(lifetime.words[27:35])
    assert bins == [int(k == place) for k in range(8)]


@pytest.mark.parametrize(
    ("current_ma", "low_dc", "high_dc", "counted"),
    [
        (0, 250, 600, []), (0, 250, 601, [HOT]), (0, -200, 250, []), (0, -201, 250, [COLD]),
        (50, 250, 451, []), (51, 250, 450, []), (51, 250, 451, [HOT_CHARGING]),
        (51, 0, 250, []), (51, -1, 250, [COLD_CHARGING]), (-5000, -1, 451, []),
        (51, -201, 601, [HOT, COLD, HOT_CHARGING, COLD_CHARGING]),
    ],
)  # fmt: skip
def test_harmful_time_is_counted_while_it_lasts(
    lifetime: Lifetime, current_ma: int, low_dc: int, high_dc: int, counted: list[int]
) -> None:
    s = healthy()
    s.current_ma = current_ma
    set_temperatures(s, low_dc, high_dc)
    lifetime.update(s, None)
    assert [k for k in range(HOT, RUN) if lifetime.words[k]] == counted


def test_energy_is_rounded_and_loses_nothing(lifetime: Lifetime) -> None:
    s = healthy(cell_mv=3699)
    s.delta_uah = 1
    for _ in range(1000):
        lifetime.update(s, None)
    s.delta_uah = -3
    for _ in range(1000):
        lifetime.update(s, None)
    set_cells(s, [3698, 3698, 3699, 3699])
    lifetime.update(s, None)
    assert lifetime.rest[ENERGY_IN] == 1480 * 1000
    assert lifetime.rest[ENERGY_OUT] == 4439 * 1000 + 4438
    s.delta_uah = 1
    lifetime.update(s, None)
    assert lifetime.rest[ENERGY_IN] == 1480 * 1000 + 1479
    s.delta_uah = -1
    lifetime.update(s, None)
    assert lifetime.rest[ENERGY_OUT] == 4439 * 1000 + 4438 + 1479


@pytest.mark.parametrize(
    ("counter", "far", "just_not", "just", "near", "back"),
    [(DEEP, 1400, 1500, 1499, 1549, 1550), (OVER, 4300, 4250, 4251, 4201, 4200)],
)
def test_an_event_is_over_when_it_was_left_behind_and_counts_but_once(
    lifetime: Lifetime, counter: int, far: int, just_not: int, just: int, near: int, back: int
) -> None:
    s = healthy()

    def see(mv: int) -> tuple[int, bool]:
        set_cells(s, [3700, mv, 3700, 3700])
        lifetime.update(s, None)
        return lifetime.words[counter], lifetime.urgent

    assert see(just_not) == (0, False)
    assert see(just) == (1, True)
    lifetime.urgent = False
    for mv in (near, far, near, just_not):
        assert see(mv) == (1, False)
    assert see(back) == (1, False)
    assert see(just_not) == (1, False)
    assert see(just) == (2, True)
    assert lifetime.words[DEEP] + lifetime.words[OVER] == 2


def test_too_deep_and_too_high_go_on_beside_each_other(lifetime: Lifetime) -> None:
    s = healthy()
    for cells in ([1400, 4300], [1400, 3700], [3700, 4300], [1400, 3700]):
        set_cells(s, [*cells, 3700, 3700])
        lifetime.update(s, None)
    assert (lifetime.words[DEEP], lifetime.words[OVER]) == (2, 2)


def test_what_is_not_plausible_is_no_event(lifetime: Lifetime) -> None:
    s = healthy()
    set_cells(s, [1400, 3700, 3700, 4300])
    lifetime.update(s, None, False)
    assert (lifetime.words[DEEP], lifetime.words[OVER], lifetime.words[RUN]) == (0, 0, 1)


# --- what is told -------------------------------------------------------------------------------


def test_throughput_is_carried_into_its_units(lifetime: Lifetime) -> None:
    s = healthy(cell_mv=2500)  # 10 V: 0.1 Ah are 1 Wh
    for s.delta_uah in (99_999, 0, 1, 250_000, -300_000, -1, 99_999):
        lifetime.update(s, None)
    assert list(lifetime.words[:4]) == [4, 3, 44, 30]
    assert list(lifetime.rest) == [49_999, 1, 9_999_000, 1_000]
    s.delta_uah = 50_001
    lifetime.update(s, None)
    assert (lifetime.words[0], lifetime.rest[0]) == (5, 0)


def test_full_equivalent_cycles_are_throughput_by_twice_the_rating(lifetime: Lifetime) -> None:
    s = healthy()
    for s.delta_uah in (4_000_000, -3_200_000):
        lifetime.update(s, None)
    assert lifetime.fec_centi() == 36
    lifetime.words[1] = 99_960
    assert lifetime.fec_centi() == 50_000
    lifetime.words[1] = 32
    s.delta_uah = 900_000
    lifetime.update(s, None)
    life = told(lifetime)
    assert (life["ChaAh"], life["DisAh"], life["Fec"]) == (4.9, 3.2, 0.4)


def test_nothing_was_seen_yet(lifetime: Lifetime) -> None:
    names = ("VMinEver", "VMaxEver", "TMinEver", "TMaxEver")
    assert [told(lifetime)[name] for name in names] == [None] * 4
    assert list(lifetime.words[11:17]) == [0x7FFF, 0, 0x7FFF, -0x7FFF, 0, 0]


def test_the_extremes_ever_are_of_cells_sensors_and_currents(lifetime: Lifetime) -> None:
    names = ("VMinEver", "VMaxEver", "TMinEver", "TMaxEver", "AChaEver", "ADisEver")

    def see(cells: list[int], dc: tuple[int, ...], current_ma: int) -> list[object]:
        s = healthy()
        set_cells(s, cells)
        set_temperatures(s, *dc)
        s.current_ma = current_ma
        lifetime.update(s, None)
        return [told(lifetime)[name] for name in names]

    assert see([3300, 3600, 3601, 3602], (250, 270), -1) == [3.3, 3.602, 25.0, 27.0, 0.0, 0.001]
    assert see([3299, 3600, 3601, 3603], (-10, 271), 1) == [3.299, 3.603, -1.0, 27.1, 0.001, 0.001]
    assert see([3400, 3400, 3400, 3400], (), 7) == [3.299, 3.603, -1.0, 27.1, 0.007, 0.001]
    assert see([3400, 3400, 3400, 3400], (100,), -9) == [3.299, 3.603, -1.0, 27.1, 0.007, 0.009]
    assert see([3400, 3400, 3400, 3400], (100,), -8) == [3.299, 3.603, -1.0, 27.1, 0.007, 0.009]
    assert see([3400, 3400, 3400, 3400], (100,), 6) == [3.299, 3.603, -1.0, 27.1, 0.007, 0.009]


def test_minutes_are_told_of_seconds_and_events_as_they_are(lifetime: Lifetime) -> None:
    for k in range(RTE):
        lifetime.words[k] = 60 * 61 * (k + 1)
    life = told(lifetime)
    minutes = ("HotMin", "ColdMin", "HotChaMin", "ColdChaMin", "RunMin")
    assert [life[name] for name in minutes] == [61 * k for k in range(7, 12)]
    assert (life["NDeep"], life["NOver"]) == (3660 * 5, 3660 * 6)
    assert [life[f"Soc{k}"] for k in range(10)] == [61 * k for k in range(18, 28)]
    assert [life[f"Tmp{k}"] for k in range(8)] == [61 * k for k in range(28, 36)]
    assert [life[f"Cur{k}"] for k in range(9)] == [61 * k for k in range(36, 45)]
    assert (life["AChaEver"], life["ADisEver"]) == (3.66 * 16, 3.66 * 17)


# --- the beginning of an evolution -----------------------------------------------------------


def test_the_first_figures_are_kept_and_no_later_ones(lifetime: Lifetime) -> None:
    names = ("Rte0", "Rte0Lo", "Rte0Hi", "Rte0Min", "Self0", "Self0Lo", "Self0Hi", "Self0Min")
    assert [told(lifetime)[name] for name in names] == [None] * 8
    lifetime.keep_first(RTE, None, 100)
    lifetime.keep_first(RTE, (9512.6, 9440.9, 9580.1), 7300)
    assert [told(lifetime)[name] for name in names] == [95.13, 94.4, 95.81, 121] + [None] * 4
    lifetime.keep_first(SELF, (200.4, 100.9, 299.0), 59)
    lifetime.keep_first(SELF, (300.0, 250.0, 350.0), 90000)
    lifetime.keep_first(RTE, (9000.0, 8900.0, 9100.0), 90000)
    assert [told(lifetime)[name] for name in names] == [
        95.13, 94.4, 95.81, 121, 2.0, 1.0, 3.0, 0
    ]  # fmt: skip


def test_a_first_figure_beyond_all_reason_stands_at_what_its_register_holds(
    lifetime: Lifetime,
) -> None:
    lifetime.keep_first(SELF, (50000.0, 29000.0, 60000.0), 600)
    names = ("Self0", "Self0Lo", "Self0Hi", "Self0Min")
    assert [told(lifetime)[name] for name in names] == [300.0, 290.0, 300.0, 10]


def test_the_change_of_self_discharge_has_an_interval_of_both(lifetime: Lifetime) -> None:
    names = ("SelfChg", "SelfChgLo", "SelfChgHi")
    later = (300.0, 250.0, 350.0)
    assert [told(lifetime, later, 90000)[name] for name in names] == [None] * 3
    lifetime.keep_first(SELF, (200.0, 100.0, 299.0), 600)
    assert lifetime.words[SELF + 3] == 10
    assert [told(lifetime, later, 659)[name] for name in names] == [None] * 3, "the same evidence"
    assert [told(lifetime, None, 90000)[name] for name in names] == [None] * 3
    assert [told(lifetime, later, 660)[name] for name in names] == [50.0, -16.67, 250.01]
    assert [told(lifetime, (100.0, 0.0, 200.0), 660)[name] for name in names] == [
        -50.0, -100.0, 100.01
    ]  # fmt: skip


def test_a_change_counts_from_the_first_minute_on(lifetime: Lifetime) -> None:
    lifetime.keep_first(SELF, (200.0, 100.0, 299.0), 0)
    assert told(lifetime, (300.0, 250.0, 350.0), 60)["SelfChg"] == 50.0


def test_a_first_figure_that_may_be_nothing_has_no_upper_end_of_its_change(
    lifetime: Lifetime,
) -> None:
    lifetime.keep_first(SELF, (0.2, 0.0, 80.0), 600)
    change = told(lifetime, (300.0, 250.0, 350.0), 90000)
    assert (change["SelfChg"], change["SelfChgHi"]) == (None, None)
    assert change["SelfChgLo"] == pytest.approx(100 * (250 / 81 - 1), abs=0.01)


# --- a random life ------------------------------------------------------------------------------


def lived(interpreter: str, *arguments: str) -> list[int]:
    *wrong, last = lines(interpreter, "random_year.py", *arguments)
    assert wrong == []
    return [int(word) for word in last.split()]


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["5", "6"])
def test_after_random_weeks_with_random_cuts_every_counter_is_true(seed: str) -> None:
    steps, saves, cuts, lost_s = lived(sys.executable, seed, "14", "60")
    assert steps > 100_000
    assert saves > 4000
    assert cuts > 40
    assert 250 < lost_s < 312, "the time between two saves, and a reading"


@pytest.mark.slow
def test_the_same_in_a_board_s_words_of_31_bits(micropython: str) -> None:
    assert lived(micropython, "7", "2", "20") == lived(sys.executable, "7", "2", "20")


@pytest.mark.slow
def test_a_save_that_is_cut_at_any_byte_is_whole_or_was_never_made() -> None:
    steps, saves, cuts, _ = lived(sys.executable, "9", "0.03", "2", "--every")
    assert cuts > 300 * saves
    assert steps > 200
    assert saves > 6


@pytest.mark.slow
def test_the_truth_of_the_random_life_is_no_copy(tmp_path: Path) -> None:
    """A counter that goes wrong by one unit is noticed."""
    script = Path(__file__).parent / "scripts" / "random_year.py"
    text = script.read_text()
    assert "firmware.estimators.lifetime import" not in text
    spoiled = tmp_path / "spoiled.py"
    spoiled.write_text(
        text.replace(
            "\nrun(int(", "\nlifetime._EDGES_DC = (0, 100, 200, 330, 400, 450, 600)\nrun(int("
        )
    )
    printed = lines(sys.executable, str(spoiled), "5", "4", "3")
    assert any("Tmp" in line for line in printed[:-1])
