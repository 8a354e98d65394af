"""A desk: two packs with the real firmware on one RS-485 line, and a world that runs by itself."""

import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from sim.bench import Discharge, Rest
from sim.pack import PackSpec
from sim.world import World

RECORD_EVERY = 10
ADDRESSES = {1: "EC-LEFT", 2: "EC-RIGHT"}


def has_micropython():
    beside = Path(sys.executable).with_name("micropython")
    return beside.exists() or shutil.which("micropython") is not None


@contextmanager
def desk(folder, speed, until_s=60.0, **settings):
    """``(world, bus)``, ``until_s`` virtual seconds after both boards were switched on.

    The packs differ in cells and current, so that no figure of one could be the other's.
    ``settings`` are more of those of both boards.
    """
    with World(seed=3, speed=speed, folder=folder / "boards") as world:
        specs = [
            PackSpec(
                serial,
                n_cells=12 + 2 * address,
                soc=0.4 + 0.2 * address,
                address=address,
                record_every=RECORD_EVERY,
                settings=settings,
                program=(Rest(20.0), Discharge(10.0 * address, end_v=30.0)),
            )
            for address, serial in ADDRESSES.items()
        ]
        bus = world.add_bus("bay", 115200, [world.add_pack(spec) for spec in specs])
        world.start()
        world.clock.set_speed(None)
        world.run(until_s=until_s)
        world.clock.set_speed(speed)
        stop = threading.Event()
        runner = threading.Thread(target=world.run, kwargs={"stop": stop})
        runner.start()
        try:
            yield world, bus
        finally:
            stop.set()
            runner.join()
