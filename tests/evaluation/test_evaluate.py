"""Evaluation of codecs and of folders: what is found, what is kept, and how a run goes on."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import astuple
from pathlib import Path

import pytest
import soundfile

from tests.models import waveform_codec
from tests.sounds import speechlike
from vqaudio.audio import read_audio, write_audio
from vqaudio.corpus.manifest import find_sounds
from vqaudio.errors import UserError
from vqaudio.evaluation.averages import interval
from vqaudio.evaluation.evaluate import evaluate_codec, evaluate_pairs
from vqaudio.evaluation.evaluation_folder import read_per_file, read_summary
from vqaudio.evaluation.measures import built_in
from vqaudio.evaluation.results import Figures, Interval
from vqaudio.model_folder import save_model

CODEC = waveform_codec()  # two levels of one and two codebooks
CURVE = ["tiny", "tiny@1+1", "tiny@1"]


def alike(one: Figures, other: Figures) -> bool:
    """Whether two have the same measures, but for the last bits that a transform may leave open."""
    pairs = [(found, other.measures[name]) for name, found in one.measures.items()]
    return one.measures.keys() == other.measures.keys() and all(
        _numbers(a) == pytest.approx(_numbers(b), rel=1e-9, nan_ok=True) for a, b in pairs
    )


def _numbers(found: Interval) -> list[float]:
    return [math.nan if value is None else value for value in astuple(found)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, CODEC, "for tests")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sounds, one of them too short for some measures, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("data")
    for number, seconds in enumerate((1.0, 0.1, 0.8)):
        write_audio(folder / f"{number}.wav", speechlike(seconds, 16000, seed=number)[None], 16000)
    (folder / "bad.wav").write_text("this is no sound")
    return folder


@pytest.fixture(scope="module")
def done(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation folder."""
    out = tmp_path_factory.mktemp("done")
    evaluate_codec(str(model), find_sounds([data]), out, workers=2)
    return out


def test_every_point_of_the_curve_has_its_rate_and_measures(done: Path) -> None:
    summary = read_summary(done)
    figures = {one.system.name: one for one in summary.figures}
    assert list(figures) == CURVE
    assert [one.system.quantizers for one in summary.figures] == [(1, 2), (1, 1), (1,)]
    # hop 256 of 16 codes, and hop 64 of 8 codes once or twice
    rates = [16000 / 256 * 4 + 16000 / 64 * 3 * count for count in (2, 1, 0)]
    assert [one.nominal_bits_per_second for one in summary.figures] == pytest.approx(rates)
    assert all(
        0 < (one.effective_bits_per_second or 0) <= (one.nominal_bits_per_second or 0)
        for one in summary.figures
    )
    assert [one.tokens_per_second for one in summary.figures] == [562.5, 312.5, 62.5]
    whole, point = figures["tiny"], figures["tiny@1"]
    assert {one.name for one in built_in()} < set(whole.measures)
    assert {"reencoded", "shifted", "quieter"} < set(whole.measures)
    assert "mel" in point.measures
    assert not {"f0_corr", "reencoded"} & set(point.measures)
    assert [(book.level, book.quantizer) for book in whole.codebooks] == [(0, 0), (1, 0), (1, 1)]
    assert len(whole.shared) == 2
    assert whole.cost.parameters == sum(p.numel() for p in CODEC.parameters())


def test_a_summary_is_what_the_lines_of_the_files_say(done: Path) -> None:
    summary, results = read_summary(done), read_per_file(done)
    assert {(one.id, one.system) for one in results} == {
        (id, name) for id in ("0", "1", "2", "bad") for name in CURVE
    }
    for one in summary.figures:
        mine = [r for r in results if r.system == one.system.name and not r.reason]
        assert (one.sounds, one.failed) == (3, 1)
        for name, found in one.measures.items():
            assert found == interval([r.measures[name] for r in sorted(mine, key=lambda r: r.id)])
    [failure] = summary.failures
    assert failure.startswith("bad: ")
    assert "not a sound file" in failure
    assert summary.seconds == pytest.approx(1.9)


def test_what_a_measure_refuses_is_counted_and_never_made_up(done: Path) -> None:
    stoi = read_summary(done).figures[0].measures["stoi"]
    assert (stoi.count, stoi.refused) == (2, 1)
    [short] = [r for r in read_per_file(done) if r.id == "1" and r.system == "tiny"]
    assert short.measures["stoi"] is None
    assert "NaN" not in (done / "summary.json").read_text()


def test_the_measures_are_those_of_the_codec_called_by_hand(done: Path, data: Path) -> None:
    audio = read_audio(data / "0.wav")[0][0]
    codes = CODEC.encode(audio)
    made = CODEC.decode(codes, levels=2, quantizers=[1, 1])[0]
    [line] = [r for r in read_per_file(done) if (r.id, r.system) == ("0", "tiny@1+1")]
    for measure in built_in():
        if not measure.costly:
            want = measure.compute(audio, made, 16000)
            assert line.measures[measure.name] == pytest.approx(want, rel=1e-9)
    quieter = CODEC.encode(10 ** (-6 / 20) * audio)
    same = [(a == b).sum().item() for a, b in zip(codes.levels, quieter.levels, strict=True)]
    [whole] = [r for r in read_per_file(done) if (r.id, r.system) == ("0", "tiny")]
    share = sum(same) / sum(level.numel() for level in codes.levels)
    assert whole.measures["quieter"] == pytest.approx(share)


def test_the_worst_sounds_are_kept_with_what_each_system_made_of_them(done: Path, data: Path) -> None:
    summary = read_summary(done)
    ranks = {r.id: r.measures.get(summary.ranked_by) for r in read_per_file(done) if r.system == "tiny"}
    assert {one.why for one in summary.heard} == {"worst", "typical"}  # the page has both to show
    values = [ranks[one.id] for one in summary.heard]
    assert values == sorted(values, key=lambda value: value or 0)
    for one in summary.heard:
        for system in ("original", *CURVE):
            kept = soundfile.info(str(done / "sounds" / system / f"{one.stem}.flac"))
            assert kept.frames == soundfile.info(str(data / f"{one.id}.wav")).frames


def test_a_run_goes_on_after_a_kill_and_ends_as_if_there_had_been_none(
    done: Path, model: Path, tmp_path: Path, data: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    (out / "summary.json").unlink()
    lines = (out / "per_file.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["id"] != "2"]
    (out / "per_file.jsonl").write_bytes(b"".join(kept) + lines[0][:40])
    evaluate_codec(str(model), find_sounds([data]), out, workers=1)
    again, before = read_summary(out), read_summary(done)
    for one, other in zip(again.figures, before.figures, strict=True):
        assert alike(one, other)
    after = (out / "per_file.jsonl").read_bytes().splitlines()
    assert len(after) == len(kept) + 2 * len(CURVE)  # the third sound, and the bad one tried again


def test_a_run_that_is_ended_leaves_no_worker_and_can_go_on(model: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for number in range(8):
        write_audio(data / f"{number}.wav", speechlike(0.8, 16000, seed=number)[None], 16000)
    words = ["evaluate", "--codec", model, "--data", data, "--out", out, "--workers", "1"]
    command = [sys.executable, "-m", "vqaudio", *map(str, words)]
    before = 0
    for how in (signal.SIGKILL, signal.SIGINT):
        said = _said_until_ended(command, how, out, before)
        if how is signal.SIGINT:
            assert said == "interrupted; the same command goes on from here\n"
        after = len(read_per_file(out))
        assert before < after < 8 * len(CURVE)
        before = after
    summary = evaluate_codec(str(model), find_sounds([data]), out, workers=1)
    assert (summary.figures[0].sounds, summary.failures) == (8, [])


def _said_until_ended(command: list[str], how: signal.Signals, out: Path, before: int) -> str:
    """Send a signal to a run that has found more than before, and wait until nothing of it is left."""
    # A shell has what it starts in the background ignore Ctrl-C, and so would all that this starts.
    heeding = ["env", "--default-signal=INT", *command]
    process = subprocess.Popen(heeding, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while len(read_per_file(out)) <= before:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(how)
    _, said = process.communicate()
    deadline = time.monotonic() + 60
    while left := _session(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    return said


def _session(leader: int) -> list[str]:
    """Processes of a session, as /proc has them, but for those that only wait to be buried."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def test_a_folder_of_another_run_is_refused_with_what_differs(
    done: Path, model: Path, tmp_path: Path, data: Path
) -> None:
    before = (done / "per_file.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"inputs is 4 \(.*now 1 \("):
        evaluate_codec(str(model), find_sounds([data / "0.wav"]), done)
    other = tmp_path / "tiny"
    save_model(other, waveform_codec(seed=1), "another of that name")
    with pytest.raises(UserError, match="system tiny is codec [0-9a-f]{16}, now codec [0-9a-f]{16}"):
        evaluate_codec(str(other), find_sounds([data]), done)
    run = json.loads((done / "run.json").read_text())
    assert all(f"measure {one.name}" in run for one in built_in())
    assert (done / "per_file.jsonl").read_bytes() == before


def test_models_of_one_name_are_refused(model: Path, tmp_path: Path, data: Path) -> None:
    with pytest.raises(UserError, match="tiny: the name of two systems"):
        evaluate_codec(str(model), find_sounds([data]), tmp_path / "out", [str(model)])


def test_other_models_and_programs_stand_beside_it(model: Path, tmp_path: Path, sentence: Path) -> None:
    other, clip = tmp_path / "other", tmp_path / "clip.wav"
    shutil.copytree(model, other)
    write_audio(clip, read_audio(sentence)[0][:, :32000], 16000)
    installed = shutil.which("opusenc") and shutil.which("opusdec")
    against = [str(other), "opus:16"] if installed else [str(other)]
    summary = evaluate_codec(str(model), find_sounds([clip]), tmp_path / "out", against, workers=1)
    figures = {one.system.name: one for one in summary.figures}
    same = figures["other"]
    assert alike(same, figures["tiny"])
    assert same.nominal_bits_per_second == figures["tiny"].nominal_bits_per_second
    if not installed:
        pytest.skip("opusenc, opusdec not installed: only the model was compared")
    opus = figures["opus-16"]
    assert opus.system.kind == "program"
    assert 14000 < (opus.nominal_bits_per_second or 0) < 18000
    assert (opus.measures["stoi"].mean or 0) > 0.95
    assert "reencoded" not in opus.measures


def test_folders_are_compared_by_name_cut_and_resampled(tmp_path: Path) -> None:
    for number, seconds in enumerate((1.0, 1.0, 1.0)):
        sound = speechlike(seconds, 16000, seed=number)[None]
        write_audio(tmp_path / "a" / f"{number}.wav", sound, 16000)
    sound = read_audio(tmp_path / "a" / "0.wav")[0]
    write_audio(tmp_path / "b" / "0.flac", sound[:, :15000], 16000)
    write_audio(tmp_path / "b" / "1.wav", read_audio(tmp_path / "a" / "1.wav", 8000)[0], 8000)
    write_audio(tmp_path / "b" / "odd.wav", sound, 16000)
    summary = evaluate_pairs(tmp_path / "a", tmp_path / "b", tmp_path / "out", workers=1)
    results = {r.id: r for r in read_per_file(tmp_path / "out")}
    assert results["0"].measures["mel"] == 0
    assert results["0"].notes == ["cut to 15000 samples, from 16000 and 15000"]
    assert "resampled from 8000 to 16000 Hz" in results["1"].notes
    assert 0 < (results["1"].measures["mel"] or 0) < math.inf
    assert "no sound of this name in" in results["2"].reason
    assert [one.failed for one in summary.figures] == [1]
    [notice] = [line for line in summary.notices if "odd.wav" in line]
    assert "no sound of this name" in notice
    told = [line.partition(":")[0] for line in summary.notices]
    assert {"1 sounds were cut to the shorter of the two", "1 sounds were resampled"} <= set(told)


def test_folders_without_a_name_in_common_are_refused(tmp_path: Path, sentence: Path) -> None:
    for folder, name in (("a", "one"), ("b", "two")):
        (tmp_path / folder).mkdir()
        shutil.copy(sentence, tmp_path / folder / f"{name}.flac")
    with pytest.raises(UserError, match="no sound has the name of one in"):
        evaluate_pairs(tmp_path / "a", tmp_path / "b", tmp_path / "out")
