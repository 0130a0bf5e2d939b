"""Every skip is listed with its reason at the end of the run; with CI=true a skipped lab test fails it.

A machine that cannot run a test must say so aloud. In CI the lab is required, so there a skip is a failure.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # workers of xdist send their reports to the one process that counts
        config.pluginmanager.register(Skips(strict=os.environ.get("CI") == "true"), "timelock-skips")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lab tests share one machine: with xdist they run in one worker, one after another."""
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.xdist_group("lab"))


@dataclass(eq=False)
class Skips:
    strict: bool
    reasons: dict[str, str] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report, required="lab" in report.keywords)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that skips itself hides its marks: it counts as required."""
        if report.skipped:
            self._note(report, required=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.strict and self.required and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.lines():
            terminalreporter.write_line(line)

    def lines(self) -> Iterator[str]:
        if self.reasons:
            yield f"Skipped ({len(self.reasons)}):"
            yield from (f"  {test}: {reason}" for test, reason in sorted(self.reasons.items()))
        if self.strict and self.required:
            tests = ", ".join(sorted(self.required))
            yield f"FAILED: CI=true and {len(self.required)} of these must not be skipped: {tests}"

    def _note(self, report: pytest.TestReport | pytest.CollectReport, *, required: bool) -> None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        self.reasons[report.nodeid] = reason.removeprefix("Skipped: ")
        if required:
            self.required.add(report.nodeid)
