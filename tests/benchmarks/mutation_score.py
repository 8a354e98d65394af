"""How many small mistakes in the modules of safety and of the history a test notices.

    nice -n 15 .venv/bin/python tests/benchmarks/mutation_score.py

mutmut changes each function in every way it knows. It leaves what stands outside of functions, and
the thresholds of the protection stand there: so constants, masks, ``RANGES`` and the rows of the
diagnosis table are changed here, one number at a time (``mutation_constants.py``). Each mutant is
tried by the tests that reach it (``mutation_runner.py``), those that draw at random left out, so
that a run says the same as the last one.

What no test notices is printed with its module, function and change, and must stand in
``docs/mutation.md`` with the reason why that is no gap; the exit status says so. ``--module`` and
``--again`` narrow a run down while one works on it. The last line is the figure: noticed, in
percent of all mutants; a survivor that is explained is a survivor too.
"""

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import mutation_constants
from mutmut.mutation.file_mutation import mutate_file_contents

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutation"
DOCUMENT = ROOT / "docs" / "mutation.md"

# No randomness, no other interpreter, nothing that takes seconds.
PYTEST = [
    "-q", "-s", "-p", "no:cacheprovider", "-p", "no:pytest_embedded",
    "--tb=no", "-o", "timeout=30",
    "-m", "not hypothesis and not slow",
    "-k", "not micropython",
]  # fmt: skip

# Runs the whole firmware: too slow for every mutant.
_WHOLE = "tests/firmware/test_firmware_remote_settings.py"


_FIRMWARE = "tests/firmware/test_firmware_"
_NUMBERS = f"{_FIRMWARE}fault_numbers.py"
_RECORDS = "tests/common/test_common_history_records.py"

# Which tests a module is tried by: its own. {path from the root: tests}
TESTS = {
    "firmware/protection.py": (
        f"{_FIRMWARE}protection.py",
        f"{_FIRMWARE}switching.py",
        _NUMBERS,
    ),
    "firmware/diagnosis.py": (f"{_FIRMWARE}diagnosis.py", _NUMBERS),
    "firmware/fault_memory.py": (f"{_FIRMWARE}fault_memory.py",),
    "firmware/estimators/lifetime.py": (f"{_FIRMWARE}lifetime.py",),
    "firmware/plausibility.py": (f"{_FIRMWARE}plausibility.py", _NUMBERS),
    "firmware/switching.py": (f"{_FIRMWARE}switching.py",),
    "firmware/limits.py": (f"{_FIRMWARE}limits.py",),
    "firmware/settings.py": (f"{_FIRMWARE}settings.py",),
    "firmware/remote_settings.py": (
        f"{_FIRMWARE}remote_settings_steps.py",
        f"{_WHOLE}::test_the_numbers_in_the_firmware_are_those_of_the_codes",
    ),
    "firmware/storage.py": (f"{_FIRMWARE}storage.py", f"{_FIRMWARE}migration.py"),
    "firmware/fram.py": (f"{_FIRMWARE}fram.py",),
    "firmware/estimators/estimators_state.py": (f"{_FIRMWARE}migration.py",),
    "firmware/update.py": (
        f"{_FIRMWARE}update.py",
        f"{_FIRMWARE}update_edges.py",
        f"{_FIRMWARE}update_files.py",
        f"{_FIRMWARE}update_trial.py",
    ),
    "firmware/loader.py": (
        f"{_FIRMWARE}loader.py",
        f"{_FIRMWARE}update.py::test_the_gateways_format_and_the_loaders_are_one",
        f"{_FIRMWARE}update.py::test_the_numbers_are_those_of_the_codes",
    ),
    "firmware/rsa.py": (f"{_FIRMWARE}rsa.py",),
    "common/settings_codes.py": (
        f"{_WHOLE}::test_the_numbers_in_the_firmware_are_those_of_the_codes",
        f"{_WHOLE}::test_the_documentation_lists_settings_and_results_as_they_are",
    ),
    "common/history_records.py": (_RECORDS,),
    "firmware/history_file.py": (f"{_FIRMWARE}history_file.py",),
    "firmware/segments.py": (
        f"{_FIRMWARE}segments.py",
        f"{_FIRMWARE}segments_folder.py",
        f"{_FIRMWARE}history_flash.py::test_a_segment_is_left_when_the_largest_batch_might_not_fit",
        f"{_FIRMWARE}history_flash.py::test_the_oldest_goes_when_the_file_system_is_nearly_full",
        f"{_FIRMWARE}history_memory.py::test_a_batch_has_255_records_at_most",
    ),
    "firmware/history.py": (
        f"{_FIRMWARE}history_recorded.py",
        f"{_FIRMWARE}history_memory.py",
        f"{_FIRMWARE}history_flash.py",
        f"{_FIRMWARE}history_recovered.py",
        f"{_FIRMWARE}history.py",
    ),
    "common/hmac256.py": ("tests/common/test_common_hmac256.py",),
}


class Mutant(NamedTuple):
    """One change, and how ``mutation_runner.py`` makes it."""

    module: str  # path from the root
    function: str  # with its class, or the constant, or the row of a table
    change: str  # "old -> new"
    how: dict[str, str]

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by."""
        return self.module, self.function, self.change


# --- mutants of functions ------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Properties as a function each, for mutmut leaves what has a decorator."""
    return re.sub(
        r"    @property\n    def (\w+)\(self\)",
        r"    @property\n    def \1(self):\n        return self._\1_property()\n\n"
        r"    def _\1_property(self)",
        text,
    )


def _function(name: str) -> str:
    mangled = name.rsplit("__mutmut_", 1)[0]
    return mangled[2:] if mangled.startswith("x_") else ".".join(mangled[1:].strip("ǁ").split("ǁ"))


def _change(before: str, after: str) -> str:
    """The lines of a function in which two versions of it differ, in one line."""
    versions = [re.sub(r"\bx\w+__mutmut_\w+", "f", text).splitlines() for text in (before, after)]
    old, new = versions
    gone, come = [], []
    for tag, i, j, k, n in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            gone += old[i:j]
            come += new[k:n]
    lines = [" ".join(line.split("  #")[0].strip() for line in each) for each in (gone, come)]
    return " -> ".join(lines)


def of_functions(module: str) -> list[Mutant]:
    """mutmut's mutants of a module, which is written into this folder with all of them."""
    text = _plain((ROOT / module).read_text(encoding="utf-8"))
    made = mutate_file_contents(module, text)
    Path(module).write_text(made.code, encoding="utf-8")
    lines = made.code.splitlines()
    spans = made.line_span_by_function_name
    dotted = module[:-3].replace("/", ".")
    found = []
    for name in made.mutant_names:
        mangled = name.rsplit("__mutmut_", 1)[0]
        versions = [
            "\n".join(lines[span.start - 1 : span.end])
            for span in (spans[f"{mangled}__mutmut_orig"], spans[name])
        ]
        how = {"name": f"{dotted}.{name}", "function": f"{dotted}.{mangled}"}
        found.append(Mutant(module, _function(name), _change(*versions), how))
    return found


# --- a run ---------------------------------------------------------------------------------------


def _folder(module: str) -> Path:
    """A copy of what the tests need."""
    folder = BUILD / module.replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ours = shutil.ignore_patterns("__pycache__")
    for entry in ("common", "firmware", "sim", "gateway", "docs", "tests"):
        shutil.copytree(ROOT / entry, folder / entry, ignore=ours)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    text += '\n[tool.mutmut]\nsource_paths = ["common", "firmware"]\n'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def run(module: str, again: bool) -> list[tuple[Mutant, bool]]:
    """Every mutant of a module, and whether a test noticed it.

    With ``again`` what was noticed by the last run is not tried anew.
    """
    folder = _folder(module)
    kept = folder.with_suffix(".noticed.json")
    before = set()
    if again and kept.exists():
        before = {tuple(key) for key in json.loads(kept.read_text(encoding="utf-8"))}
    mutants = [Mutant(module, *each) for each in mutation_constants.of(module)]
    with contextlib.chdir(folder):  # mutmut reads its configuration there
        mutants += of_functions(module)
    mutants = _numbered(mutants)
    old = [m for m in mutants if m.key in before]
    mutants = [m for m in mutants if m.key not in before]
    (folder / "mutants.json").write_text(json.dumps([m.how for m in mutants]), encoding="utf-8")
    runner = ROOT / "tests" / "benchmarks" / "mutation_runner.py"
    command = [sys.executable, str(runner), "mutants.json", "results.json"]
    done = subprocess.run([*command, *PYTEST, *TESTS[module]], cwd=folder, check=False)
    if not (folder / "results.json").exists():
        raise SystemExit(f"{module}: no results (pytest said {done.returncode})")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found = [*((m, True) for m in old), *zip(mutants, results, strict=True)]
    kept.write_text(json.dumps([m.key for m, noticed in found if noticed]), encoding="utf-8")
    return found


def _numbered(mutants: list[Mutant]) -> list[Mutant]:
    """The same change may be made in a function more than once."""
    seen: dict[tuple[str, str, str], int] = {}
    found = []
    for m in mutants:
        seen[m.key] = n = seen.get(m.key, 0) + 1
        found.append(m._replace(change=f"{m.change} ({n})") if n > 1 else m)
    return found


# --- what is told --------------------------------------------------------------------------------


def explained() -> dict[tuple[str, str, str], str]:
    """The survivors of ``docs/mutation.md``: (module, function, change) and the reason."""
    found = {}
    module = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("### `"):
            module = line.split("`")[1]
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
            function, change, reason = [cell.replace("\\|", "|") for cell in cells]
            found[module, function.strip("`"), change.strip("`")] = reason
    return found


def tell(mutants: list[tuple[Mutant, bool]], wanted: list[str]) -> bool:
    """Print survivors and scores; whether each survivor is explained, and nothing else is."""
    reasons = explained()
    survivors = [m.key for m, noticed in mutants if not noticed]
    for key in survivors:
        print("" if key in reasons else "UNEXPLAINED", *key[:2], "|", key[2])
    gone = [key for key in reasons if key not in survivors and key[0] in wanted]
    for key in gone:
        print("NO SURVIVOR ANY MORE", *key[:2], "|", key[2])
    for module in wanted:
        each = [noticed for m, noticed in mutants if m.module == module]
        print(f"{module}: {sum(each)} of {len(each)}, {100 * sum(each) / len(each):.1f} %")
    noticed = sum(each for _m, each in mutants)
    unexplained = [key for key in survivors if key not in reasons]
    print(f"{noticed} of {len(mutants)} mutants noticed, {len(unexplained)} survivors unexplained")
    print(f"figure: {100 * noticed / len(mutants):.1f} %")
    return not unexplained and not gone


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", action="append", choices=TESTS)
    parser.add_argument("--again", action="store_true", help="what the last run did not notice")
    args = parser.parse_args()
    began_s = time.monotonic()
    mutants: list[tuple[Mutant, bool]] = []
    modules = args.module or list(TESTS)
    for module in modules:
        mutants += run(module, args.again)
    print(f"{time.monotonic() - began_s:.0f} s")
    sys.exit(0 if tell(mutants, modules) else 1)


if __name__ == "__main__":
    main()
