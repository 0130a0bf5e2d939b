import pytest

from bench import machine, run


def test_benchmarks_are_found_by_what_they_do() -> None:
    assert "help" in run.benchmarks()
    assert not {"run", "result", "clock"} & set(run.benchmarks())


def test_an_unknown_name_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["hlep"]) == 2
    assert "no benchmark called hlep; there are: " in capsys.readouterr().err


def test_the_facts_of_this_machine() -> None:
    facts = machine.facts()
    assert int(facts["cores"]) >= 1
    assert int(facts["memory_bytes"]) > 2**28
    assert facts["processor"]
