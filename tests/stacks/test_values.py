from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pulumi.provider.experimental.property_value import PropertyValue

from stacks.values import differences, marked, plain, secrets

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_survives_pulumi(value: object) -> None:
    assert plain(marked(value)) == value
    assert plain(PropertyValue.unmarshal(marked(value).marshal())) == value


@given(JSON)
def test_a_value_does_not_differ_from_itself(value: object) -> None:
    assert list(differences(value, value, "params")) == []


def test_differences_are_named_by_path() -> None:
    old = {"a": {"b": [1, {"c": 2}]}, "d": 1, "e": [1]}
    new = {"a": {"b": [1, {"c": 3}]}, "d": 1, "e": [1, 2], "f": None, "g": 0}
    assert list(differences(old, new, "params")) == ["params.a.b[1].c", "params.e", "params.g"]


def test_secrets_are_found_however_deep() -> None:
    hidden = PropertyValue({"key": PropertyValue("s1", is_secret=True), "list": PropertyValue([PropertyValue("open")])})
    whole = PropertyValue({"inner": PropertyValue([PropertyValue("s2"), PropertyValue(1.0)])}, is_secret=True)
    assert set(secrets(PropertyValue({"x": hidden, "y": whole}))) == {"s1", "s2"}
