"""The cell profiles that ship, and of which recordings each is made.

    python -m firmware.tools.ship DIR

writes ``common/cells/*.py`` anew from the folder of all recordings; only ``nmc`` and
``lfp``, which are computed and not fitted, are written by hand. Limits given here are tighter
than the chemistry's: none is beyond what the recorded cells were themselves taken to.
"""

import sys
from dataclasses import dataclass, replace
from importlib import import_module, invalidate_caches, reload
from pathlib import Path

from common.profiles import module_name, profile, profile_crc
from firmware.tools.calibrate import PARTS, Calibration
from firmware.tools.profile_file import Fitted, as_module

PACKAGE = "common.cells"


@dataclass(frozen=True)
class Recipe:
    """One shipped profile: ``parts`` are fitted to ``train``, the rest is of ``base``."""

    name: str
    train: str
    base: str
    parts: tuple[str, ...]
    limits: tuple[tuple[str, int], ...] = ()
    pulse: str | None = None  # module of models that stand


_LEAF = (("cell_empty_mv", 3000), ("cell_min_mv", 2700), ("charge_c10", 5))
# in the order in which one is the base of another
RECIPES = (
    Recipe("lco", "calce_cs2", "lco", ("ocv", "resistance")),
    Recipe("lco-cs2", "calce_cs2", "lco", ("ocv", "windows", "resistance")),
    Recipe("lco-18650", "nasa_pcoe", "lco", ("ocv", "windows"), (("charge_c10", 7),)),
    Recipe("lco-kokam", "oxford", "lco", ("ocv", "windows")),
    Recipe("nca", "panasonic_18650pf", "nca", ("circuit", "ocv", "resistance")),
    Recipe("lmo", "nissan_leaf", "lmo", ("ocv", "resistance"), _LEAF),
    Recipe("lfp-1.2ah", "lfp_flat_soc", "lfp", ("circuit", "ocv", "resistance")),
    Recipe(
        "lmo-10ah", "pulsebat/lmo_10ah.npz", "lmo", ("ocv", "resistance"), (), "pulse_lmo_10ah"
    ),
    Recipe(
        "nmc-21ah", "pulsebat/nmc_21ah.npz", "nmc", ("ocv", "resistance"), (), "pulse_nmc_21ah"
    ),
    Recipe(
        "lfp-20ah", "pulsebat_lfp/lfp_20ah.npz", "lfp-1.2ah", ("ocv", "resistance"), (),
        "pulse_lfp_20ah_trains",
    ),
    Recipe(
        "lfp-35ah", "pulsebat/lfp_35ah.npz", "lfp-1.2ah", ("ocv", "resistance"), (),
        "pulse_lfp_35ah",
    ),
    Recipe(
        "lfp-68ah", "pulsebat_lfp/lfp_68ah.npz", "lfp-1.2ah", ("ocv", "resistance"), (),
        "pulse_lfp_68ah_trains",
    ),
)  # fmt: skip


def fitted(recipe: Recipe, folder: Path) -> Fitted:
    """The profile of a recipe, from the folder of all recordings."""
    without = [part for part in PARTS if part not in recipe.parts]
    work = Calibration(folder / recipe.train, profile(recipe.base), without)
    made = work.fit(recipe.name, recipe.limits, PACKAGE)
    missing = [part for part in recipe.parts if work.notes[part].startswith("not fitted")]
    if missing:
        raise ValueError(f"{recipe.name}: " + "; ".join(work.notes[part] for part in missing))
    if recipe.pulse is None:
        return made
    module = import_module(f"{PACKAGE}.{recipe.pulse}")
    models = {name: value for name, value in vars(module).items() if name.startswith("MODEL")}
    return replace(made, pulse=models, pulse_module=module.__name__)


def main(folder: Path) -> None:
    """Write all modules."""
    cells = Path(import_module(PACKAGE).__file__ or "").parent
    for recipe in RECIPES:
        made = fitted(recipe, folder)
        file = cells / f"{module_name(recipe.name)}.py"
        file.write_text(as_module(made), encoding="utf-8")
        invalidate_caches()
        reload(import_module(f"{PACKAGE}.{file.stem}"))  # the next one's base may be it
        print(f"{recipe.name:10} {profile_crc(made.profile()):08x}  {made.ocv.made_of}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
