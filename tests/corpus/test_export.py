"""Token rows in tars: other libraries read back what went in."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from tests.corpus.test_shards import SPEC, make_codes
from tests.models import waveform_codec
from tests.sounds import WavMaker
from vqaudio.corpus import TokenDataset, TokenRow, export
from vqaudio.corpus.export import export_lhotse, export_webdataset, key_of
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.shards import write_shard
from vqaudio.corpus.tokenize import tokenize
from vqaudio.errors import UserError

IDS = [
    "plain", "speaker/book/1", "../out", "..", "/absolute", "a//b", "a/", "./a", ".hidden", "1.5.flac",
    "naïve 音", "100%", "100%2E", "back\\slash", "a/.../b", "tab\there", "long" * 60, "x.json",
]  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> TokenDataset:
    fields = {"text": "Ein Satz, naïve.", "speaker": "ann", "label": "x"}
    rows = [
        TokenRow(name, make_codes(10 + 81 * n), fields if n % 2 else {}) for n, name in enumerate(IDS)
    ]
    write_shard(tmp_path / "in" / "tokens-00000.parquet", SPEC, rows[:5])
    write_shard(tmp_path / "in" / "tokens-00001.parquet", SPEC, rows[5:])
    return TokenDataset(tmp_path / "in")


def test_keys_are_names_and_no_two_are_one() -> None:
    keys = [key_of(name) for name in IDS]
    assert [unquote(key) for key in keys] == IDS
    for key in keys:
        assert "." not in key
        assert "\\" not in key
        assert all(part for part in key.split("/"))
    assert key_of("speaker/book/1") == "speaker/book/1"


def test_tars_hold_everything(
    dataset: TokenDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ROWS_PER_SHARD", 7)
    paths = export_webdataset(dataset, tmp_path / "out")
    assert sorted((tmp_path / "out").iterdir()) == paths
    assert [path.name for path in paths] == [f"tokens-00000{n}.tar" for n in range(3)]
    rows = []
    for path in paths:
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
            assert {member.mtime for member in tar.getmembers()} == {0}
        assert len(members) <= 7 * 3
        for name, data in members.items():
            if name.endswith(".json"):
                said = json.loads(data)
                key = name.removesuffix(".json")
                assert unquote(key) == said["id"]
                levels = [np.load(io.BytesIO(members[f"{key}.level_{n}.npy"])) for n in range(2)]
                rows.append((said, levels))
    check(dataset, rows)
    assert [path.read_bytes() for path in export_webdataset(dataset, tmp_path / "again")] == [
        path.read_bytes() for path in paths
    ]
    monkeypatch.setattr(export, "CODES_PER_SHARD", int(dataset.num_codes.max()))
    assert len(export_webdataset(dataset, tmp_path / "small")) > 3


def check(dataset: TokenDataset, rows: list[tuple[dict[str, object], list[np.ndarray]]]) -> None:
    assert [said["id"] for said, _ in rows] == IDS
    for (said, levels), row in zip(rows, dataset, strict=True):
        assert [level.tolist() for level in levels] == [level.tolist() for level in row.codes.levels]
        plain = {"id": row.id, "num_samples": row.codes.num_samples, "codec": SPEC.fingerprint}
        plain |= {"sample_rate": SPEC.sample_rate, "hops": SPEC.hops, **row.fields}
        assert said == plain


def test_webdataset_reads_them(dataset: TokenDataset, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    [path] = export_webdataset(dataset, tmp_path / "out")
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False).decode())
    assert [unquote(sample["__key__"]) for sample in samples] == IDS
    check(dataset, [(s["json"], [s["level_0.npy"], s["level_1.npy"]]) for s in samples])


def test_lhotse_reads_codes_of_any_id(
    dataset: TokenDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lhotse = pytest.importorskip("lhotse")
    monkeypatch.setattr(export, "ROWS_PER_SHARD", 7)
    paths = export_lhotse(dataset, tmp_path / "out")
    assert len(paths) == 3 * 3
    cuts = list(lhotse.CutSet.from_shar(in_dir=tmp_path / "out"))
    assert [unquote(cut.id) for cut in cuts] == [cut.custom["id"] for cut in cuts] == IDS
    for cut, row in zip(cuts, dataset, strict=True):
        assert not cut.has_recording
        assert cut.duration == row.codes.duration_seconds
        assert cut.load_level_0().T.tolist() == row.codes.levels[0].tolist()
        assert cut.load_level_1().T.tolist() == row.codes.levels[1].tolist()
        [segment] = cut.supervisions
        assert (segment.id, segment.text, segment.speaker) == (
            row.id,
            row.fields.get("text"),
            row.fields.get("speaker"),
        )
        assert (segment.custom or {}).get("label") == row.fields.get("label")
    again = export_lhotse(dataset, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_lhotse_has_the_sound_beside_its_codes(wav: WavMaker, tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse")
    codec = waveform_codec()
    long, stereo = wav("long.wav", seconds=1.0), wav("stereo.wav", channels=2, sample_rate=44100)
    sounds = [
        Sound("clip", long, 0.25, 0.4),
        Sound("rest", long, 0.65),
        Sound("stereo", stereo),
        Sound("gone", wav("gone.wav", seed=2)),
    ]
    assert tokenize(codec, sounds, tmp_path / "tokens").done == 4
    (tmp_path / "gone.wav").unlink()
    dataset = TokenDataset(tmp_path / "tokens")
    export_lhotse(dataset, tmp_path / "out")
    cuts = {cut.id: cut for cut in lhotse.CutSet.from_shar(in_dir=tmp_path / "out")}
    for sound in sounds:
        cut, codes = cuts[sound.id], dataset[sound.id].codes
        if cut.has_recording:
            lhotse.validate(cut)
        levels = [cut.load_custom(f"level_{n}") for n in range(len(codec.hops))]
        assert [level.T.tolist() for level in levels] == [level.tolist() for level in codes.levels]
    clip = cuts["clip"]
    assert (clip.start, clip.duration) == (0.25, 0.4)
    whole = lhotse.Recording.from_file(long).load_audio()
    assert np.array_equal(clip.load_audio(), whole[:, 4000:10400])
    assert cuts["rest"].load_audio().shape == (1, 5600)
    assert cuts["stereo"].load_audio().shape == (2, 13230)
    assert not cuts["gone"].has_recording
    half = clip.truncate(offset=0.2)  # a cut of the cut has the codes of that moment
    fine = dataset["clip"].codes.levels[-1].T.tolist()
    assert half.load_custom(f"level_{len(codec.hops) - 1}").tolist() == fine[len(fine) // 2 :]


def test_what_cannot_be_exported(dataset: TokenDataset, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UserError, match="full: not empty"):
        export_webdataset(dataset, tmp_path / "full")
    write_shard(tmp_path / "more.parquet", SPEC, [TokenRow("plain", make_codes(9))])
    twofold = TokenDataset([tmp_path / "in", tmp_path / "more.parquet"])
    with pytest.raises(UserError, match="2 sounds have the id 'plain'"):
        export_webdataset(twofold, tmp_path / "out")


def test_from_the_command_line(dataset: TokenDataset, tmp_path: Path) -> None:
    run = [sys.executable, "-m", "vqaudio.corpus.export", "webdataset"]
    tokens, out = str(tmp_path / "in"), str(tmp_path / "out")
    done = subprocess.run([*run, tokens, out], check=True, capture_output=True, text=True)
    assert done.stdout == f"{len(IDS)} sounds in 1 files in {out}\n"
    with tarfile.open(tmp_path / "out" / "tokens-000000.tar") as tar:
        assert len(tar.getnames()) == 3 * len(IDS)
    refused = subprocess.run([*run, tokens, out], check=False, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr == f"error: {out}: not empty; empty it, or choose another folder\n"
