"""A look at the sounds before a codec learns from them: silence is refused, other faults are named."""

import logging

from vqaudio.errors import UserError
from vqaudio.training.data import Crops, header

log = logging.getLogger("vqaudio")

SILENT = 1e-4  # below every step of 13 bits
FULL_SCALE, CLIPPED_SHARE = 0.999, 1e-3
EIGHT_BITS = ("PCM_U8", "PCM_S8")
LOOKED_AT = 64  # sounds whose header is read


def listen(crops: Crops) -> None:
    """Look at the first step's crops and at some files.

    Args:
        crops: to be trained on.

    Raises:
        UserError: all is silence, or a file cannot be read.
    """
    peaks = crops.batch(0).abs().flatten(1)
    if peaks.max() < SILENT:
        raise UserError(
            f"{crops.sounds[0].path} and others: the first {len(peaks)} crops are silent; give sounds "
            "that can be heard"
        )
    clipped = int(((peaks >= FULL_SCALE).float().mean(1) > CLIPPED_SHARE).sum())
    if clipped:
        log.warning(
            "%d of the first %d crops are clipped, and a codec learns to clip from them; leave them "
            "out, or give recordings of more headroom",
            clipped,
            len(peaks),
        )
    looked_at = crops.sounds[:LOOKED_AT]
    coarse = [s for s in looked_at if header(s).subtype in EIGHT_BITS]
    if coarse:
        log.warning(
            "%s: 8 bits, as %d of the first %d sounds; a codec learns their noise, leave them out",
            coarse[0].path,
            len(coarse),
            len(looked_at),
        )
