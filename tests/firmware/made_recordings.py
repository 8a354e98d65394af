"""Recordings of made-up cells, in the layouts of the public sets: for the desk's commands."""

import numpy as np

from common.profiles import GRID_BP, profile

GRID = np.array(GRID_BP) / 1e4
RATED_AH = 2.0


def ocv_v(soc):
    """Rested voltage of the made-up cells; near LCO."""
    return np.interp(soc, GRID, np.array(profile("lco").ocv_mv) / 1000)


def write_cycles(folder, cell, fade, ohm=0.05, cycles=12):
    """Full CC-CV charges and discharges in the layout of numbered steps, one a cycle."""
    rows = {"t_s": [], "current_a": [], "voltage_v": [], "cycle_index": [], "step": []}
    capacities = []
    for n in range(1, cycles + 1):
        capacity_ah = RATED_AH * (1 - fade * n)
        capacities.append(capacity_ah)
        t_s, soc = 0.0, 0.0

        def sample(dt_s, amps, step, n=n, capacity_ah=capacity_ah):
            nonlocal t_s, soc
            t_s += dt_s
            soc += amps * dt_s / 3600 / capacity_ah
            values = (t_s, amps, ocv_v(soc) + amps * ohm, n, step)
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)

        sample(1.0, 0.0, 1)
        while soc < 1 and ocv_v(soc) + 1.0 * ohm < 4.19:
            sample(20.0, 1.0, 2)
        amps = 1.0
        while amps > 0.01:
            amps = max(0.008, (4.19 - float(ocv_v(soc))) / ohm)
            sample(10.0, min(amps, 1.0), 4)
        sample(30.0, 0.0, 6)
        while soc > 0:
            sample(5.0, -2.0, 7)
        sample(30.0, 0.0, 9)
    arrays = {name: np.array(values) for name, values in rows.items()}
    np.savez(
        folder / f"{cell}.npz",
        cell_id=np.array(cell),
        nominal_ah=np.array(RATED_AH),
        cycle=np.arange(1, cycles + 1),
        capacity_ah=np.array(capacities),
        flags=np.zeros(cycles, int),
        **arrays,
    )


def write_pulses(folder, cells=16, rated_ah=10.0, ohm_ah=0.08):
    """A set of pulse tests: more resistance with less capacity, 5-50 % of rated."""
    soc = np.arange(1, 11) * 0.05
    capacity_ah = rated_ah * np.linspace(0.7, 1.0, cells)
    u_v = np.zeros((cells, 10, 21))
    for c in range(cells):
        ohm = ohm_ah / rated_ah * rated_ah / capacity_ah[c]
        rest = ocv_v(soc * rated_ah / capacity_ah[c])
        u_v[c, :, 0] = rest
        for k, rate in enumerate((0.5, 1.0, 1.5, 2.0, 2.5)[:2]):
            drop = rate * rated_ah * ohm
            turns = (0.9, 1, 0.1, 0, -0.9, -1, -0.1, 0)
            for j, turn in enumerate(turns):
                u_v[c, :, 1 + 8 * k + j] = rest + turn * drop
        u_v[c, :, 17:] = rest[:, None]
    np.savez(
        folder / "made_10ah.npz",
        cell_id=np.array([f"P{c}" for c in range(cells)]),
        nominal_ah=np.array(rated_ah),
        capacity_ah=capacity_ah,
        soc=soc,
        soc_real=np.tile(soc, (cells, 1)),
        pulse_width_s=np.array(5.0),
        u_v=u_v,
    )


def write_drives(folder, ohm=0.03):
    """A slow discharge and two drives of cells without lags."""
    draw = np.random.default_rng(1)
    tests = {"25C_C20_OCV": np.full(1200, -RATED_AH / 20)}
    for name in ("25C_one", "25C_two"):
        tests[name] = np.repeat(draw.uniform(-2.5, 1.0, 150), 40)
    for name, drawn_a in tests.items():
        dt_s = 60.0 if "OCV" in name else 1.0
        soc = 1 + np.cumsum(drawn_a) * dt_s / 3600 / RATED_AH
        keep = soc > 0
        current_a, soc = drawn_a[keep], soc[keep]
        np.savez(
            folder / f"{name}.npz",
            cell_id=np.array("D"),
            nominal_ah=np.array(RATED_AH),
            t_s=np.arange(len(soc)) * dt_s,
            current_a=current_a,
            voltage_v=ocv_v(soc) + current_a * ohm,
            temperature_c=np.full(len(soc), 25.0),
            ah=(soc - 1) * RATED_AH,
            soc_ref=soc,
        )


def write_curves(folder, cell, ohm=0.05, curves=10, worn=0.8, rated_ah=1.0, from_v=0.0):
    """Charge curves Q(V) at 1C on a grid of 10 mV; the capacity falls evenly to ``worn``.

    Below ``from_v`` nothing was recorded.
    """
    volts = np.arange(2.80, 4.195, 0.01)
    shares = np.linspace(1.0, worn, curves)
    ocv = ocv_v(GRID)
    charge_ah = []
    for k, share in enumerate(shares):
        soc = np.interp(volts - rated_ah * ohm * (1 + 0.3 * (1 - share)), ocv, GRID)
        charge_ah.append(soc * share * rated_ah * (1 + 0.002 * np.sin(3.0 * k)))
    charge_ah = np.where(volts >= from_v, charge_ah, np.nan)
    np.savez(
        folder / f"{cell}.npz",
        cell_id=np.array(cell),
        nominal_ah=np.array(rated_ah),
        voltage_v=volts,
        charge_ah=charge_ah,
        curve=np.arange(1, curves + 1),
        capacity_ah=shares * rated_ah,
    )


def write_flat_drive(folder, name="drive", seconds=7200, ohm=0.02):
    """Both branches of a flat chemistry, and one drive on its plateau, with a gap of a minute."""
    middle_v = np.array(profile("lfp").ocv_mv) / 1000
    np.savez(
        folder / "ocv_curve.npz",
        soc=GRID,
        cell_id=np.array("F"),
        nominal_ah=np.array(RATED_AH),
        ocv_charge_v=middle_v + 0.01,
        ocv_discharge_v=middle_v - 0.01,
    )
    draw = np.random.default_rng(2)
    current_a = np.repeat(draw.uniform(-2.0, 1.4, seconds // 40), 40)
    t_s = np.arange(len(current_a), dtype=float)
    t_s[len(t_s) // 3 :] += 60.0
    dt_s = np.diff(t_s, prepend=-1.0)
    soc = 0.7 + np.cumsum(current_a * dt_s) / 3600 / RATED_AH
    np.savez(
        folder / f"{name}.npz",
        cell_id=np.array("F"),
        nominal_ah=np.array(RATED_AH),
        t_s=t_s,
        current_a=current_a,
        voltage_v=np.interp(soc, GRID, middle_v) + current_a * ohm,
        ah=(soc - 0.7) * RATED_AH,
        soc_ref=soc,
    )


def write_trains(folder, name="made_10ah", cells=12, rated_ah=10.0, ohm_ah=0.08):
    """Pulse trains of three widths; of each cell two tests on the grid and one at a random SOC."""
    soc = np.tile((0.3, 0.5, 0.41), cells)
    capacity_ah = np.repeat(rated_ah * np.linspace(0.7, 1.0, cells), 3)
    rest_v = ocv_v(soc * rated_ah / capacity_ah)
    u_v = np.zeros((3, 3 * cells, 21))
    for width, grown in enumerate((0.6, 0.8, 1.0)):
        u_v[width, :, 0] = rest_v
        for pulse in range(5):
            sign = 1 - 2 * (pulse % 2)
            drop_v = sign * 0.5 * (1 + pulse // 2) * ohm_ah * rated_ah / capacity_ah
            for turn, share in enumerate((0.5, grown, grown - 0.5, 0.02 * grown)):
                u_v[width, :, 1 + 4 * pulse + turn] = rest_v + share * drop_v
    np.savez(
        folder / f"{name}.npz",
        cell_id=np.repeat([f"T{c}" for c in range(cells)], 3),
        nominal_ah=np.array(rated_ah),
        capacity_ah=capacity_ah,
        soc=soc,
        random_soc=np.tile((0, 0, 1), cells),
        pulse_width_s=np.array((0.03, 1.0, 5.0)),
        u_v=u_v,
    )


def write_steps(file, ohm, rated_ah=33.1, seconds=400, still=False, **arrays):
    """Steps of the current, 4 s long, read twice a second, with a gap in the middle."""
    t_s = np.arange(0.0, seconds, 0.5)
    current_a = np.where(t_s // 4 % 2 == 1, 0.0 if still else rated_ah / 2, 0.0)
    t_s[len(t_s) // 2 :] += 60.0
    np.savez(
        file,
        cell_id=np.array("S"),
        nominal_ah=np.array(rated_ah),
        t_s=t_s,
        current_a=current_a,
        voltage_v=3.7 + current_a * ohm,
        **arrays,
    )
