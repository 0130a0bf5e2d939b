"""Text from templates/: a name that is not given is an error, `| sh` quotes for the shell."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

import jinja2


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sh"] = lambda value: shlex.quote(str(value))
    return environment


def render(name: str, **values: object) -> str:
    """Return the template `name` filled with `values`."""
    return _environment().get_template(name).render(**values)
