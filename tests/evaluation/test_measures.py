"""The table of measures: all against others' implementations, and plug-ins from packages."""

import sys
from pathlib import Path

import pytest

from tests.evaluation.references import REFERENCES, by_reference
from tests.sounds import speechlike
from vqaudio.audio import read_audio
from vqaudio.evaluation.measures import agreements, built_in, find_measures, of_systems

PLUGIN = """
from vqaudio.evaluation.measures import Measure
from vqaudio.evaluation.results import Definition

loudness = Measure(
    Definition("louder", "louder", "dB", "", None, "How much louder it is.", "tiny 1.0"),
    lambda a, b, rate: 20 * float((b.norm() / a.norm()).log10()),
)
number = 7
"""
ENTRY_POINTS = """[vqaudio.measures]
louder = tiny_measures:loudness
broken = tiny_measures:number
missing = not_there:measure
"""


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_a_measure_of_real_speech_is_that_of_others(name: str, sentence: Path) -> None:
    speech = read_audio(sentence, 16000)[0][0][:40000]
    degraded = (0.7 * speech + 0.05 * speechlike(2.5, 16000)).roll(3)
    [measure] = [one for one in built_in() if one.name == name]
    for want in by_reference(name, speech, degraded, 16000):
        assert measure.compute(speech, degraded, 16000) == pytest.approx(want, rel=1e-4)


def test_every_measure_has_a_reference_and_a_name_of_its_own() -> None:
    assert {one.name for one in built_in()} == set(REFERENCES)
    all_of_them = [*(one.definition for one in built_in()), *agreements(), *of_systems()]
    for what in ("name", "title"):
        assert len({getattr(one, what) for one in all_of_them}) == len(all_of_them)
    assert all(one.definition.endswith(".") and one.computed_by for one in all_of_them)


def test_the_bands_of_pesq_go_by_the_rate(sentence: Path) -> None:
    wide, narrow = (next(one for one in built_in() if one.name == f"pesq_{b}") for b in ("wb", "nb"))
    speech = read_audio(sentence, 8000)[0][0]
    assert wide.compute(speech, speech, 8000) is None
    assert narrow.compute(speech, speech, 8000) == pytest.approx(4.549, abs=1e-3)
    high = read_audio(sentence, 48000)[0][0]
    assert wide.compute(high, high, 48000) == pytest.approx(4.644, abs=1e-3)


@pytest.fixture
def tiny_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that has a measure, and names two things that are none."""
    (tmp_path / "tiny_measures.py").write_text(PLUGIN)
    info = tmp_path / "tiny_measures-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-measures\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_measures", raising=False)


@pytest.mark.usefixtures("tiny_package")
def test_a_measure_of_an_installed_package_is_found() -> None:
    found, missing = find_measures()
    assert [one.name for one in found[:-1]] == [one.name for one in built_in()]
    sound = speechlike(0.2, 8000)
    assert found[-1].compute(sound, 10 * sound, 8000) == pytest.approx(20, abs=1e-4)
    assert len(missing) == 2
    assert "plug-in broken of tiny_measures:number: is a int, not a Measure" in missing[0]
    assert "No module named 'not_there'" in missing[1]
