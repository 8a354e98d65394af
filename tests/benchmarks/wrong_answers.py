"""Wrong values accepted from a line that spoils a third of what it carries.

python tests/benchmarks/wrong_answers.py [exchanges]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "gateway"))

from gateway_fakes import run_virtual
from spoiled_line import spoiled_exchanges


def main() -> None:
    exchanges = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    accepted, refused, wrong, faults, counters = run_virtual(spoiled_exchanges(exchanges))
    print(f"{counters.exchanges} exchanges; spoiled: {dict(faults.counts)}")
    print(f"{accepted} blocks accepted, {refused} refused")
    print(f"figure: {len(wrong)} wrong values")


if __name__ == "__main__":
    main()
