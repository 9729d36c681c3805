"""Tiny data sets in the layout of each corpus that `egs/` has a recipe for, as it is distributed."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import soundfile

from tests.sounds import tone
from vqaudio.corpus.preparing import hashed_split

WANTED = {"train": 8, "validation": 2, "test": 2}
TEXTS = ["He saw the sea.", "Nobody came, said the man.", "Fünf Äpfel, höchstens.", "It is late."]


def sound(path: Path, sample_rate: int, seconds: float = 0.6, channels: int = 1) -> None:
    """Write a buzz; another name gives another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, path.stem + path.parent.name))
    seconds += 0.02 * (seed % 10)
    soundfile.write(path, tone(seconds, sample_rate, channels, seed).T.numpy(), sample_rate)


def text(path: Path, *lines: str) -> None:
    """Write lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def hashed(names: Iterable[str], validation: float = 0.05, test: float = 0.05) -> list[str]:
    """The first of the names that fill all splits, in their order."""
    counts: Counter[str] = Counter()
    chosen = []
    for name in names:
        split = hashed_split(name, validation, test)
        if counts[split] < WANTED[split]:
            counts[split] += 1
            chosen.append(name)
    return chosen


def ljspeech(folder: Path) -> None:
    names = hashed(f"LJ{chapter:03}-{number:04}" for chapter in range(1, 5) for number in range(1, 99))
    lines = [f"{name}|In 19{i:02}, Dr. Who|In 19{i:02}, Doctor Who" for i, name in enumerate(names)]
    text(folder / "LJSpeech-1.1" / "metadata.csv", *lines)
    for name in names:
        sound(folder / "LJSpeech-1.1" / "wavs" / f"{name}.wav", 22050)


def librispeech(folder: Path) -> None:
    subsets = {"train-clean-100": (19, 26), "dev-clean": (1272,), "test-clean": (1089,)}
    for subset, speakers in subsets.items():
        for speaker in speakers:
            chapter = folder / "LibriSpeech" / subset / str(speaker) / "198"
            names = [f"{speaker}-198-{number:04}" for number in range(4)]
            text(
                chapter / f"{speaker}-198.trans.txt",
                *(f"{name} MISTER {speaker} SAID" for name in names),
            )
            for name in names:
                sound(chapter / f"{name}.flac", 16000)


def libritts(folder: Path) -> None:
    subsets = {"train-clean-100": (19, 26), "dev-clean": (1272,), "test-clean": (1089,)}
    for subset, speakers in subsets.items():
        for speaker in speakers:
            for number in range(4):
                path = (
                    folder
                    / "LibriTTS"
                    / subset
                    / str(speaker)
                    / "198"
                    / f"{speaker}_198_00000{number}_000000.wav"
                )
                sound(path, 24000)
                text(path.with_suffix(".normalized.txt"), f"Mister {number} said.")
                text(path.with_suffix(".original.txt"), f"Mr. {number} said.")


def vctk(folder: Path) -> None:
    corpus = folder / "VCTK-Corpus-0.92"
    for speaker in ("p225", "p280", "p315", "s5"):
        for number in hashed(f"{number:03}" for number in range(1, 400))[-8:]:
            for microphone in (1, 2):
                if (speaker, microphone) == ("p280", 2):
                    continue
                name = f"{speaker}_{number}_mic{microphone}.flac"
                sound(corpus / "wav48_silence_trimmed" / speaker / name, 48000)
            if speaker != "p315":
                text(corpus / "txt" / speaker / f"{speaker}_{number}.txt", "Please call Stella.")
    text(corpus / "speaker-info.txt", "ID  AGE  GENDER  ACCENTS")


def sc09(folder: Path) -> None:
    corpus = folder / "SpeechCommands" / "speech_commands_v0.02"
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "bed"]
    for word in words:
        for speaker in ("0a7c2a8d", "1c1060b1", "004ae714"):
            sound(corpus / word / f"{speaker}_nohash_0.wav", 16000, seconds=0.5)
    sound(corpus / "_background_noise_" / "white_noise.wav", 16000)
    text(corpus / "validation_list.txt", *(f"{word}/1c1060b1_nohash_0.wav" for word in words))
    text(corpus / "testing_list.txt", *(f"{word}/004ae714_nohash_0.wav" for word in words))


def yesno(folder: Path) -> None:
    for number in range(12):
        name = "_".join(f"{number * 19 % 256:08b}")
        sound(folder / "waves_yesno" / f"{name}.wav", 8000)
    text(folder / "waves_yesno" / "README", "yes and no")


def gtzan(folder: Path) -> None:
    for genre in ("blues", "jazz", "rock"):
        for name in hashed(f"{genre}.{number:05}" for number in range(100))[-5:]:
            sound(folder / "genres" / genre / f"{name}.wav", 22050)
    text(folder / "genres" / "jazz" / "jazz.00054.wav", "no sound")


def musdb18(folder: Path) -> None:
    songs = hashed((f"A Band - Song {number}" for number in range(100)), validation=0.1, test=0.0)
    for part, own in {"train": songs, "test": ["Others - One", "Others - Two"]}.items():
        for song in own:
            for stem in ("mixture", "vocals"):
                sound(folder / "musdb18hq" / part / song / f"{stem}.wav", 44100, channels=2)
    sound(folder / "musdb18hq" / "test" / "Others - Long" / "mixture.wav", 44100, 61.0, channels=2)


def esc50(folder: Path) -> None:
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for target, category in {0: "dog", 14: "chirping_birds", 36: "vacuum_cleaner"}.items():
            name = f"{fold}-100032-A-{target}.wav"
            lines.append(f"{name},{fold},{target},{category},True,100032,A")
            sound(folder / "ESC-50-master" / "audio" / name, 44100)
    text(folder / "ESC-50-master" / "meta" / "esc50.csv", *lines)


def nsynth(folder: Path) -> None:
    for part, count in {"train": 4, "valid": 1, "test": 1}.items():
        notes = {}
        for family in ("bass", "flute"):
            for number in range(count):
                name = f"{family}_synthetic_{number:03}-{60 + number:03}-050"
                notes[name] = {"instrument_family_str": family, "pitch": 60 + number, "velocity": 50}
                sound(folder / f"nsynth-{part}" / "audio" / f"{name}.wav", 16000)
        (folder / f"nsynth-{part}" / "examples.json").write_text(json.dumps(notes))


def folder(folder: Path) -> None:
    for number in range(12):
        suffix = ("wav", "flac", "ogg")[number % 3]
        sound(folder / "a" / f"b{number % 2}" / f"{number:02}.{suffix}", 16000 + 6050 * (number % 2))
    text(folder / "notes.txt", "no sound")
    text(folder / "a" / "broken.wav", "no sound")


def kathleen(folder: Path) -> None:
    _told(folder, hashed(f"arctic_a{number:04}" for number in range(300)), TEXTS)


def kerstin(folder: Path) -> None:
    _told(folder, hashed(f"de_rhasspy-{number:04}" for number in range(300)), TEXTS)


def wakewords(folder: Path) -> None:
    _told(folder, hashed(f"athena-{number:08}" for number in range(300)), ["athena", "heysavant"])


def _told(folder: Path, names: list[str], said: list[str]) -> None:
    lines = [f"{name}|{said[number % len(said)]}" for number, name in enumerate(names)]
    text(folder / "metadata.csv", *lines)
    for name in names:
        sound(folder / "audio" / f"{name}.flac", 16000)


def fsdd(folder: Path) -> None:
    for digit in ("3", "7"):
        for speaker in ("theo", "lucas"):
            for index in (0, 5, 7, 8):
                name = f"{digit}_{speaker}_{index}.wav"
                sound(folder / "free-spoken-digit-dataset-master" / "recordings" / name, 8000)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    layout.__name__: layout
    for layout in (
        *(ljspeech, librispeech, libritts, vctk, sc09, yesno, gtzan, musdb18, esc50, nsynth),
        *(folder, kathleen, kerstin, wakewords, fsdd),
    )
}


def tree(name: str, where: Path) -> Path:
    """Write a corpus anew, and give its folder."""
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    LAYOUTS[name](where)
    return where
