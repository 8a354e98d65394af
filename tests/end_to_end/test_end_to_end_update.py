"""``echelon flash`` against a board that starts by the loader, in the real MicroPython."""

import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from desk_rig import has_micropython
from update_rig import Images, install, loader_command, new_key

from sim.bench import Rest
from sim.pack import PackSpec
from sim.world import World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
    ),
]

ECHELON = Path(sys.executable).with_name("echelon")
SERIAL = "EC-NEW"
BROKEN = ("firmware/main.py", "_TELL_MS = const(200)", "_TELL_MS = const(200) + NOTHING")
DEAF = ("firmware/modbus/rtu.py", " and address != self.address:", ":")


@pytest.fixture(scope="module")
def key():
    return new_key()


@pytest.fixture(scope="module")
def images(tmp_path_factory, key):
    return Images(tmp_path_factory.mktemp("compiled"), key)


@contextmanager
def board(folder, image, key, speed=10.0):
    install(folder / SERIAL, image, key)
    with World(seed=3, speed=speed, folder=folder, board_command=loader_command) as world:
        spec = PackSpec(SERIAL, n_cells=14, soc=0.5, program=(Rest(1e6),))
        bus = world.add_bus("bay", 115200, [world.add_pack(spec)])
        world.start()
        stop = threading.Event()
        runner = threading.Thread(target=world.run, kwargs={"stop": stop})
        runner.start()
        try:
            yield world, bus
        finally:
            stop.set()
            runner.join()


def echelon(*arguments):
    return subprocess.run(
        [ECHELON, *map(str, arguments), "--timeout-ms", "2000"],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def flash(bus, path, image, *options):
    path.write_bytes(image)
    return echelon("flash", bus.port, "1", path, *options)


def firmware_of(bus):
    return echelon("scan", bus.port, "--addresses", "1").stdout.split("firmware ")[1].strip()


def test_a_pack_is_updated_and_connected_again_and_takes_no_older_image(tmp_path, images, key):
    with board(tmp_path, images.make((0, 1, 0)), key) as (world, bus):
        pack = world.packs[0]
        assert firmware_of(bus) == "0.1.0"
        new = images.make((0, 2, 0), cells=("nmc",))
        done = flash(bus, tmp_path / "new", new)
        assert done.stdout.endswith(f"  1  {SERIAL:20} updated and healthy\n"), done
        assert done.returncode == 0
        assert firmware_of(bus) == "0.2.0"
        assert world.truth(pack)["charge_fet"]

        again = flash(bus, tmp_path / "new", new)
        assert again.stdout.endswith("runs it already\n")
        older = flash(bus, tmp_path / "old", images.make((0, 1, 9)))
        assert older.returncode == 1
        assert "NOT updated: the image is older than one that was healthy on it" in older.stdout
        foreign = flash(bus, tmp_path / "for", images.make((0, 3, 0), board="rp2"))
        assert "for another interpreter, board or front end" in foreign.stdout
        other = flash(bus, tmp_path / "other", images.make((0, 3, 0), cells=("lfp", "nca")))
        assert "lacks the cell profile nmc (echelon image make --cells nmc)" in other.stdout
        forged = flash(bus, tmp_path / "forged", images.make((0, 3, 0), key=new_key()))
        assert "not signed with the key of this board's fleet" in forged.stdout
        assert firmware_of(bus) == "0.2.0"
        assert world.truth(pack)["boots"] == 2


@pytest.mark.parametrize("change", [BROKEN, DEAF])
def test_an_image_that_does_not_work_is_taken_back(tmp_path, images, key, change):
    with board(tmp_path, images.make((0, 1, 0)), key) as (world, bus):
        bad = images.make((0, 2, 0), [change])
        sent = flash(bus, tmp_path / "bad", bad, "--no-start")
        assert sent.stdout.endswith("has it, checked and not started\n"), sent
        assert world.truth(world.packs[0])["charge_fet"], "the pack works on meanwhile"
        world.clock.set_speed(100.0)  # ten minutes are given to an image that says nothing
        done = flash(bus, tmp_path / "bad", bad)
        assert done.returncode == 1
        assert "NOT updated: the new image was not healthy within its time" in done.stdout, done
        world.clock.set_speed(10.0)
        assert firmware_of(bus) == "0.1.0"
