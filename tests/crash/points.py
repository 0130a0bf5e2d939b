"""Where a command is killed. Points are steps, never times: what the journal or the ledger says, or the command itself.

A kill lands at its point or a moment later: while a point is being noticed the command goes on. What it was doing when
it died is therefore read from the journal afterwards, and one that got past its point is killed at the next line.
"""

from __future__ import annotations

from dataclasses import dataclass

from stacks.roles import BY_NAME
from tests.crash.controller import Line, News
from tests.crash.halting import HALTED

RANKS = {role: rank for rank, role in enumerate(BY_NAME)}


@dataclass(frozen=True)
class Point:
    """A place in `book` or `release`. `halt` is one at which the command stands still by itself.

    Where `full`, the point is for the matrix only, not for each run of the tests.
    """

    name: str
    halt: str = ""
    role: str = ""
    step: str = ""
    verb: str = "apply"
    says: str = ""
    stack: bool | None = None
    full: bool = False

    def reached(self, news: News) -> str:
        """Say where the command stands, if it is there or past it."""
        if self.stack is news.stack:
            return "the stack is there" if news.stack else "the stack is gone"
        for said in news.said:
            if said.startswith(HALTED) or (self.says and self.says in said):
                return said.strip()
        for line in news.journal if self.role else ():
            if self._here(line) or self._past(line):
                return " ".join(str(line.get(key, "")) for key in ("role", "verb", "event", "step", "state")).strip()
        return ""

    def _here(self, line: Line) -> bool:
        mine = (line.get("verb"), line.get("role")) == (self.verb, self.role)
        return mine and (str(line.get("step", "")).startswith(self.step) if self.step else line["event"] == "start")

    def _past(self, line: Line) -> bool:
        """The same host is done with the role; another host may be far behind."""
        if line.get("verb") != self.verb or line.get("role") not in RANKS:
            return False
        ahead = RANKS[line["role"]] - RANKS[self.role]
        return ahead * (1 if self.verb == "apply" else -1) > 0 or (ahead == 0 and line["event"] == "done")


def _arrow(when: str, state: str, *, full: bool = False) -> Point:
    return Point(name=f"{when} {state}", halt=f"{when} {state}", full=full)


def _made(role: str, step: str = "", *, full: bool = False) -> Point:
    return Point(name=f"{role} apply: {step or 'begins'}", role=role, step=step, full=full)


def _removed(role: str, step: str = "", *, full: bool = False) -> Point:
    return Point(name=f"{role} remove: {step or 'begins'}", role=role, step=step, verb="remove", full=full)


BOOK = (
    _arrow("after", "REQUESTED"),
    _arrow("after", "PLANNED"),
    Point(name="claims held, one of two secrets written", halt="file mesh.secret"),
    _arrow("after", "CLAIMED"),
    _arrow("after", "PROVISIONING", full=True),
    Point(name="stack made", stack=True, full=True),
    _made("identity", full=True),
    _made("identity", "key"),
    _made("baseline", "user"),
    _made("engine", "data-root", full=True),
    _made("engine", "unit timelock-docker"),
    _made("engine", "pull"),
    _made("firewall", "file", full=True),
    _made("firewall", "table"),
    _made("mesh", "file", full=True),
    _made("mesh", "unit"),
    _made("image", "image", full=True),
    _made("ray", "ray"),
    Point(name="acceptance under way", says="acceptance: "),
    _arrow("before", "ACTIVE"),
)
RELEASE = (
    _arrow("after", "CLOSING"),
    _removed("ray", "ray"),
    _removed("image", full=True),
    _removed("mesh", "unit"),
    _removed("mesh", "directory", full=True),
    _removed("firewall", "file"),
    _removed("firewall", "table", full=True),
    _removed("engine", "unit timelock-docker"),
    _removed("engine", "data-root"),
    _removed("baseline", "user", full=True),
    _removed("identity", "key"),
    Point(name="stack being removed", stack=False, full=True),
    _arrow("before", "SETTLED"),
    _arrow("after", "SETTLED", full=True),
    _arrow("before", "RELEASED"),
)


def named(points: tuple[Point, ...], name: str) -> Point:
    """The point of that name."""
    return next(point for point in points if point.name == name)
