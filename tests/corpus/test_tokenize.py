"""A corpus run loses nothing, hides nothing and does nothing twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from tests.models import waveform_codec
from tests.sounds import WavMaker
from vqaudio.audio import AudioWriter, read_audio
from vqaudio.codec.model import Codec
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.ledger import LEDGER_NAME, read_ledger
from vqaudio.corpus.manifest import Sound, find_sounds
from vqaudio.corpus.tokenize import encode_sound, tokenize
from vqaudio.errors import UserError


@pytest.fixture(scope="module")
def codec() -> Codec:
    return waveform_codec()


def make_sounds(wav: WavMaker, count: int) -> list[Sound]:
    return [
        Sound(f"s{n}", wav(f"in/{n}.wav", 0.02 + 0.013 * n, seed=n), fields={"label": str(n % 3)})
        for n in range(count)
    ]


def small_shards(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("vqaudio.corpus.tokenize.ROWS_PER_SHARD", rows)


def statuses(out: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (out / LEDGER_NAME).read_text().splitlines()]
    return {line["id"]: line["status"] for line in lines if "id" in line}


def test_rows_are_what_the_codec_gives(
    wav: WavMaker, tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch, 8)
    sounds = make_sounds(wav, 20)
    told: list[str] = []
    summary = tokenize(codec, sounds, tmp_path / "out", on_done=lambda sound, _: told.append(sound.id))
    assert (summary.done, summary.skipped, summary.failed) == (20, 0, [])
    assert told == [sound.id for sound in sounds]
    corpus = TokenDataset(tmp_path / "out")
    assert corpus.ids == told
    assert corpus.codec == codec.fingerprint
    for sound, row in zip(sounds, corpus, strict=True):
        assert row.codes == codec.encode(sound.path)
        assert row.fields == sound.fields
    assert summary.codes == sum(level.numel() for row in corpus for level in row.codes.levels)
    assert set(statuses(tmp_path / "out").values()) == {"done"}
    assert sorted(os.listdir(tmp_path / "out")) == [LEDGER_NAME] + [
        f"tokens-0000{n}.parquet" for n in range(3)
    ]


def test_order_company_and_workers_change_no_code(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds = make_sounds(wav, 24)
    shuffled = random.Random(0).sample(sounds, len(sounds))
    tokenize(codec, sounds, tmp_path / "a", workers=1)
    tokenize(codec, shuffled[:15], tmp_path / "b", workers=2)
    whole = {row.id: row.codes for row in TokenDataset(tmp_path / "a")}
    for row in TokenDataset(tmp_path / "b"):
        assert row.codes == whole[row.id]


def test_clips_are_their_part_of_the_file(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    path = wav("long.wav", 1.0, sample_rate=22050, channels=2)
    sounds = [Sound("whole", path), Sound("a", path, 0.0, 0.25), Sound("b", path, 0.25, None)]
    tokenize(codec, sounds, tmp_path / "out")
    rows = {row.id: row.codes for row in TokenDataset(tmp_path / "out")}
    audio, rate = read_audio(path, start_seconds=0.25)
    assert rows["b"] == codec.encode(audio, rate)
    assert rows["a"] == encode_sound(codec, sounds[1])
    assert abs(rows["a"].num_samples - 4000) <= 1
    assert rows["whole"].num_samples == 16000


def test_every_input_is_in_a_shard_or_has_its_reason(
    wav: WavMaker, tmp_path: Path, codec: Codec, bad_sound: Path
) -> None:
    sounds = make_sounds(wav, 5)
    bad = Sound("bad", bad_sound)
    told: dict[str, str] = {}
    summary = tokenize(
        codec,
        [*sounds[:2], bad, *sounds[2:]],
        tmp_path / "out",
        on_done=lambda sound, reason: told.update({sound.id: reason}),
    )
    assert summary.done == 5
    [failure] = summary.failed
    assert str(bad_sound) in failure.reason
    assert told["bad"] == failure.reason
    assert "\n" not in failure.reason
    assert statuses(tmp_path / "out") == {"bad": "failed", **{f"s{n}": "done" for n in range(5)}}
    assert read_ledger(tmp_path / "out").entries["bad"].reason == failure.reason
    assert sorted(TokenDataset(tmp_path / "out").ids) == [f"s{n}" for n in range(5)]


def test_a_mended_input_is_taken_up_again(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds = make_sounds(wav, 3)
    missing = Sound("late", tmp_path / "in" / "late.wav")
    out = tmp_path / "out"
    assert len(tokenize(codec, [*sounds, missing], out).failed) == 1
    first = (out / "tokens-00000.parquet").read_bytes()
    wav("in/late.wav")
    summary = tokenize(codec, [*sounds, missing], out)
    assert (summary.done, summary.skipped, summary.failed) == (1, 3, [])
    assert set(statuses(out).values()) == {"done"}
    assert (out / "tokens-00000.parquet").read_bytes() == first
    assert len(TokenDataset(out)) == 4


RUN = """
import sys
from pathlib import Path
import vqaudio.corpus.tokenize as module
from tests.models import waveform_codec
from vqaudio.corpus.manifest import find_sounds
module.ROWS_PER_SHARD = 4
module.SOUNDS_PER_CALL = 2
codec = waveform_codec()
summary = module.tokenize(codec, find_sounds([sys.argv[1]]), sys.argv[2], workers=1)
print(summary.done, summary.skipped)
"""


def start(inputs: Path, out: Path) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(inputs), str(out)], stdout=subprocess.PIPE, text=True, cwd=root
    )


def test_killed_runs_lose_and_repeat_nothing(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    make_sounds(wav, 60)
    out = tmp_path / "out"
    rng = random.Random(1)
    for shards in (2, 7):  # kill -9 at some moment after so many shards
        run = start(tmp_path / "in", out)
        while len(list(out.glob("tokens-*.parquet"))) < shards and run.poll() is None:
            time.sleep(0.002)
        time.sleep(0.05 * rng.random())
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert run.returncode == -signal.SIGKILL
    before = {path.name: path.read_bytes() for path in out.glob("tokens-*.parquet")}
    kept = sum(pq.read_metadata(out / name).num_rows for name in before)
    assert 28 <= kept < 60
    run = start(tmp_path / "in", out)
    printed, _ = run.communicate()
    assert printed.split() == [str(60 - kept), str(kept)]
    for name, data in before.items():
        assert (out / name).read_bytes() == data
    corpus = TokenDataset(out)
    sounds = {sound.id: sound for sound in find_sounds([tmp_path / "in"])}
    assert sorted(corpus.ids) == sorted(sounds)
    for row in corpus:
        assert row.codes == codec.encode(sounds[row.id].path)
    assert statuses(out) == dict.fromkeys(sounds, "done")
    assert not list(out.glob(".*"))


def test_a_torn_ledger_and_a_lost_shard_are_made_good(
    wav: WavMaker, tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch, 4)
    sounds, out = make_sounds(wav, 10), tmp_path / "out"
    tokenize(codec, sounds, out)
    with (out / LEDGER_NAME).open("a") as file:
        file.write('{"id": "s3", "sta')
    assert len(TokenDataset(out)) == 10
    (out / "tokens-00001.parquet").unlink()
    with pytest.raises(UserError, match="tokens-00001.parquet: missing"):
        TokenDataset(out)
    summary = tokenize(codec, sounds, out)
    assert (summary.done, summary.skipped) == (4, 6)
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
        tokenize(waveform_codec(seed=1), sounds, out)


def test_one_id_is_one_sound(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    out = tmp_path / "out"
    tokenize(codec, [Sound("a", wav("x/a.wav"))], out)
    with pytest.raises(UserError, match=r"'a' is that of .*x/a.wav"):
        tokenize(codec, [Sound("a", wav("y/a.wav", seed=5))], out)
    with pytest.raises(UserError, match=r"'a' is that of"):
        tokenize(codec, [Sound("a", wav("x/a.wav"), 0.1)], out)
    with pytest.raises(UserError, match="same id"):
        tokenize(codec, [Sound("b", wav("x/a.wav")), Sound("b", wav("x/b.wav"))], out)
    os.rename(tmp_path / "x", tmp_path / "moved")  # the same bytes elsewhere are the same sound
    assert tokenize(codec, [Sound("a", tmp_path / "moved" / "a.wav")], out).skipped == 1


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
    refused: list[str] = []

    def again(sound: Sound, _: str) -> None:
        with pytest.raises(UserError, match="another run is writing there"):
            tokenize(codec, [sound], out)
        refused.append(sound.id)

    assert tokenize(codec, sounds, out, on_done=again).done == 2
    assert len(refused) == 2


def test_an_interrupted_run_keeps_what_it_has(wav: WavMaker, tmp_path: Path, codec: Codec) -> None:
    sounds, out = make_sounds(wav, 6), tmp_path / "out"

    def interrupt(sound: Sound, _: str) -> None:
        if sound.id == "s3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenize(codec, sounds, out, on_done=interrupt)
    assert TokenDataset(out).ids == ["s0", "s1", "s2", "s3"]
    assert tokenize(codec, sounds, out).done == 2


def test_memory_does_not_grow_with_the_sound(tmp_path: Path) -> None:
    script = RUN.replace(
        "summary =",
        "import resource\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nsummary =",
    ).replace(
        "print(summary.done, summary.skipped)",
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)",
    )
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.flac"
        with AudioWriter(path, 16000) as writer:
            for _ in range(minutes):
                writer.write(0.1 * torch.randn(1, 16000 * 60))
        run = [sys.executable, "-c", script, str(path), str(tmp_path / str(minutes))]
        root = Path(__file__).parents[2]
        done = subprocess.run(run, check=True, capture_output=True, text=True, cwd=root)
        peaks.append(int(done.stdout) / 1024)
    grown_mib = 9 * 60 * 16000 * 4 / 2**20  # the sound itself, had it been held as a whole
    assert peaks[1] < peaks[0] + grown_mib / 2
