"""How many days of history fit a board's flash: a 16 cell pack that is driven all day.

    python tests/benchmarks/history_size.py [--days 2] [--rest]

The load jumps every 5 to 90 s between a discharge of 1.5 C and a charge of 0.7 C; cells, sensors
and current are measured with noise; a reading is kept each minute, as by default, and the charge
since the last reading, SOC, and some events with it. With ``--rest`` the pack works three hours a
day. What is counted is flash: whole blocks of 4 kB, heads, CRCs and the chain's values in them.
The last line: days that fit into the default ``history_kb``.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))  # else folders of tests hide the packages

from history_bench import UTC_S, Bench

from sim.pack import Demand, ModelledPack, PackSpec

N_CELLS = 16
RATED_AH = 50.0
CELL_NOISE_MV = 1.0
CURRENT_NOISE_MA = 20.0
TEMPERATURE_NOISE_DC = 0.7


class Drive:
    """Pack, load and what the board measures of them."""

    def __init__(self, root: Path, seed: int, rests: bool) -> None:
        self.rng = np.random.default_rng(seed)
        spec = PackSpec("SIZE", n_cells=N_CELLS, rated_ah=RATED_AH, soc=0.7, soh_spread=0.02)
        self.pack = ModelledPack(spec, self.rng)
        self.bench = Bench(root, N_CELLS)
        self.rests = rests
        self.until_s = 0.0

    def load(self) -> None:
        """Choose the next current; whoever is nearly empty is charged more, and the reverse."""
        pack, rng = self.pack, self.rng
        if pack.time_s < self.until_s:
            return
        self.until_s = pack.time_s + rng.uniform(5, 90)
        soc = float(pack.cells.soc.mean())
        bias = 0.4 - soc  # towards the middle
        current_a = RATED_AH * float(np.clip(rng.normal(bias, 0.5), -1.5, 0.7))
        if self.rests and pack.time_s % 86400 > 3 * 3600:
            current_a = 0.0
        pack.demand = Demand(current_a, N_CELLS * 4.15)

    def minute(self) -> None:
        """60 s of the pack, and one cycle of the board at their end."""
        pack, s, rng = self.pack, self.bench.snapshot, self.rng
        charge_uah = 0.0
        for _ in range(60):
            self.load()
            pack.step(1.0, True, True)
            charge_uah += pack.current_a / 3600 * 1e6
        s.seq += 60
        s.uptime_s += 60
        s.valid = True
        s.delta_uah = round(charge_uah)
        s.current_ma = round(1000 * pack.current_a + rng.normal(0, CURRENT_NOISE_MA))
        noise_mv = rng.normal(0, CELL_NOISE_MV, N_CELLS)
        for i in range(N_CELLS):
            s.cell_mv[i] = round(1000 * float(pack.cell_v[i]) + noise_mv[i])
        warm_c = [*pack.temperatures_c, *pack.temperatures_c][:2]
        for i, value_c in enumerate(warm_c):
            s.temp_dc[i] = round(10 * value_c + rng.normal(0, TEMPERATURE_NOISE_DC))
        s.fet_dc = round(10 * pack.fet_c + rng.normal(0, TEMPERATURE_NOISE_DC))
        s.afe_dc = round(10 * pack.die_c + rng.normal(0, TEMPERATURE_NOISE_DC))
        s.min_mv, s.max_mv = min(s.cell_mv), max(s.cell_mv)
        s.switches = 3
        bench = self.bench
        bench.estimators.soc_bp = round(10000 * float(pack.cells.soc.mean()))
        if rng.random() < 1 / 720:
            bench.protection.active ^= 1 << 3
        if rng.random() < 1 / 720:
            bench.history.command(2, 1)
        history = bench.history
        history.cycle(s, bench.protection, bench.estimators, UTC_S + s.uptime_s)
        for _ in range(3):
            history.store(s.uptime_s)


def measure(days: float, seed: int, rests: bool = False) -> tuple[float, float]:
    """Bytes of flash a reading, and the days that fit."""
    with tempfile.TemporaryDirectory() as root:
        drive = Drive(Path(root), seed, rests)
        for _ in range(round(days * 1440)):
            drive.minute()
        folder = drive.bench.history._folder
        # whole segments only: the last one is not full
        readings = sum(n < folder.firsts[-1] for n in drive.bench.read().readings())
        used = folder.used_bytes() - (folder.sizes[-1] + 4095) // 4096 * 4096
        per_reading = used / readings
        return per_reading, drive.bench.settings.history_kb * 1024 / (per_reading * 1440)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rest", action="store_true")
    args = parser.parse_args()
    per_reading, days = measure(args.days, args.seed, args.rest)
    print(f"{per_reading:.1f} bytes of flash a reading of {N_CELLS} cells, all told")
    print(f"figure: {days:.1f} days")


if __name__ == "__main__":
    main()
