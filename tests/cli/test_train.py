"""From sounds to a codec, its tokens, a prior and new sound, all by the command line."""

from pathlib import Path

from tests.cli.conftest import Program
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.model_folder import load
from vqaudio.prior.model import Prior


def test_all_the_way(
    program: Program, tokens: Path, recipe: Path, prior_recipe: Path, tmp_path: Path
) -> None:
    manifest = tokens.parent / "sounds.jsonl"
    train = ["train", "codec", recipe, "--data", manifest, "--out", tmp_path / "codec"]
    ran = program(*train, "optimization.steps=6")
    assert ran.status == 0, ran.err
    ran = program(*train, "optimization.steps=6", "--resume")  # nothing is left to do
    assert ran.status == 0, ran.err
    ran = program("tokenize", manifest, "--out", tmp_path / "tokens", "--codec", tmp_path / "codec")
    assert ran.status == 0, ran.err
    corpus = TokenDataset(tmp_path / "tokens")
    assert len(corpus) == 12
    assert corpus.codec == load(tmp_path / "codec").fingerprint

    ran = program(
        "train", "prior", prior_recipe, "--tokens", tmp_path / "tokens", "--out", tmp_path / "prior"
    )
    assert ran.status == 0, ran.err
    prior = load(tmp_path / "prior")
    assert isinstance(prior, Prior)
    assert prior.labels == ["no", "yes"]
    assert prior.codec.fingerprint == corpus.codec
    models = ["--prior", tmp_path / "prior", "--codec", tmp_path / "codec"]
    ran = program("sample", "--out", tmp_path / "new", *models, "--seconds", "0.05", "--label", "no")
    assert ran.status == 0, ran.err
    assert len(list((tmp_path / "new").glob("*.wav"))) == 1
    for model in ("codec", "prior"):
        ran = program("info", tmp_path / model)
        assert ran.status == 0, ran.err
        assert load(tmp_path / model).fingerprint in ran.out
