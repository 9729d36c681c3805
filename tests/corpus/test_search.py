"""Which sounds a search finds: all of them, and each once."""

import json
import os
from pathlib import Path

import pytest

from tests.broken import make_broken, make_locked, run_as_nobody
from tests.sounds import WavMaker
from vqaudio.audio import read_audio
from vqaudio.corpus.manifest import Sound, find_sounds, read_manifest, write_manifest
from vqaudio.errors import UserError


def test_what_is_broken_is_found(wav: WavMaker, tmp_path: Path) -> None:
    broken = make_broken(tmp_path / "in")
    good = [wav("in/folder.wav/good.wav"), wav("in/z/good.flac")]
    sounds = find_sounds([tmp_path / "in"])
    assert sorted(sound.path for sound in sounds) == sorted([*broken, *good])
    assert len({sound.id for sound in sounds}) == len(sounds)


def test_what_is_locked_is_found(public_folder: Path, wav: WavMaker) -> None:
    locked = make_locked(public_folder / "in")
    good = public_folder / "in" / "a" / "good.wav"
    good.parent.mkdir()
    good.write_bytes(wav().read_bytes())
    imports = "from vqaudio.corpus.manifest import find_sounds"
    script = (
        "print(*[sound.path for sound in find_sounds(sys.argv[1:2])], sep='\\n')\n"
        "print(*[sound.path for sound in find_sounds(sys.argv[2:])], sep='\\n')"
    )
    given = [next(iter(locked)), public_folder / "in" / "locked-folder" / "in-it.wav"]
    found = run_as_nobody(imports, script, public_folder / "in", *given).splitlines()
    assert found == [*sorted(map(str, [good, *locked])), *map(str, given)]


def test_folders_are_searched_once_whatever_links_lead_to_them(wav: WavMaker, tmp_path: Path) -> None:
    top = tmp_path / "top"
    for name in ["a/1.wav", "b/c/2.wav", "d/3.wav"]:
        wav(f"top/{name}")
    wav("elsewhere/4.wav")
    loops = [top / "a" / "again", top / "b" / "c" / "up"]
    loops[0].symlink_to(top)
    loops[1].symlink_to("..")
    (top / "b" / "to-d").symlink_to("../d")  # and back: no folder lies in the other
    (top / "d" / "to-b").symlink_to("../b")
    (top / "out").symlink_to("../elsewhere")
    for given in ([top], [top, top], [top, top / "b"]):
        paths = [sound.path.relative_to(top).as_posix() for sound in find_sounds(given)]
        assert paths == ["a/1.wav", "a/again", "b/c/2.wav", "b/c/up", "b/to-d/3.wav", "out/4.wav"]
    for loop in loops:
        with pytest.raises(UserError, match="leads back to a folder it lies in"):
            read_audio(loop)


def test_a_file_goes_by_its_name_where_it_lies(wav: WavMaker, tmp_path: Path) -> None:
    real = wav("in/z.wav")
    (tmp_path / "in" / "a.wav").symlink_to("z.wav")
    (tmp_path / "in" / "b.wav").symlink_to(wav("elsewhere/c.wav"))
    (tmp_path / "in" / "d.wav").symlink_to(tmp_path / "in" / "b.wav")
    (tmp_path / "in" / "odd.wav").symlink_to(wav("in/kept.tmp.wav").rename(tmp_path / "in" / "kept"))
    os.link(real, tmp_path / "in" / "hard.wav")  # a file in its own right
    names = ["b", "hard", "odd", "z"]
    assert [sound.id for sound in find_sounds([tmp_path / "in"])] == names
    assert [sound.id for sound in find_sounds([real, tmp_path / "in", real])] == names
    given = [tmp_path / "in" / "a.wav", real, tmp_path / "in" / "b.wav"]
    assert [sound.id for sound in find_sounds(given)] == ["a", "b"]


def test_hidden_and_odd_files_are_taken_when_they_are_given(wav: WavMaker, tmp_path: Path) -> None:
    wav("in/a.wav")
    hidden = wav("in/.b.wav")
    odd = wav("in/c.wav").rename(tmp_path / "in" / "c.sound")
    assert [s.path for s in find_sounds([tmp_path / "in"])] == [tmp_path / "in" / "a.wav"]
    found = find_sounds([hidden, tmp_path / "in", odd])
    assert [s.path for s in found] == [hidden, tmp_path / "in" / "a.wav", odd]


def test_inputs_that_fail_do_not_stop_the_others(wav: WavMaker, tmp_path: Path) -> None:
    (tmp_path / "dangling.wav").symlink_to("nowhere")
    (tmp_path / "folder.wav").mkdir()
    given = [tmp_path / "dangling.wav", tmp_path / "folder.wav", wav("a.wav"), tmp_path / "dangling.wav"]
    assert [sound.path for sound in find_sounds(given)] == given[:3]


def test_names_in_the_folder_that_one_is_in(
    wav: WavMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav("a.wav")
    wav("b/c.wav")
    monkeypatch.chdir(tmp_path)
    for given in (["."], ["b/..", "b"], [tmp_path], ["a.wav", "b/"]):
        first, second = find_sounds(given)
        assert first.id == "a"
        assert second.path.resolve() == tmp_path / "b" / "c.wav"
    monkeypatch.chdir(tmp_path / "b")
    assert [sound.id for sound in find_sounds([".."])] == ["a", "b/c"]


def test_ids_of_odd_names_are_text_and_tell_them_apart(tmp_path: Path, wav: WavMaker) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    content = wav().read_bytes()
    ids = {
        rb"caf\xe9.wav": r"caf\\xe9",
        b"caf\xe9.wav": r"caf\xe9",
        "café.wav".encode(): "café",
        b"two\nlines.wav": r"two\nlines",
        rb"two\nlines.wav": r"two\\nlines",
        b"\xff/\xfe.wav": r"\xff/\xfe",
    }
    for name in ids:
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(content)
    sounds = find_sounds([folder])
    assert {os.path.relpath(os.fsencode(s.audio), os.fsencode(folder)): s.id for s in sounds} == ids
    write_manifest(tmp_path / "m.jsonl", sounds)
    (tmp_path / "m.jsonl").read_text(encoding="utf-8")
    again = read_manifest(tmp_path / "m.jsonl")
    assert [(s.id, s.path.resolve()) for s in again] == [(s.id, s.path.resolve()) for s in sounds]
    assert all(read_audio(sound.path)[0].shape[1] == 4800 for sound in again)


def test_two_inputs_of_one_id_are_both_named(wav: WavMaker, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_manifest(tmp_path / f"{name}.jsonl", [Sound("same", wav(f"{name}/a.wav"))])
    with pytest.raises(UserError, match=r"two/a.wav: id 'same' .*one/a.wav; name them apart"):
        find_sounds([tmp_path / "one.jsonl", tmp_path / "two.jsonl"])


def test_missing_files_of_a_manifest_are_for_the_reader_to_find(wav: WavMaker, tmp_path: Path) -> None:
    lines = [{"id": "a", "audio": str(wav("a.wav"))}, {"id": "b", "audio": "nowhere/b.wav"}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    first, second = find_sounds([tmp_path / "m.jsonl"])
    assert read_audio(first.path)[1] == 16000
    with pytest.raises(UserError, match="b.wav: no such file"):
        read_audio(second.path)
