"""How long the switches of a loaded pack stay closed after its board's interpreter was killed.

python tests/benchmarks/dead_board.py

Boards with the real firmware in MicroPython, each killed (SIGKILL) at another moment of its
measurement cycle and never started again. Nobody but the chip is left to open the switches.
"""

import tempfile
from pathlib import Path

from sim.bench import Discharge
from sim.pack import Pack, PackSpec
from sim.world import World

BOARDS = 6
CLOSED_BY_S = 30.0
GRAIN_S = 0.05
LONGEST_S = 30.0


def is_closed(world: World, pack: Pack) -> bool:
    truth = world.truth(pack)
    return truth["charge_fet"] or truth["discharge_fet"]


def opening_times_s(folder: Path, boards: int = BOARDS) -> list[float]:
    """Virtual seconds from each kill to both switches open; ``inf`` where they stay closed."""
    with World(seed=5, folder=folder) as world:
        packs = [
            world.add_pack(
                PackSpec(
                    f"KILLED-{i}",
                    n_cells=8,
                    soc=0.6,
                    address=1 + i,
                    program=(Discharge(10.0, end_v=20.0),),
                )
            )
            for i in range(boards)
        ]
        for pack in packs:
            world.station(pack).grain_us = int(GRAIN_S * 1e6)
        world.start()
        world.run(until_s=CLOSED_BY_S)
        if not all(is_closed(world, pack) for pack in packs):
            raise RuntimeError("the switches have not closed")
        killed_s = {}
        for i, pack in enumerate(packs):
            world.run(until_s=CLOSED_BY_S + i / boards)
            world.kill_board(pack)
            killed_s[i] = world.time_s
        opened_s = dict.fromkeys(killed_s, float("inf"))
        while world.time_s < CLOSED_BY_S + LONGEST_S and float("inf") in opened_s.values():
            world.run(until_s=world.time_s + GRAIN_S)
            for i, pack in enumerate(packs):
                if opened_s[i] == float("inf") and not is_closed(world, pack):
                    opened_s[i] = world.time_s
        return [opened_s[i] - killed_s[i] for i in killed_s]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        times_s = opening_times_s(Path(folder))
    print("killed at another moment of the cycle each:", [round(t, 2) for t in times_s])
    print(f"figure: {max(times_s):.2f} s")


if __name__ == "__main__":
    main()
