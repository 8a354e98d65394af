"""Tries mutants: pytest collects once, then each mutant is one forked process.

Started by ``mutation_score.py`` in a folder whose modules hold mutmut's mutants behind
trampolines:

    python mutation_runner.py mutants.json results.json PYTEST_ARGUMENTS...

mutmut's own runner gives each mutant a new pytest, which takes many times as long as the tests.

``mutants.json`` is a list. Of a mutant there is either ``name``, mutmut's, with the ``function``
it is in, or ``module``, ``target`` and ``code``: an assignment that is made anew with ``code`` as
its value, everywhere the name was imported. ``results.json`` is a list of whether a test failed.

First all tests run without a mutant and say which functions they reach. A mutant of a function is
tried by the tests that reach it, the fastest first, up to the first that fails; one of a constant
by all, those first in whose name ``first`` stands.
"""

import ast
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state

_NOT_MADE = 99  # an exit status


def _imports_it(module: ModuleType, name: str, target: str) -> bool:
    """Whether a module has ``target`` from the module called ``name``."""
    file = getattr(module, "__file__", None)
    if not file or not Path(file).is_relative_to(Path.cwd()):
        return False
    names: list[str] = []
    text = Path(file).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text if name in text and target in text else "")):
        if isinstance(node, ast.ImportFrom) and node.module == name:
            names += [each.name for each in node.names]
    return target in names


class Runner:
    """A plugin that tries mutants in place of the test run."""

    def __init__(self, mutants: list[dict[str, str]], results: Path) -> None:
        self.mutants = mutants
        self.results = results
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be collected")
        reached = self._reached(session)
        noticed = []
        for mutant in self.mutants:
            items = session.items
            if "function" in mutant:
                items = [item for item in items if mutant["function"] in reached[item.nodeid][1]]
            first = mutant.get("first", "")
            items = sorted(
                items, key=lambda item: (first not in item.nodeid, reached[item.nodeid][0])
            )
            if not len(noticed) % 100:
                sys.stderr.write(f"{len(noticed)} of {len(self.mutants)} tried\n")
            noticed.append(bool(items) and self._forked(partial(self._try, mutant, items)) != 0)
        # What would make every test fail must not pass for mutants that were noticed.
        if self._forked(partial(self._try, {"name": ""}, session.items)):
            raise SystemExit("at the end a test fails without a mutant")
        self.results.write_text(json.dumps(noticed), encoding="utf-8")
        return True

    def _forked(self, act: Callable[[], bool]) -> int:
        """The exit status of a process of its own: 0 when all is well."""
        temporary = tempfile.mkdtemp(prefix="mutant-")
        child = os.fork()
        if not child:
            status = 1
            try:
                os.environ["PYTEST_DEBUG_TEMPROOT"] = temporary
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, 1)
                status = 0 if act() else 1
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == _NOT_MADE:
            raise RuntimeError("a constant cannot be assigned anew")
        shutil.rmtree(temporary, ignore_errors=True)
        return status

    def _reached(self, session: pytest.Session) -> dict[str, tuple[float, list[str]]]:
        """Of each test: how long it takes, in s, and which functions it reaches."""
        file = self.results.with_suffix(".reached")

        def look() -> bool:
            set_mutant_under_test("stats")
            found = {}
            for item in session.items:
                began_s = os.times().elapsed
                state()._stats.clear()
                self._protocol(item)
                if self.failed:
                    sys.stderr.write(f"{item.nodeid} fails without a mutant\n")
                    return False
                found[item.nodeid] = (os.times().elapsed - began_s, sorted(state()._stats))
            file.write_text(json.dumps(found), encoding="utf-8")
            return True

        if self._forked(look):
            raise SystemExit("a test fails without a mutant")
        known: dict[str, tuple[float, list[str]]] = json.loads(file.read_text(encoding="utf-8"))
        return known

    def _protocol(self, item: pytest.Item) -> None:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

    def _try(self, mutant: dict[str, str], items: list[pytest.Item]) -> bool:
        if "name" in mutant:
            set_mutant_under_test(mutant["name"])
        else:
            try:
                self._assign(mutant["module"], mutant["target"], mutant["code"])
            except Exception:
                os._exit(_NOT_MADE)
        for item in items:
            self._protocol(item)
            if self.failed:
                return False
        return True

    def _assign(self, name: str, target: str, code: str) -> None:
        module = sys.modules[name]
        value = eval(code, module.__dict__)
        owner, _, attribute = target.rpartition(".")
        if owner:
            setattr(getattr(module, owner), attribute, value)
            return
        for other in list(sys.modules.values()):
            if _imports_it(other, name, target):
                setattr(other, target, value)
        setattr(module, target, value)


def main() -> None:
    """See the head of this file."""
    mutants, results, *arguments = sys.argv[1:]
    runner = Runner(json.loads(Path(mutants).read_text(encoding="utf-8")), Path(results))
    set_mutant_under_test("")
    sys.exit(pytest.main(arguments, plugins=[runner]))


if __name__ == "__main__":
    main()
