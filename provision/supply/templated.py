"""Which values of an inventory hold templates, and which of these the files alone determine.

Looks at text only; rendering is Ansible's (reading.py).
"""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"\{\{\s*[A-Za-z_][\w.]*\s*\}\}")
"""A template that only names another variable: its value is in the files. All others may look elsewhere."""


def is_template(value: object) -> bool:
    """Tell whether text, or any text within a list or mapping, looks like a template."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(map(is_template, value.values()))
    return isinstance(value, list) and any(map(is_template, value))


def refers_only(value: object) -> bool:
    """Tell whether a value's templates only name other variables, so that files alone determine it."""
    if isinstance(value, str):
        return not is_template(_REFERENCE.sub("", value))
    if isinstance(value, dict):
        return all(map(refers_only, value.values()))
    return not isinstance(value, list) or all(map(refers_only, value))
