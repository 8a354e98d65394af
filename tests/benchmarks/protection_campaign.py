"""No switch closed while a fault forbids it: a long Hypothesis campaign with the whole firmware.

    nice python tests/benchmarks/protection_campaign.py [STEPS] [SEED]

Cells, sensors, currents, single faults of the bus, commands and restarts in any order
(``tests/firmware/hostile_pack.py``); 100000 steps unless told otherwise, some half an hour. Prints
how long each hard limit was at most passed with its switch still closed. Ends with 1, and the
shortest sequence that does it, when anything does not hold.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "firmware"))

from hostile_pack import BOUND_MS, HostileMachine, spare_the_collector
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

STEPS = 100_000
AT_ONCE = 100


def main(steps: int = STEPS, first_seed: int = 1) -> None:
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
    while HostileMachine.steps < steps:
        run_state_machine_as_test(seed(number)(HostileMachine), settings=rounds)
        number += 1
        print(f"{HostileMachine.steps} steps, {time.monotonic() - began:.0f} s", flush=True)
    for name, ms in sorted(HostileMachine.worst_ms.items()):
        print(f"{name:20} {ms:5} ms of {BOUND_MS}")
    worst_ms = max(HostileMachine.worst_ms.values())
    print(f"figure: {HostileMachine.steps} steps, longest reaction {worst_ms} ms")


if __name__ == "__main__":
    main(*[int(argument) for argument in sys.argv[1:]])
