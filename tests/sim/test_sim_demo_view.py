"""The demo's table and lines, from plain data."""

import io

from rich.console import Console

from sim import demo_view
from sim.demo_view import Row, Unplugging


def reading(boot, soc_pct, current_a=0.0):
    return {
        "serial": "P1", "boot": boot, "seq": 7, "state": "on", "current_a": current_a,
        "pack_voltage_v": 44.1, "soc_pct": soc_pct, "soc_low_pct": soc_pct - 2.0,
        "soc_high_pct": soc_pct + 2.0,
    }  # fmt: skip


def drawn(row):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(demo_view.table([row], 2000.0, 50.0))
    return console.export_text()


def cut():
    unplugging = Unplugging(1500.0, 600.0, "charge", reading(1, 54.0, 42.0))
    unplugging.take(reading(1, 55.0, 42.0))  # it was still on its way
    return unplugging


def test_an_unplugged_pack_has_no_figures_and_says_where_it_stopped():
    row = Row("1 aged", reading(1, 55.0, 42.0), step="charge", plugged=False, unplugging=cut())
    text = drawn(row)
    assert "silent" in text
    assert "44.1" not in text
    assert "1 aged (unplugged): not graded yet" in text
    assert "1 aged: unplugged at 0:25:00, charge, SOC 55.0 ±2.0 %\n" in text.replace(" \n", "\n")
    assert demo_view.unplugging_as_json(row, row.unplugging)["after"]["boot"] is None


def test_a_pack_that_is_back_shows_that_it_went_on():
    unplugging = cut()
    unplugging.take(reading(2, 54.9))  # its switches are not closed yet
    unplugging.take(reading(2, 55.1, 42.0))
    unplugging.take(reading(2, 70.0, 42.0))
    row = Row("1 aged", reading(2, 70.0, 42.0), step="charge", unplugging=unplugging)
    text = " ".join(drawn(row).split())
    assert "SOC 55.0 ±2.0 %; back after 10 min, boot 2, SOC 55.1 ±2.0 %" in text
    told = demo_view.unplugging_as_json(row, unplugging)
    assert (told["serial"], told["at_simulated_s"], told["for_s"]) == ("P1", 1500, 600.0)
    assert (told["before"]["boot"], told["before"]["soc_pct"]) == (1, 55.0)
    assert (told["after"]["boot"], told["after"]["soc_pct"]) == (2, 55.1)
