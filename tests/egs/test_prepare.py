"""What each `prepare.py` of `egs/` makes of its corpus, and of one that is not whole."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import soundfile

from tests.egs.layouts import LAYOUTS, tree
from tests.sounds import tone
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.preparing import hashed_split, pieces

EGS = Path(__file__).parents[2] / "egs"
HASHED = ("gtzan", "kathleen", "kerstin", "ljspeech", "wakewords")  # splits by the name of the sound


class Prepared(NamedTuple):
    """How a `prepare.py` ended, and the lines of its manifest by id."""

    status: int
    err: str
    lines: dict[str, dict[str, Any]]

    def of(self, key: str) -> dict[str, Any]:
        return {name: line.get(key) for name, line in self.lines.items()}


def prepare(name: str, data: Path, out: Path) -> Prepared:
    manifest = out / "manifest.jsonl"
    words = [sys.executable, EGS / name / "prepare.py", data, manifest]
    ran = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else []
    for line in map(json.loads, lines):
        assert (out / line["audio"]).is_file()
    by_id = {line["id"]: line for line in map(json.loads, lines)}
    assert len(by_id) == len(lines)
    return Prepared(ran.returncode, ran.stderr, by_id)


def refused(ran: Prepared, *words: str) -> None:
    """It says in one line what is wrong, and leaves no manifest."""
    assert ran.status == 2
    assert not ran.lines
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    for word in words:
        assert word in ran.err


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    """Makes what a `prepare.py` makes of its whole corpus, once."""

    @cache
    def made(name: str) -> Prepared:
        folder = tmp_path_factory.mktemp(name)
        ran = prepare(name, tree(name, folder / "data"), folder / "out")
        assert ran.status == 0, ran.err
        return ran

    return made


def test_ljspeech_has_the_normalized_text(whole: Callable[[str], Prepared]) -> None:
    ran = whole("ljspeech")
    assert set(ran.of("text").values()) == {f"In 19{i:02}, Doctor Who" for i in range(12)}
    assert Counter(ran.of("split").values()) == {"train": 8, "validation": 2, "test": 2}


def test_librispeech_has_its_own_splits(whole: Callable[[str], Prepared]) -> None:
    ran = whole("librispeech")
    assert {(line["speaker"], line["split"]) for line in ran.lines.values()} == {
        ("19", "train"),
        ("26", "train"),
        ("1272", "validation"),
        ("1089", "test"),
    }
    assert ran.lines["26-198-0003"]["text"] == "MISTER 26 SAID"


def test_libritts_has_the_normalized_text(whole: Callable[[str], Prepared]) -> None:
    ran = whole("libritts")
    line = ran.lines["1089_198_000002_000000"]
    assert (line["text"], line["speaker"], line["split"]) == ("Mister 2 said.", "1089", "test")
    assert len(ran.lines) == 16


def test_vctk_leaves_out_who_has_no_text_or_no_second_microphone(
    whole: Callable[[str], Prepared],
) -> None:
    ran = whole("vctk")
    assert set(ran.of("speaker").values()) == {"p225", "s5"}
    assert all("_mic2" in line["audio"] for line in ran.lines.values())
    assert set(ran.of("text").values()) == {"Please call Stella."}
    splits = ran.of("split")
    for name, split in splits.items():  # a sentence is in one split, whoever reads it
        assert split == hashed_split(name.partition("_")[2])
    assert set(splits.values()) == {"train", "validation", "test"}


def test_sc09_is_the_ten_digits_with_the_listed_splits(whole: Callable[[str], Prepared]) -> None:
    ran = whole("sc09")
    assert len(set(ran.of("label").values())) == 10
    assert ran.lines["nine/004ae714_nohash_0"]["split"] == "test"
    assert Counter(ran.of("split").values()) == {"train": 10, "validation": 10, "test": 10}
    assert "speaker" not in ran.lines["zero/0a7c2a8d_nohash_0"]


def test_yesno_says_what_its_names_say(whole: Callable[[str], Prepared]) -> None:
    ran = whole("yesno")
    assert ran.lines["0_0_0_1_0_0_1_1"]["text"] == "no no no yes no no yes yes"
    assert Counter(ran.of("split").values()) == {"train": 9, "validation": 1, "test": 2}


def test_gtzan_leaves_out_what_is_damaged_as_it_is_distributed(whole: Callable[[str], Prepared]) -> None:
    ran = whole("gtzan")
    assert Counter(ran.of("label").values()) == {"blues": 5, "jazz": 5, "rock": 5}
    assert "jazz.00054" not in ran.lines


def test_gtzan_takes_au_files_too(tmp_path: Path) -> None:
    for genre in ("blues", "rock"):
        path = tmp_path / "genres" / genre / f"{genre}.00000.au"
        path.parent.mkdir(parents=True)
        soundfile.write(path, tone(0.3, 22050)[0].numpy(), 22050)
    ran = prepare("gtzan", tmp_path, tmp_path / "out")
    assert set(ran.lines) == {"blues.00000", "rock.00000"}


def test_musdb18_cuts_songs_into_pieces_of_the_mixture(whole: Callable[[str], Prepared]) -> None:
    ran = whole("musdb18")
    assert all(line["audio"].endswith("mixture.wav") for line in ran.lines.values())
    long = [line for name, line in ran.lines.items() if name.startswith("Others - Long/")]
    assert [line.get("start_seconds", 0) for line in long] == [0, pytest.approx(30.5, abs=0.1)]
    assert {line["split"] for line in long} == {"test"}
    songs = {name: split for name, split in ran.of("split").items() if name.startswith("A Band")}
    assert Counter(songs.values()) == {"train": 8, "validation": 2}


def test_esc50_holds_out_folds(whole: Callable[[str], Prepared]) -> None:
    ran = whole("esc50")
    folds = {name.partition("-")[0]: split for name, split in ran.of("split").items()}
    assert folds == {"1": "train", "2": "train", "3": "train", "4": "validation", "5": "test"}
    assert ran.lines["5-100032-A-36"]["label"] == "vacuum_cleaner"


def test_nsynth_is_labelled_by_family(whole: Callable[[str], Prepared]) -> None:
    ran = whole("nsynth")
    assert Counter(ran.of("label").values()) == {"bass": 6, "flute": 6}
    assert Counter(ran.of("split").values()) == {"train": 8, "validation": 2, "test": 2}
    assert ran.lines["bass_train_003-063-050"]["pitch"] == "63"


def test_a_folder_is_searched_to_any_depth_and_what_is_no_sound_left_out(
    whole: Callable[[str], Prepared],
) -> None:
    ran = whole("folder")
    assert Counter(ran.of("split").values()) == {"train": 10, "validation": 1, "test": 1}
    assert "a/b1/05" in ran.lines
    (line,) = ran.err.splitlines()
    assert line.startswith("left out, as they cannot be read: 1; ")
    assert "broken.wav" in line


@pytest.mark.parametrize("name", ["kathleen", "kerstin"])
def test_read_sentences_have_their_text(name: str, whole: Callable[[str], Prepared]) -> None:
    ran = whole(name)
    assert "Fünf Äpfel, höchstens." in ran.of("text").values()
    assert Counter(ran.of("split").values()) == {"train": 8, "validation": 2, "test": 2}


def test_wake_words_are_labels(whole: Callable[[str], Prepared]) -> None:
    ran = whole("wakewords")
    assert Counter(ran.of("label").values()) == {"athena": 6, "heysavant": 6}


def test_fsdd_has_its_own_test_split(tmp_path: Path) -> None:
    for name in ("3_theo_4", "3_theo_5", "3_theo_6", "3_theo_7", "0_yweweler_0", "9_lucas_49", "noise"):
        path = tmp_path / "recordings" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(0.25, 8000)[0].numpy(), 8000)
    ran = prepare("fsdd", tmp_path, tmp_path / "out")
    assert ran.of("split") == {
        "0_yweweler_0": "test",
        "3_theo_4": "test",
        "3_theo_5": "validation",
        "3_theo_6": "validation",
        "3_theo_7": "train",
        "9_lucas_49": "train",
    }
    line = ran.lines["9_lucas_49"]
    assert (line["label"], line["speaker"], line["duration_seconds"]) == ("9", "lucas", 0.25)


@pytest.mark.parametrize("name", HASHED)
def test_hashed_splits_hang_on_the_name_alone(name: str, whole: Callable[[str], Prepared]) -> None:
    assert all(split == hashed_split(id) for id, split in whole(name).of("split").items())


@pytest.mark.parametrize(
    ("name", "loader", "arguments"),
    [
        ("ljspeech", "LJSPEECH", {}),
        ("librispeech", "LIBRISPEECH", {"url": "train-clean-100"}),
        ("libritts", "LIBRITTS", {"url": "train-clean-100"}),
        ("vctk", "VCTK_092", {}),
        ("sc09", "SPEECHCOMMANDS", {"subset": "testing"}),
        ("yesno", "YESNO", {}),
        ("gtzan", "GTZAN", {}),
        ("musdb18", "MUSDB_HQ", {"subset": "train"}),
    ],
)
def test_the_trees_are_as_torchaudio_unpacks_the_corpora(
    name: str, loader: str, arguments: dict[str, str], tmp_path: Path
) -> None:
    import torchaudio.datasets

    found = getattr(torchaudio.datasets, loader)(str(tree(name, tmp_path)), **arguments)
    expected = {"ljspeech": 12, "vctk": 16, "sc09": 11, "yesno": 12, "gtzan": 16, "musdb18": 10}
    assert len(found) == expected.get(name, 8)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "folder"])
def test_another_layout_is_named(name: str, tmp_path: Path, out: Path) -> None:
    (tmp_path / "data" / "something else").mkdir(parents=True)
    refused(prepare(name, tmp_path / "data", out), "expected ", "found something else")


@pytest.mark.parametrize(
    ("name", "listing"),
    [
        ("ljspeech", "LJSpeech-1.1/metadata.csv"),
        ("kathleen", "metadata.csv"),
        ("sc09", "SpeechCommands/speech_commands_v0.02/testing_list.txt"),
        ("esc50", "ESC-50-master/meta/esc50.csv"),
        ("nsynth", "nsynth-valid/examples.json"),
    ],
)
def test_a_missing_listing_is_named(name: str, listing: str, tmp_path: Path, out: Path) -> None:
    data = tree(name, tmp_path / "data")
    (data / listing).unlink()
    refused(prepare(name, data, out), "expected ", Path(listing).name)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("ljspeech", "**/wavs/*.wav"),
        ("librispeech", "**/19-*.flac"),
        ("libritts", "**/1272*.normalized.txt"),
        ("vctk", "**/txt/p225/*.txt"),
        ("sc09", "**/seven/004ae714*.wav"),
        ("esc50", "**/audio/*.wav"),
        ("nsynth", "**/nsynth-test/audio/*.wav"),
        ("kerstin", "audio/*.flac"),
    ],
)
def test_a_file_that_is_missing_is_named(name: str, pattern: str, tmp_path: Path, out: Path) -> None:
    data = tree(name, tmp_path / "data")
    gone = sorted(data.glob(pattern))[0]
    gone.unlink()
    refused(prepare(name, data, out), gone.name, "missing")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("ljspeech", "**/*.wav"), ("kathleen", "audio/*.flac"), ("sc09", "**/two/*.wav")],
)
@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_a_file_that_was_cut_short_is_named(
    name: str, pattern: str, kept: float, tmp_path: Path, out: Path
) -> None:
    data = tree(name, tmp_path / "data")
    path = sorted(data.glob(pattern))[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    refused(prepare(name, data, out), path.name)


def test_a_broken_line_of_a_listing_is_named(tmp_path: Path, out: Path) -> None:
    data = tree("kathleen", tmp_path / "data")
    (data / "metadata.csv").write_text("a|b\nno text\n")
    refused(prepare("kathleen", data, out), "metadata.csv:2: ")
    data = tree("nsynth", tmp_path / "data")
    (data / "nsynth-test" / "examples.json").write_text('{"a": ')
    refused(prepare("nsynth", data, out), "nsynth-test/examples.json: not JSON")


def test_a_folder_without_sounds_is_named(tmp_path: Path, out: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    refused(prepare("folder", data, out), str(data), "no sound files")
    refused(prepare("folder", tmp_path / "none", out), "none: no such folder")
    for number in range(4):
        (data / f"{number}.wav").write_text("no sound")
    ran = prepare("folder", data, out)
    assert ran.status == 2
    left_out, error = ran.err.splitlines()
    assert left_out.startswith("left out, as they cannot be read: 4; the first: ")
    assert error.startswith(f"error: {data}: 0 sounds that can be read; ")


@pytest.mark.parametrize("codec", ["{model: speech-16k}", "{recipe: speech-16k}"])
def test_texts_that_a_data_set_has_not_are_asked_for_before_anything_is_trained(
    codec: str, tmp_path: Path
) -> None:
    data = tree("folder", tmp_path / "data")
    (data / "a" / "broken.wav").unlink()
    changes = [f"codec={codec}", "samples={texts: {each: text}}"]
    words = ["bash", EGS / "folder" / "run.sh", "--data", data, "--out", tmp_path / "out", *changes]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith("error: samples: told each text, but no sound ")
    assert not {"codec", "tokens"} & {path.name for path in (tmp_path / "out").iterdir()}


def test_pieces_are_of_one_length_and_leave_nothing_out() -> None:
    cut = list(pieces(Sound("a", "a.wav", 1.0, 100.0, {"split": "test"}), 30.0))
    assert [piece.id for piece in cut] == ["a/0000", "a/0001", "a/0002"]
    assert [piece.start_seconds for piece in cut] == pytest.approx([1.0, 1 + 100 / 3, 1 + 200 / 3])
    assert sum(piece.duration_seconds or 0 for piece in cut) == pytest.approx(100)
    short = Sound("b", "b.wav", 0.0, 44.0)
    assert list(pieces(short, 30.0)) == [short]
