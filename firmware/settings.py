"""A pack's settings, checked as a set against the hard limits of its cell profile."""

from common.profiles import profile as find_profile


class SettingsError(ValueError):
    """A setting that cannot be; the message names it, its value and the way out."""


class Settings:
    """What one pack is and within which limits it may work. All limits in integers."""

    def __init__(
        self, serial: str, n_cells: int, profile: str, rated_mah: int, address: int = 1
    ) -> None:
        self.serial = serial
        self.n_cells = n_cells
        self.profile = find_profile(profile)
        self.rated_mah = rated_mah
        self.address = address  # Modbus unit, 1..247
        self.baudrate = 115200
        self.shunt_uohm = 500
        self.period_ms = 1000  # of measurement and protection
        self.record_every = 10  # cycles between two readings kept for recall
        self.cov_mv = self.profile.cell_max_mv  # may be tighter, never looser
        self.cov_release_mv = self.profile.cell_full_mv - 50
        self.cuv_mv = self.profile.cell_empty_mv
        self.cuv_release_mv = self.profile.cell_empty_mv + 200
        self.occ_ma = rated_mah * self.profile.charge_c10 // 10
        self.ocd_ma = rated_mah * self.profile.discharge_c10 // 10
        self.otc_dc = self.profile.charge_max_dc
        self.utc_dc = self.profile.charge_min_dc
        self.otd_dc = self.profile.discharge_max_dc
        self.utd_dc = self.profile.discharge_min_dc
        self.otf_dc = 900
        self.balance_start_mv = 15  # above the lowest cell
        self.balance_min_mv = self.profile.cell_full_mv - 400
