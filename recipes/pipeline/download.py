"""Fetch a data set: by torchaudio.datasets, which know addresses and checksums, or by archives.

python recipes/pipeline/download.py '{"torchaudio": "YESNO"}' OUT

OUT appears when all is there and unpacked. What a stopped download left is fetched again.
"""

import json
import shutil
import tarfile
import urllib.error
import zipfile
from pathlib import Path

from settings import Download

from vqaudio.cli.terminal import note, run_script
from vqaudio.config.reading import parse_section
from vqaudio.errors import UserError
from vqaudio.files import make_folder

PART_NAME = {"LIBRISPEECH": "url", "LIBRITTS": "url", "SPEECHCOMMANDS": "url", "MUSDB_HQ": "subset"}
WHERE = "see to the network, or fetch it by hand and give --data"


def main(what: str, out: Path) -> None:
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # archives half unpacked would pass for whole ones
    make_folder(part)
    download = parse_section(Download, json.loads(what), "download")
    try:
        if download.torchaudio:
            _by_torchaudio(download.torchaudio, download.parts, part)
        for address in download.archives:
            _archive(address, part)
    except (urllib.error.URLError, ConnectionError, TimeoutError, RuntimeError) as error:
        raise UserError(f"download: {error}; {WHERE}") from None
    part.replace(out)


def _by_torchaudio(name: str, parts: list[str], folder: Path) -> None:
    import torchaudio.datasets

    kind = getattr(torchaudio.datasets, name, None)
    if kind is None:
        raise UserError(f"download.torchaudio: torchaudio.datasets has no {name}")
    for chosen in [{PART_NAME[name]: part} for part in parts] or [{}]:
        note(" ".join(["fetching", name, *chosen.values()]))
        kind(folder, **chosen, download=True)


def _archive(address: str, folder: Path) -> None:
    import torch

    note(f"fetching {address}")
    path = folder / address.rsplit("/", 1)[-1]
    torch.hub.download_url_to_file(address, str(path))
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        else:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{address}: no whole archive ({error}); {WHERE}") from None
    path.unlink()


if __name__ == "__main__":
    run_script(main)
