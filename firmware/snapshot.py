"""What is known about the pack this second: integers, and which of them may be trusted."""

from array import array

from common.models import N_TEMPERATURES
from common.mp import const

UNKNOWN_DC = const(-0x8000)  # a temperature that is not there
UNKNOWN_MV = const(-1)  # a voltage that is not measured


class Snapshot:
    """One measurement cycle, filled in place by the AFE and by ``measurement``.

    Only when ``valid`` do the figures belong to this cycle; otherwise they are old, but for
    voltages, current, temperatures and switches when ``looked``.
    """

    def __init__(self, n_cells: int) -> None:
        self.n_cells = n_cells
        # stamped by measurement
        self.seq = 0  # counts cycles since boot, from 1
        self.uptime_s = 0  # since boot ...
        self.uptime_ms = 0  # ... and the milliseconds on top, 0..999
        self.dt_ms = 0  # since the last valid cycle
        self.since_ms = 0  # since the last cycle or look
        self.valid = False  # this cycle was read in full
        self.looked = False  # ... or at least voltages, current and temperatures are of now
        self.faults = 0  # bits of codes.Fault found while measuring
        # filled by the AFE
        self.cell_mv = array("H", bytes(2 * n_cells))
        self.stack_mv = 0  # measured across the whole stack
        self.load_mv = UNKNOWN_MV  # behind the switches
        self.current_ma = 0  # positive when charging, this moment
        self.delta_uah = 0  # charge that passed since the last read, positive when charging
        self.temp_dc = array("h", bytes(2 * N_TEMPERATURES))  # UNKNOWN_DC where there is none
        self.fet_dc = UNKNOWN_DC
        self.afe_dc = UNKNOWN_DC  # the chip's own temperature
        self.switches = 0  # bits of codes.Switch that are truly closed
        self.balancing = 0  # bit per cell that is truly being bled
        self.afe_safety = 0  # bits as in the BQ76952's Safety Status A | B << 8 | C << 16
        self.afe_failed = 0  # bits as in its PF Status A | B << 8 | C << 16 | D << 24
        self.open_wires = 0  # how many sense wires the chip knows to be open
        self.afe_lost_settings = False  # the chip was reset and wants its settings again
        # derived by measurement
        self.sum_mv = 0
        self.min_mv = 0
        self.max_mv = 0
        self.min_cell = 0  # index of the lowest cell
        self.max_cell = 0
        self.min_dc = UNKNOWN_DC  # coldest and hottest cell sensor
        self.max_dc = UNKNOWN_DC
        self.rise_dc = 0  # of the sensor that got warmer fastest, within the last 30 to 60 s
