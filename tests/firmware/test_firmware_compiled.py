"""The firmware as it is compiled for boards does what its source does, in real MicroPython."""

import runpy
import subprocess
from pathlib import Path

import pytest
from interpreters import lines

from sim.pack import PackSpec
from sim.world import World

HERE = Path(__file__).parent
# What the scripts, and the board they run on, need beside the files of a board.
DESK = ("firmware/boards/desk.py", "firmware/boards/unix.py", "common/link.py")
HELPERS = ("scripted_bq76952", "scripted_ltc6813", "estimator_cells", "resting_pack")
PROFILE = """
from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile("my-%s", Chemistry.NMC, tuple(range(3000, 4040, 40)), 20, (0, 0), 60000, %s)
"""


@pytest.fixture(scope="module")
def compiled(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an image with both drivers, and the scripts as modules among its files."""
    script = runpy.run_path(str(root / "tests" / "benchmarks" / "firmware_size.py"))
    manifest = script["Manifest"](script["MANIFEST"])
    sources = manifest.image("armv7emsp", "bq76952") | manifest.image("xtensawin", "ltc6813")
    pulses = [str(path.relative_to(root)) for path in (root / "common" / "cells").glob("pulse_*")]
    sources |= {name: (root / name).read_text(encoding="utf-8") for name in (*DESK, *pulses)}
    sources |= {f"{name}.py": (HERE / f"{name}.py").read_text("utf-8") for name in HELPERS}
    sources |= {path.name: path.read_text("utf-8") for path in (HERE / "scripts").glob("*.py")}
    target: Path = tmp_path_factory.mktemp("compiled")
    script["compile_all"](sources, "armv7emsp", target)
    return target


def compiled_lines(
    interpreter: str, compiled: Path, script: str, *arguments: str | Path
) -> list[str]:
    done = subprocess.run(
        [interpreter, "-m", script, *map(str, arguments)],
        check=False,
        cwd=compiled,  # the sources are out of reach
        env={"MICROPYPATH": f"{compiled}:.frozen"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "script",
    [
        "bq76952_exchange", "energy_figures", "estimators_intake", "image_update 16 5",
        "ltc6813_exchange", "modbus_exchange", "pulse_soh", "remote_settings", "safe_mode",
        "storage_turns", "window_charge",
    ],
)  # fmt: skip
def test_it_prints_the_same_allocations_too(
    compiled: Path, tmp_path: Path, board_micropython: str, script: str
) -> None:
    folders = [tmp_path / "source", tmp_path / "compiled"]
    for folder in folders:
        folder.mkdir()
    script, *numbers = script.split()
    expected = lines(board_micropython, f"{script}.py", *(numbers or folders[:1]))
    assert expected
    found = compiled_lines(board_micropython, compiled, script, *(numbers or folders[1:]))
    assert found == expected


def test_no_task_takes_more_memory(compiled: Path, tmp_path: Path, board_micropython: str) -> None:
    folders = [tmp_path / "source", tmp_path / "boards"]  # names as long: paths take memory
    for folder in folders:
        folder.mkdir()
    script = "app_without_allocation"
    source = dict(map(str.split, lines(board_micropython, f"{script}.py", folders[0], "16")))
    found = dict(
        map(str.split, compiled_lines(board_micropython, compiled, script, folders[1], "16"))
    )
    assert source.keys() == found.keys()
    assert source["answers"] == found["answers"]
    # mpy-cross may be newer than the interpreter, and compute more fractions beforehand
    more = {task: (found[task], source[task]) for task in source}
    assert not {task: each for task, each in more.items() if int(each[0]) > int(each[1])}


def test_it_takes_a_profile_that_a_board_brings(
    root: Path, compiled: Path, tmp_path: Path, micropython: str
) -> None:
    (tmp_path / "cells").mkdir()
    for name, limits in (("cell", "()"), ("loose", '(("discharge_c10", 30),)')):
        (tmp_path / "cells" / f"my_{name}.py").write_text(PROFILE % (name, limits), "utf-8")
    expected = lines(micropython, "own_profile.py", root, tmp_path)
    assert compiled_lines(micropython, compiled, "own_profile", compiled, tmp_path) == expected
    assert "discharge_c10 30 is looser than 20" in expected[-1]


def test_a_pack_with_it_closes_its_switches(
    compiled: Path, tmp_path: Path, micropython: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells, chip and clock in this process; the board in its own."""
    starter = tmp_path / "micropython"
    starter.write_text(
        f'#!/bin/sh\ncd "{compiled}"\nMICROPYPATH="{compiled}:.frozen" exec "{micropython}" "$@"\n'
    )
    starter.chmod(0o755)
    monkeypatch.setenv("ECHELON_MICROPYTHON", str(starter))
    with World(seed=1, folder=tmp_path / "boards", logs=tmp_path) as world:
        pack = world.add_pack(PackSpec("P1", n_cells=14, rated_ah=50.0))
        world.start()
        world.run(until_s=30.0)
        assert world.truth(pack)["charge_fet"]
        assert world.truth(pack)["discharge_fet"]
