"""The estimators are right in a board's 32 bits: they agree with a run in 64.

The long version is ``tests/benchmarks/thirty_two_bits.py``.
"""

import ast
import sys
from pathlib import Path

import agreement
import cycling
import float_width
import interpreters
import pytest

SOC_PCT = 0.1
SOH_POINTS = 0.05
DAY_S = 86400
STREAMS = ("nmc", "lfp", "lco-cs2", "nca", "nca 5 mA")


@pytest.fixture(scope="module", params=STREAMS)
def stream(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, list[str]]:
    """A stream, its profile, and what the estimators print for it in 64 bits."""
    path = tmp_path_factory.mktemp("stream") / "stream"
    name, *kind = request.param.split(" ", 1)
    if kind:
        cycling.trickle(path, name, DAY_S, step_s=10)
    else:
        cycling.cycling(path, name, 30 if name in ("lco-cs2", "nca") else 8, of=30)
    wide = agreement.commands()[agreement.REFERENCE]
    return path, name, agreement.run(wide, path, name, cycling.RATED_MAH[name])


def agrees(stream: tuple[Path, str, list[str]], command: list) -> agreement.Worst:
    path, name, wide = stream
    narrow = agreement.run(command, path, name, cycling.RATED_MAH[name])
    worst = agreement.compare(wide, narrow)
    assert worst.unlike == []
    assert worst.compared["soc"] > 150
    assert worst.soc_pct <= SOC_PCT
    assert worst.soh_points <= SOH_POINTS
    assert worst.ohm_pct <= 0.1
    return worst


def test_floats_of_32_bits_come_to_the_same(stream: tuple[Path, str, list[str]]) -> None:
    worst = agrees(stream, agreement.commands()[agreement.NARROW])
    assert worst.soc_pct > 0, "not one float was rounded"


def test_micropython_of_32_bits_comes_to_the_same(
    stream: tuple[Path, str, list[str]], micropython32: str
) -> None:
    agrees(stream, [micropython32])


def test_the_charge_is_counted_to_the_last_unit(stream: tuple[Path, str, list[str]]) -> None:
    path, _name, wide = stream
    mah, uah, offset_uah = map(int, wide[-1].split()[1:])
    assert mah * 1000 + uah + offset_uah == cycling.passed_uah(path)


# --- how a width is made --------------------------------------------------------------------


def result(source: str, width: type[ast.NodeTransformer], monkeypatch: pytest.MonkeyPatch):
    for key, function in float_width.HELPERS.items():
        monkeypatch.setattr(f"builtins.{float_width.NAMES[key]}", function, raising=False)
    tree = ast.fix_missing_locations(width().visit(ast.parse(source)))
    names: dict = {}
    exec(compile(tree, "source", "exec"), names)
    return names["x"]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("x = 0.1", 0.10000000149011612),
        ("x = 16777217 + 0.0", 16777216.0),
        ("x = 1 / 3", 0.3333333432674408),
        ("x = 100000000.0\nx += 1.0", 100000000.0),
        ("x = [100000000.0]\nx[0] -= 1.0\nx = x[0]", 100000000.0),
        ("import math\nx = math.sqrt(2)", 1.4142135381698608),
        ("x = 2 ** 0.5", 1.4142135381698608),
        ("x = float('0.1')", 0.10000000149011612),
        ("x = 16777217 + 1", 16777218),
        ("x = 16777217 * 3 // 2", 25165825),
    ],
)
def test_narrow_code_rounds_every_float_and_no_integer(source, value, monkeypatch) -> None:
    found = result(source, float_width.Narrow, monkeypatch)
    assert (found, type(found)) == (value, type(value))


def test_wide_code_keeps_state_in_doubles(monkeypatch) -> None:
    source = "from array import array\nx = array('f', bytes(8))\nx[1] = 0.1"
    found = result(source, float_width.Widen, monkeypatch)
    assert (found.typecode, list(found)) == ("d", [0.0, 0.1])


def test_no_module_escapes_the_width(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from firmware.estimators.soh import Soh\n"
        "from firmware.settings import Settings\n"
        "from firmware.estimators import resistance\n"
        "print(Soh(Settings('A', 4, 'nmc', 1000)).soh.typecode, resistance._SCATTER)\n"
    )
    seen = [
        interpreters.run(sys.executable, agreement.WIDTH, width, script).stdout
        for width in ("64", "32")
    ]
    assert seen == ["d 0.05\n", "f 0.05000000074505806\n"]
