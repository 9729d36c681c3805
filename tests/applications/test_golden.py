"""A file that was made once, elsewhere: the same bytes are the same codes on every machine.

When the shipped tables change, `vqaudio compress vqaudio/assets/sentence.flac
tests/applications/sentence.vqa` makes it anew, and the test says the new sum of its codes.
"""

import hashlib
import io
from pathlib import Path

from vqaudio.applications.block_codes import write_codes
from vqaudio.applications.code_tables import load_tables
from vqaudio.applications.decompression import Decompressor
from vqaudio.applications.static_model import StaticModel
from vqaudio.applications.vqa_format import Block, read_header
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.model_folder import SHIPPED, load

FILE = Path(__file__).parent / "sentence.vqa"
CODES = "f5dcf454a320299e0a11db4016f4f2233a0405a9b988f5991b26c069bdb536fd"


def test_bytes_and_codes_are_the_same_everywhere() -> None:
    folder = SHIPPED / "speech-16k"
    codec = load(folder)
    assert isinstance(codec, Codec)
    model = StaticModel(load_tables(codec, folder))
    file = io.BytesIO(FILE.read_bytes())
    header = read_header(file, FILE.name)
    [(channel, codes)] = Decompressor(codec, model, header, file, FILE.name).parts()
    assert isinstance(codes, Codes)
    said = b"".join(level.numpy().astype("<i2").tobytes() for level in codes.levels)
    assert (channel, hashlib.sha256(said).hexdigest()) == (0, CODES)
    block = Block(0, write_codes(model, codes.levels), codes.num_samples)
    assert header.to_bytes() + block.to_bytes(header.seed) == FILE.read_bytes()
