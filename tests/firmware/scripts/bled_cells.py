"""Runs on both interpreters: which of 72 cells are chosen, and what is counted of them."""

from array import array

from core_fakes import healthy, nmc, set_cells

from firmware.balancing import Balancing
from firmware.estimators.estimators import Estimators

N = 72
PACKS = ((71, 63, 32, 31), (30, 29, 28, 27), (0, 1, 2, 3), (70, 71, 64, 65), (33, 34, 35, 36))

for high in PACKS:
    settings = nmc(N)
    snapshot = healthy(N)
    set_cells(snapshot, [4100 + i if i in high else 4000 for i in range(N)])
    balancing = Balancing(settings)
    even = array("h", bytes(2 * N))
    snapshot.balancing = max([balancing.choose(snapshot, 3, even) for _ in range(10)])
    differences = Estimators(settings).differences
    for _ in range(30):
        differences.update(snapshot, 0)
    print(hex(snapshot.balancing), *[i for i in range(N) if differences.bled_uah[i]])
