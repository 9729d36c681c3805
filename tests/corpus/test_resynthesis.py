"""Where resynthesized sounds go."""

from pathlib import Path

from vqaudio.corpus.resynthesis import sound_paths


def test_a_suffix_is_not_doubled_and_names_that_meet_are_numbered() -> None:
    ids = ["a", "b/c.wav", "D.WAV", "e.flac", "a.wav", "../f.wav", ".wav"]
    wanted = ["a.wav", "b/c.wav", "D.wav", "e.flac.wav", "a-2.wav", "f.wav", "sound.wav"]
    assert sound_paths(Path("out"), ids) == [Path("out", name) for name in wanted]
