"""What a manifest may say, and which files a search finds."""

import json
import os
import pickle
import tracemalloc
from dataclasses import FrozenInstanceError, astuple, replace
from pathlib import Path

import pytest

from tests.sounds import WavMaker
from vqaudio.corpus.manifest import Sound, file_names, find_sounds, read_manifest, write_manifest
from vqaudio.errors import UserError


def test_round_trip_with_paths_relative_to_the_manifest(tmp_path: Path) -> None:
    sounds = [
        Sound("a", tmp_path / "audio" / "ä b.wav"),
        Sound("b/2", tmp_path / "elsewhere.flac", 0.5, 1.25, {"label": "seven", "text": 'say "7"'}),
    ]
    write_manifest(tmp_path / "lists" / "all.jsonl", sounds)
    first = json.loads((tmp_path / "lists" / "all.jsonl").read_text().splitlines()[0])
    assert first == {"id": "a", "audio": "../audio/ä b.wav"}
    again = read_manifest(tmp_path / "lists" / "all.jsonl")
    assert [Path(os.path.normpath(sound.path)) for sound in again] == [s.path for s in sounds]
    assert [(s.id, s.start_seconds, s.duration_seconds, s.fields) for s in again] == [
        (s.id, s.start_seconds, s.duration_seconds, s.fields) for s in sounds
    ]


def test_numbers_become_texts_and_nulls_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(
        '\n{"id": "a", "audio": "/x/a.wav", "label": 7, "text": null, "start_seconds": 1}\n\n'
    )
    [sound] = read_manifest(path)
    assert sound == Sound("a", Path("/x/a.wav"), 1.0, None, {"label": "7"})


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"id": "ä", "audio": "/x/a.wav"}\n', encoding="utf-8-sig")
    assert read_manifest(path) == [Sound("ä", Path("/x/a.wav"))]


def test_windows_line_ends_empty_lines_and_very_long_ones(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    long = {"id": "b", "audio": "b.wav", "text": "long " * 2_000_000}
    lines = ['{"id": "a", "audio": "/x/a.wav", "speaker": "s"}', "", json.dumps(long), "  ", "\t"]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    first, second = read_manifest(path)
    assert first == Sound("a", "/x/a.wav", fields={"speaker": "s"})
    assert (second.path, second.fields["text"]) == (tmp_path / "b.wav", long["text"])


def test_a_sound_is_small_and_keeps_its_type(tmp_path: Path) -> None:
    path, count = tmp_path / "m.jsonl", 5000
    with path.open("w") as file:
        for i in range(count):
            text = f"what is said in sentence {i} of this corpus"
            line = {"id": f"s-{i:07d}", "audio": f"in/{i % 50}/{i:07d}.wav", "duration_seconds": i + 1}
            file.write(json.dumps(line | {"speaker": f"speaker {i % 9}", "text": text}) + "\n")
    read_manifest(path)
    tracemalloc.start()
    sounds = read_manifest(path)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / count < 700
    assert isinstance(sounds[0].path, Path)
    assert pickle.loads(pickle.dumps(sounds[0])) == sounds[0]  # noqa: S301
    assert replace(sounds[0], id="other") == Sound("other", *astuple(sounds[0])[1:])
    with pytest.raises(FrozenInstanceError):
        sounds[0].id = "x"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("\0\0\0\0", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"id": "x", "audio": "a.wav", "label": ' + "9" * 5000 + "}", "not JSON"),
        ('{"id": "x", "audio": "a.wav", "start_seconds": ' + "9" * 400 + "}", "start_seconds"),
        ('{"id": "\\ud800", "audio": "a.wav"}', "half a character"),
        ('{"id": "x", "audio": "a.wav", "text": "\\udcff"}', "half a character"),
        ("7", "not a JSON object"),
        ('{"audio": "a.wav"}', "id: give"),
        ('{"id": "", "audio": "a.wav"}', "id: give"),
        ('{"id": "x"}', "audio: give"),
        ('{"id": "x", "audio": 3}', "audio: give"),
        ('{"id": "x", "audio": "a.wav", "start_seconds": -1}', "start_seconds"),
        ('{"id": "x", "audio": "a.wav", "start_seconds": NaN}', "start_seconds"),
        ('{"id": "x", "audio": "a.wav", "duration_seconds": "long"}', "duration_seconds"),
        ('{"id": "x", "audio": "a.wav", "duration_seconds": 0}', "duration_seconds"),
        ('{"id": "x", "audio": "a.wav", "label": ["a"]}', "label"),
        ('{"id": "good", "audio": "a.wav"}', "that of line 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"id": "good", "audio": "good.wav"}\n' + line + "\n")
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="no sounds"):
        read_manifest(tmp_path / "empty.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        read_manifest(tmp_path / "binary.jsonl")
    with pytest.raises(UserError, match=r"a folder; give a manifest"):
        read_manifest(tmp_path)


def test_folders_are_searched_to_any_depth(wav: WavMaker, tmp_path: Path) -> None:
    for name in ["b/2.wav", "b/1.FLAC", "a.ogg", "b/.hidden.wav"]:
        wav(f"in/{name}")
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    sounds = find_sounds([tmp_path / "in"])
    assert [(s.id, s.path) for s in sounds] == [
        ("a", tmp_path / "in/a.ogg"),
        ("b/1", tmp_path / "in/b/1.FLAC"),
        ("b/2", tmp_path / "in/b/2.wav"),
    ]


def test_ids_tell_all_inputs_apart(wav: WavMaker, tmp_path: Path) -> None:
    for name in ["x/a.wav", "x/a.flac", "y/a.wav", "x/b.wav"]:
        wav(name)
    given = [tmp_path / "x", tmp_path / "y" / "a.wav", tmp_path / "x" / "b.wav"]
    sounds = find_sounds(given)
    assert [s.path.relative_to(tmp_path).as_posix() for s in sounds] == [
        "x/a.flac",
        "x/a.wav",
        "x/b.wav",
        "y/a.wav",
    ]
    assert len({s.id for s in sounds}) == 4
    assert sounds[0].id == "a.flac"
    assert sounds[2].id == "b"


def test_names_of_files_are_no_whole_paths(
    wav: WavMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ["sub/x/a.wav", "sub/y/a.wav", "sub/y/a.flac", "sub/x/b.wav"]:
        wav(name)
    for folder in (tmp_path, Path()):
        monkeypatch.chdir(tmp_path)
        given = [folder / "sub" / "x" / "a.wav", folder / "sub" / "y", folder / "sub" / "x" / "b.wav"]
        assert file_names(find_sounds(given)) == ["x/a", "a.flac", "y/a", "b"]
    write_manifest(tmp_path / "m.jsonl", [Sound("sub/x/a.wav", tmp_path / "sub" / "x" / "a.wav")])
    assert file_names(find_sounds(["m.jsonl"])) == ["sub/x/a.wav"]


def test_manifests_and_files_mix(wav: WavMaker, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [Sound("one", wav("one.wav"), fields={"label": "1"})])
    sounds = find_sounds([wav("two.wav"), tmp_path / "m.jsonl"])
    assert sorted(s.id for s in sounds) == ["one", "two"]
    with pytest.raises(UserError, match="'one' stands for two"):
        find_sounds([tmp_path / "m.jsonl", wav("in/one.wav")])


def test_nothing_to_find(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no sound files"):
        find_sounds([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"nowhere: no such file or folder; give sounds"):
        find_sounds([tmp_path / "nowhere"])
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"t.parquet: tokens, not sound; give sounds"):
        find_sounds([tmp_path / "t.parquet"])
    with pytest.raises(UserError, match="no input"):
        find_sounds([])
