"""Where resynthesized sounds go."""

from pathlib import Path, PurePosixPath

from hypothesis import example, given
from hypothesis import strategies as st

from vqaudio.corpus.resynthesis import sound_paths


def test_a_suffix_is_not_doubled_and_names_that_meet_are_numbered() -> None:
    ids = ["a", "b/c.wav", "D.WAV", "e.flac", "a.wav", "../f.wav", ".wav"]
    wanted = ["a.wav", "b/c.wav", "D.wav", "e.flac.wav", "a-2.wav", "f.wav", "sound.wav"]
    assert sound_paths(Path("out"), ids) == [Path("out", name) for name in wanted]


@given(st.lists(st.one_of(st.text(), st.text("./\\\0\n~ aA")), max_size=5))
@example(["/etc/passwd", "../../x", "a/../../../x", "..", ".", "", "\0", "a\nb", "C:\\x", "~/x"])
def test_no_id_leads_out_of_the_folder(ids: list[str]) -> None:
    paths = sound_paths(Path("out"), ids)
    assert len({str(path).casefold() for path in paths}) == len(ids)
    for path in paths:
        parts = PurePosixPath(path).parts
        assert parts[0] == "out"
        assert len(parts) > 1
        assert ".." not in parts
        assert str(path).isprintable()
        assert not any("\\" in part or ":" in part for part in parts)
