"""The fake driver is built once for each content."""

import shutil

import pytest

from tests.nvml import build

needs_tools = pytest.mark.skipif(bool(build.obstacle()), reason=build.obstacle() or "-")


def test_symbols_are_what_the_header_declares_and_the_binding_asks_for() -> None:
    header = "nvmlReturn_t DECLDIR nvmlOne(void);\nnvmlReturn_t DECLDIR  nvmlTwo(int a,\n  int b);\n * nvmlNot(void)"
    binding = 'fn = _nvmlGetFunctionPointer("nvmlTwo")\nfn  = _nvmlGetFunctionPointer("nvmlThree")'
    assert build.symbols(header, binding) == ["nvmlOne", "nvmlThree", "nvmlTwo"]


def test_without_a_compiler_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert build.obstacle() == "no gcc on this machine to build the fake NVML"


@needs_tools
def test_the_same_content_is_built_once() -> None:
    first = build.build()
    made = (first / build.SONAME).stat().st_mtime_ns
    assert build.build() == first
    assert (first / build.SONAME).stat().st_mtime_ns == made
    assert build.build(("nvmlDeviceGetCount",)) != first
    assert (first / "user").exists()
