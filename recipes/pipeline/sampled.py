"""Where the samples of a recipe lie: DIR/<kind>, or DIR/<kind>/<what was asked for>."""

from pathlib import Path

SHARD = "tokens-00000.parquet"  # written last into a folder of `vqaudio sample`


def sampled_folders(samples: Path) -> dict[str, list[Path]]:
    """The folders of samples, by kind."""
    kinds: dict[str, list[Path]] = {}
    for shard in sorted(samples.rglob(SHARD)):
        kinds.setdefault(shard.relative_to(samples).parts[0], []).append(shard.parent)
    return kinds
