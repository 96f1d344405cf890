"""Counts of a run: the exit code that follows, their sum, and the closing line."""


from cinemae.runtime.evidence.fact import Evidence
from cinemae.runtime.scan.tally import Tally
from records import BROKEN, record


def test_exit_codes_of_a_tally():
    assert Tally(real=3).exit_code(fail_on_ai=True) == 0
    assert Tally(ai=1, real=2).exit_code(fail_on_ai=False) == 0
    assert Tally(ai=1, real=2).exit_code(fail_on_ai=True) == 4
    assert Tally(ai=1, failed=1).exit_code(fail_on_ai=True) == 1
    declared = Tally(real=2, declared=1)
    assert declared.exit_code(fail_on_ai=True) == 0
    assert declared.exit_code(fail_on_ai=False, fail_on_declared=True) == 4


def test_tallies_add_up():
    tally = Tally(real=2, kept=2)
    tally.add(record("a", "ai", evidence=(Evidence("source_type", "XMP", "made by a generator", declares="ai"),)))
    tally.add(record("b", error=BROKEN), kept=True)
    total = Tally.from_dict({**tally.to_dict(), "unit": 7})
    total.merge(tally)
    assert total == Tally(ai=2, real=4, failed=2, declared=2, kept=3)
    counts = "8 inputs: 2 ai, 4 real, 0 uncertain, 2 failed; 2 files declare AI; 3 kept from the earlier run"
    assert total.summary(2.0) == f"{counts}; 2.5 images/s"
    assert Tally().summary(1.0) == "0 inputs: 0 ai, 0 real, 0 uncertain"
    assert Tally(ai=1, declared=1).summary(1.0).startswith("1 input: 1 ai, 0 real, 0 uncertain; 1 file declares AI")
