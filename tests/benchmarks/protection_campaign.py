"""No switch closed while a fault forbids it: a long Hypothesis campaign with the whole firmware.

    nice python tests/benchmarks/protection_campaign.py [STEPS] [SEED] [--chain]

Cells, sensors, currents, single faults of the bus, commands and restarts in any order
(``tests/firmware/hostile_pack.py``), with a BQ76952 or a chain of two LTC6813; 100000 steps unless
told otherwise, some half an hour. Prints
how long each hard limit was at most passed with its switch still closed. Ends with 1, and the
shortest sequence that does it, when anything does not hold.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "firmware"))

from hostile_pack import BOUND_MS, HostileChainMachine, HostileMachine, spare_the_collector
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

STEPS = 100_000
AT_ONCE = 100


def main(machine: type[HostileMachine], steps: int = STEPS, first_seed: int = 1) -> None:
    """Run until ``steps`` are done, each round with a seed of its own."""
    spare_the_collector()
    began = time.monotonic()
    number = first_seed
    rounds = settings(
        max_examples=50,
        stateful_step_count=AT_ONCE,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    while machine.steps < steps:
        run_state_machine_as_test(seed(number)(machine), settings=rounds)
        number += 1
        print(f"{machine.steps} steps, {time.monotonic() - began:.0f} s", flush=True)
    for name, ms in sorted(machine.worst_ms.items()):
        print(f"{name:20} {ms:5} ms of {BOUND_MS}")
    worst_ms = max(machine.worst_ms.values())
    print(f"figure: {machine.steps} steps, longest reaction {worst_ms} ms")


if __name__ == "__main__":
    arguments = [each for each in sys.argv[1:] if each != "--chain"]
    chosen = HostileMachine if arguments == sys.argv[1:] else HostileChainMachine
    main(chosen, *[int(argument) for argument in arguments])
