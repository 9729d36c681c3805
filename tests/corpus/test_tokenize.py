"""A corpus run loses nothing, hides nothing and does nothing twice."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tests.broken import make_broken
from tests.models import waveform_codec
from tests.sounds import WavMaker
from vqaudio.audio import AudioWriter, read_audio
from vqaudio.codec.model import Codec
from vqaudio.corpus import local
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.encoding import Window, source_of
from vqaudio.corpus.ledger import LEDGER_NAME, read_ledger
from vqaudio.corpus.manifest import Sound, find_sounds
from vqaudio.corpus.tokenize import Summary, Watch, tokenize
from vqaudio.corpus.verify import verify
from vqaudio.errors import UserError, printable


@pytest.fixture(scope="module")
def codec() -> Codec:
    return waveform_codec()


def make_sounds(wav: WavMaker, count: int) -> list[Sound]:
    return [
        Sound(f"s{n}", wav(f"in/{n}.wav", 0.02 + 0.013 * n, seed=n), fields={"label": str(n % 3)})
        for n in range(count)
    ]


def small_shards(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("vqaudio.corpus.folder.ROWS_PER_SHARD", rows)


def statuses(out: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (out / LEDGER_NAME).read_text().splitlines()]
    return {line["id"]: line["status"] for line in lines if "id" in line}


def shards_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("tokens-*.parquet"))}


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_are_what_the_codec_gives(
    wav: WavMaker, tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    small_shards(monkeypatch, 8)
    sounds, out = make_sounds(wav, 20), tmp_path / "out"
    heard: list[float] = []
    done: list[int] = []
    watch = Watch(heard=heard.append, done=lambda summary: done.append(summary.done))
    summary = tokenize(codec, sounds, out, workers, watch=watch)
    assert (summary.inputs, summary.done, summary.skipped, summary.failed) == (20, 20, 0, 0)
    assert done == list(range(1, 21))
    assert sum(heard) == pytest.approx(summary.seconds, rel=0.2)  # whole frames
    corpus = TokenDataset(out)
    assert corpus.ids == [sound.id for sound in sounds]
    assert corpus.codec == codec.fingerprint
    for sound, row in zip(sounds, corpus, strict=True):
        assert row.codes == codec.encode(sound.path)
        assert row.fields == sound.fields
    assert summary.codes == sum(level.numel() for row in corpus for level in row.codes.levels)
    entries = read_ledger(out).entries
    assert [(e.id, e.shard, e.row) for e in entries.values()] == [
        (f"s{n}", f"tokens-0000{n // 8}.parquet", n % 8) for n in range(20)
    ]
    assert sorted(os.listdir(out)) == [LEDGER_NAME] + [f"tokens-0000{n}.parquet" for n in range(3)]


def test_order_company_and_workers_change_no_code(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds = make_sounds(wav, 24)
    shuffled = random.Random(0).sample(sounds, len(sounds))
    tokenize(codec, sounds, tmp_path / "a", workers=1)
    tokenize(codec, shuffled[:15], tmp_path / "b", workers=2)
    whole = {row.id: row.codes for row in TokenDataset(tmp_path / "a")}
    for row in TokenDataset(tmp_path / "b"):
        assert row.codes == whole[row.id]
    tokenize(codec, sounds, tmp_path / "c", workers=3)
    assert shards_of(tmp_path / "c") == shards_of(tmp_path / "a")


def long_sound(path: Path, minutes: int) -> Path:
    torch.manual_seed(minutes)
    with AudioWriter(path, 16000) as writer:
        for _ in range(minutes):
            writer.write(0.1 * torch.randn(1, 16000 * 60))
    return path


def test_windows_of_a_long_sound_are_left_to_idle_workers(
    tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = long_sound(tmp_path / "long.flac", 4)
    sounds = [Sound("long", path), Sound("bad", tmp_path / "no.wav"), Sound("again", path, 1.0)]
    left: list[int] = []
    take = local._Pool._take

    def spy(pool: Any, worker: Any, piece: Any) -> Iterator[local.Result]:
        if isinstance(piece, Window):
            left.append(piece.number)
        yield from take(pool, worker, piece)

    monkeypatch.setattr(local._Pool, "_take", spy)
    summary = tokenize(codec, sounds, tmp_path / "out", workers=4)
    assert (summary.done, summary.failed) == (2, 1)
    assert left
    rows = {row.id: row.codes for row in TokenDataset(tmp_path / "out")}
    assert rows == {"long": codec.encode(path), "again": codec.encode(read_audio(path)[0][0, 16000:])}


def test_workers_that_die_lose_nothing(
    wav: WavMaker, tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds = make_sounds(wav, 30)
    sounds.append(Sound("long", long_sound(tmp_path / "long.flac", 3)))
    tokenize(codec, sounds, tmp_path / "calm", workers=1)
    killed: list[int] = []
    take = local._Pool._take

    def spy(pool: Any, worker: Any, piece: Any) -> Iterator[local.Result]:
        yield from take(pool, worker, piece)
        victim = random.Random(len(killed)).choice(pool.workers)
        if len(killed) < 4 and all(other.process.is_alive() for other in pool.workers):
            killed.append(victim.process.pid)
            victim.process.kill()
            victim.process.join()

    monkeypatch.setattr(local._Pool, "_take", spy)
    monkeypatch.setattr(local, "DEATHS", 5)
    monkeypatch.setattr(local, "MOST_STILLBORN", 5)
    summary = tokenize(codec, sounds, tmp_path / "out", workers=2)
    assert len(set(killed)) == 4
    assert summary.failed == 0
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "calm")


def test_a_sound_that_kills_its_readers_is_left_out(
    wav: WavMaker, tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds = make_sounds(wav, 8)
    give = local._Pool._give

    def deadly(pool: Any, worker: Any) -> bool:
        while not worker.ready:  # it dies of its work, not at its start
            list(pool._take(worker, worker.connection.recv()))
        os.kill(worker.process.pid, signal.SIGSTOP)  # nor does it get to send what it made of it
        given = give(pool, worker)
        if 3 in worker.sounds:
            worker.process.kill()
            worker.process.join()
        else:
            os.kill(worker.process.pid, signal.SIGCONT)
        return given

    monkeypatch.setattr(local._Pool, "_give", deadly)
    monkeypatch.setattr(local, "AHEAD", 1)
    summary = tokenize(codec, sounds, tmp_path / "out", workers=2)
    assert (summary.done, summary.failed) == (7, 1)
    assert "3.wav: ends the process that reads it (SIGKILL)" in summary.examples[0]
    assert "s3" not in TokenDataset(tmp_path / "out").ids


def test_clips_are_their_part_of_the_file(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    path = wav("long.wav", 1.0, sample_rate=22050, channels=2)
    sounds = [Sound("whole", path), Sound("a", path, 0.0, 0.25), Sound("b", path, 0.25, None)]
    tokenize(codec, sounds, tmp_path / "out")
    rows = {row.id: row.codes for row in TokenDataset(tmp_path / "out")}
    audio, rate = read_audio(path, start_seconds=0.25)
    assert rows["b"] == codec.encode(audio, rate)
    assert rows["a"] == codec.encode(source_of(codec, sounds[1]))
    assert abs(rows["a"].num_samples - 4000) <= 1
    assert rows["whole"].num_samples == 16000


@pytest.mark.parametrize("workers", [1, 2])
def test_every_input_is_in_a_shard_or_has_its_reason(
    wav: WavMaker, tmp_path: Path, codec: Codec, bad_sound: Path, workers: int
) -> None:
    sounds = make_sounds(wav, 5)
    bad = Sound("bad", bad_sound)
    summary = tokenize(codec, [*sounds[:2], bad, *sounds[2:]], tmp_path / "out", workers)
    assert (summary.done, summary.failed) == (5, 1)
    [reason] = summary.examples
    assert str(bad_sound) in reason
    assert "\n" not in reason
    [kind] = summary.reasons
    assert str(bad_sound) not in kind
    assert statuses(tmp_path / "out") == {"bad": "failed", **{f"s{n}": "done" for n in range(5)}}
    assert read_ledger(tmp_path / "out").entries["bad"].reason == reason
    assert TokenDataset(tmp_path / "out").ids == [f"s{n}" for n in range(5)]


def test_a_strict_run_stops_at_the_first_failure(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds = make_sounds(wav, 5)
    sounds[2] = Sound("bad", tmp_path / "no.wav")
    with pytest.raises(UserError, match=r"no.wav: no such file"):
        tokenize(codec, sounds, tmp_path / "out", strict=True)
    assert statuses(tmp_path / "out") == {"s0": "done", "s1": "done", "bad": "failed"}


def test_a_mended_input_is_taken_up_again(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds = make_sounds(wav, 3)
    missing = Sound("late", tmp_path / "in" / "late.wav")
    out = tmp_path / "out"
    assert tokenize(codec, [*sounds, missing], out).failed == 1
    first = (out / "tokens-00000.parquet").read_bytes()
    wav("in/late.wav")
    summary = tokenize(codec, [*sounds, missing], out)
    assert (summary.done, summary.skipped, summary.failed) == (1, 3, 0)
    assert set(statuses(out).values()) == {"done"}
    assert (out / "tokens-00000.parquet").read_bytes() == first
    assert len(TokenDataset(out)) == 4


RUN = """
import sys
from pathlib import Path
import vqaudio.corpus.folder as folder
from tests.broken import make_broken
from tests.models import waveform_codec
from vqaudio.corpus.manifest import find_sounds
from vqaudio.corpus.tokenize import tokenize
folder.ROWS_PER_SHARD = 4
codec = waveform_codec()
summary = tokenize(codec, find_sounds([sys.argv[1]]), sys.argv[2], workers=int(sys.argv[3]))
print(summary.done, summary.skipped, summary.failed)
"""


def start(inputs: Path, out: Path, workers: int) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", RUN, str(inputs), str(out), str(workers)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=root)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_killed_at_random_leaves_what_an_undisturbed_one_does(
    wav: WavMaker, tmp_path: Path, codec: Codec, workers: int
) -> None:
    make_sounds(wav, 50)
    (tmp_path / "in" / "30b.wav").write_text("no sound")
    calm, out = tmp_path / "calm", tmp_path / "out"
    assert start(tmp_path / "in", calm, 1).communicate()[0].split() == ["50", "0", "1"]
    rng = random.Random(workers)
    for kill in range(5):  # each kind of run, so that there are ten
        run = start(tmp_path / "in", out, workers)
        while len(shards_of(out)) < 2 * kill and run.poll() is None:
            time.sleep(0.002)
        time.sleep(0.05 * rng.random())
        run.kill()
        run.wait()
    kept = shards_of(out)
    run = start(tmp_path / "in", out, workers)
    done, skipped, failed = map(int, run.communicate()[0].split())
    assert (done + skipped, failed) == (50, 1)
    assert skipped == sum(pq.read_metadata(out / name).num_rows for name in kept) >= 32
    assert shards_of(out) == shards_of(calm)
    assert (out / LEDGER_NAME).read_bytes() == (calm / LEDGER_NAME).read_bytes()
    assert not list(out.glob(".*"))


def test_a_full_disk_is_one_line_and_the_run_goes_on_afterwards(
    wav: WavMaker, tmp_path: Path, codec: Codec
) -> None:
    make_sounds(wav, 30)
    out = tmp_path / "out"
    full = RUN.replace("codec =", "import resource\nfrom vqaudio.errors import UserError\ncodec =")
    full = full.replace(
        "summary =", "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\nsummary ="
    )
    words = [sys.executable, "-c", full, str(tmp_path / "in"), str(out), "1"]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("vqaudio.errors.UserError: ")
    assert str(out) in last
    assert "cannot be written" in last
    assert "make room" in last
    assert not list(out.glob(".*"))
    start(tmp_path / "in", out, 1).communicate()
    start(tmp_path / "in", tmp_path / "calm", 1).communicate()
    assert shards_of(out) == shards_of(tmp_path / "calm")


def test_a_torn_ledger_and_a_lost_shard_are_made_good(
    wav: WavMaker, tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch, 4)
    sounds, out = make_sounds(wav, 10), tmp_path / "out"
    tokenize(codec, sounds, out)
    with (out / LEDGER_NAME).open("a") as file:
        file.write('{"id": "s3", "sta')
    assert len(TokenDataset(out)) == 10
    kept = shards_of(out)
    (out / "tokens-00001.parquet").unlink()
    with pytest.raises(UserError, match="tokens-00001.parquet: missing"):
        TokenDataset(out)
    summary = tokenize(codec, sounds, out)
    assert (summary.done, summary.skipped) == (4, 6)
    assert shards_of(out) == kept
    assert sorted(TokenDataset(out).ids) == sorted(sound.id for sound in sounds)


def test_altered_shards_are_refused(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds, out = make_sounds(wav, 4), tmp_path / "out"
    tokenize(codec, sounds, out)
    shard = out / "tokens-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match="tokens-00000.parquet: altered"):
        TokenDataset(out).verify()
    with pytest.raises(UserError, match="tokens-00000.parquet: altered"):
        tokenize(codec, sounds, out)
    shard.unlink()
    assert tokenize(codec, sounds, out).done == 4


def test_another_codec_is_refused(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds, out = make_sounds(wav, 2), tmp_path / "out"
    tokenize(codec, sounds[:1], out)
    with pytest.raises(UserError, match=f"made by codec {codec.fingerprint[:12]}"):
        tokenize(waveform_codec(seed=1), sounds[:1], out)


def test_other_inputs_are_refused_with_what_differs(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    out = tmp_path / "out"
    a, b = Sound("a", wav("x/a.wav")), Sound("b", wav("x/b.wav", seed=3))
    tokenize(codec, [a, b], out)
    with pytest.raises(UserError, match=r"'a' is that of .*x/a.wav"):
        tokenize(codec, [Sound("a", wav("y/a.wav", seed=5)), b], out)
    with pytest.raises(UserError, match=r"'a' is that of"):
        tokenize(codec, [Sound("a", a.path, 0.1), b], out)
    with pytest.raises(UserError, match="same id"):
        tokenize(codec, [a, Sound("a", b.path)], out)
    with pytest.raises(UserError, match=r"other inputs \('b' is not among them any more\)"):
        tokenize(codec, [a], out)
    with pytest.raises(UserError, match=r"there were 2, now 3"):
        tokenize(codec, [a, b, Sound("c", a.path)], out)
    with pytest.raises(UserError, match=r"their order, clips or fields"):
        tokenize(codec, [b, a], out)
    with pytest.raises(UserError, match=r"their order, clips or fields"):
        tokenize(codec, [a, Sound("b", b.path, fields={"label": "yes"})], out)
    os.rename(tmp_path / "x", tmp_path / "moved")  # the same bytes elsewhere are the same sound
    moved = [Sound(name, tmp_path / "moved" / f"{name}.wav") for name in "ab"]
    assert tokenize(codec, moved, out).skipped == 2


def test_other_settings_are_refused(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds, out = make_sounds(wav, 2), tmp_path / "out"
    tokenize(codec, sounds, out)
    ledger = (out / LEDGER_NAME).read_text()
    (out / LEDGER_NAME).write_text(ledger.replace("soxr-hq", "sinc"))
    with pytest.raises(UserError, match="made with resampler sinc, now it is soxr-hq"):
        tokenize(codec, sounds, out)


def test_tokens_are_proved(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds, out = make_sounds(wav, 6), tmp_path / "out"
    tokenize(codec, sounds, out)
    found = verify(codec, sounds, out)
    assert (found.shards, found.rows, found.encoded_again) == (1, 6, 6)
    wav("in/4.wav", 0.5, seed=99)
    with pytest.raises(UserError, match=r"4.wav: has other tokens"):
        verify(codec, sounds, out)
    ledger = (out / LEDGER_NAME).read_text()
    (out / LEDGER_NAME).write_text(ledger.replace('"row": 2', '"row": 7'))
    with pytest.raises(UserError, match="other rows than its ledger says"):
        verify(codec, sounds, out)
    shard = out / "tokens-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match="altered"):
        verify(codec, sounds, out)


def test_places_that_cannot_take_tokens(
    wav: WavMaker, tmp_path: Path, codec: Codec, unwritable: Path
) -> None:
    sounds, out = make_sounds(wav, 1), tmp_path / "out"
    with pytest.raises(UserError, match="in the way"):
        tokenize(codec, sounds, unwritable)
    out.mkdir()
    (out / LEDGER_NAME).write_text("not a ledger\n")
    with pytest.raises(UserError, match=r"ledger.jsonl:1: not a line"):
        tokenize(codec, sounds, out)
    (out / LEDGER_NAME).unlink()
    tokenize(codec, sounds, out)
    (out / LEDGER_NAME).unlink()
    with pytest.raises(UserError, match=r"tokens-00000.parquet: not in the ledger"):
        tokenize(codec, sounds, out)


def test_two_runs_do_not_share_a_folder(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds, out = make_sounds(wav, 2), tmp_path / "out"
    refused: list[int] = []

    def again(summary: Summary) -> None:
        with pytest.raises(UserError, match="another run is writing there"):
            tokenize(codec, sounds, out)
        refused.append(summary.done)

    assert tokenize(codec, sounds, out, watch=Watch(done=again)).done == 2
    assert len(refused) == 2


def test_an_interrupted_run_keeps_what_it_has(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds, out = make_sounds(wav, 6), tmp_path / "out"

    def interrupt(summary: Summary) -> None:
        if summary.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenize(codec, sounds, out, watch=Watch(done=interrupt))
    assert TokenDataset(out).ids == ["s0", "s1", "s2", "s3"]
    assert tokenize(codec, sounds, out).done == 2


def test_memory_does_not_grow_with_the_sound(tmp_path: Path) -> None:
    script = RUN.replace(
        "summary =",
        "import resource\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nsummary =",
    ).replace(
        "print(summary.done, summary.skipped, summary.failed)",
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)",
    )
    peaks = []
    for minutes in (1, 10):
        path = long_sound(tmp_path / f"{minutes}.flac", minutes)
        run = [sys.executable, "-c", script, str(path), str(tmp_path / str(minutes)), "1"]
        root = Path(__file__).parents[2]
        done = subprocess.run(run, check=True, capture_output=True, text=True, cwd=root)
        peaks.append(int(done.stdout) / 1024)
    grown_mib = 9 * 60 * 16000 * 4 / 2**20  # the sound itself, had it been held as a whole
    assert peaks[1] < peaks[0] + grown_mib / 2


@pytest.mark.parametrize("workers", [1, 2])
def test_every_kind_of_broken_input_is_in_the_ledger_with_its_reason(
    wav: WavMaker, tmp_path: Path, codec: Codec, workers: int
) -> None:
    for number in range(12):
        wav(f"in/good/{number}.wav", seed=number)
    broken = make_broken(tmp_path / "in" / "broken")
    odd = os.fsencode(tmp_path / "in" / "good") + b"/caf\xe9.wav"  # Latin-1, no UTF-8
    shutil.copyfile(tmp_path / "in" / "good" / "3.wav", odd)
    out = tmp_path / "out"
    sounds = find_sounds([tmp_path / "in"])
    missing = Sound("missing", str(tmp_path / "in" / "missing.wav"))
    summary = tokenize(codec, [*sounds, missing], out, workers)
    assert (summary.done, summary.failed) == (13, len(broken) + 1)
    entries = {entry.audio: entry for entry in read_ledger(out).entries.values()}
    for path, fragment in broken.items():
        reason = entries[printable(os.path.abspath(path))].reason
        assert fragment in reason
        assert path.name in reason
    assert "no such file" in entries[str(missing.path)].reason
    rows = {row.id: row.codes for row in TokenDataset(out)}
    assert rows["good/caf\\xe9"] == rows["good/3"]
    assert sum(summary.reasons.values()) == summary.failed


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_rows_whose_lines_a_ledger_lost_are_not_encoded_again(
    wav: WavMaker, tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    small_shards(monkeypatch, 4)
    sounds, out = make_sounds(wav, 10), tmp_path / "out"
    tokenize(codec, sounds, out)
    kept = shards_of(out)
    ledger = (out / LEDGER_NAME).read_bytes()
    (out / LEDGER_NAME).write_bytes(ledger[:-cut])
    summary = tokenize(codec, sounds, out)
    assert (summary.done, summary.skipped) == (0, 10)
    assert shards_of(out) == kept
    assert verify(codec, sounds, out).rows == 10
