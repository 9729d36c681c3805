"""Opening sound files and reading their samples: what is refused, and why."""

import os
import re
import stat
from collections.abc import Iterator

import numpy as np
import soundfile

from vqaudio.errors import UserError

AnyPath = str | os.PathLike[str]

BLOCK_FRAMES = 65536
MOST_CHANNELS = 32  # of a recording; a header or an array that says more has something else in mind
SAMPLE_RATES = (1000, 1_000_000)  # in Hz: from the slowest telemetry to ultrasound

# A clip may reach this far past the end of its file: manifests round their durations.
CLIP_SLACK_SECONDS = 0.1

# What libsndfile notes about a file whose header promises more than there is. Writers into a pipe
# cannot know the length and leave 2 GiB or more there, which is no damage.
_PROMISED = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_LENGTH = 0x7FFF0000

# The header of an MP3 file that counts its frames; without one its length is a guess.
_MP3_COUNT = re.compile(rb"(?:Xing|Info)\x00\x00\x00[\x01-\x0f]")
_MP3_HEAD_BYTES = 1 << 16
_ENDLESS = 1 << 62

# What libsndfile says less clearly than it could.
_CLEARER = {
    "Internal error : SF_INFO struct incomplete": "no usable sample rate in its header",
    "File does not exist or is not a regular file (possibly a pipe?)": "nothing in it can be decoded",
}


def read_blocks(
    path: AnyPath, start_seconds: float = 0.0, duration_seconds: float | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """Read a sound file, or a clip of it, from front to back.

    Args:
        path: wav, flac, ogg, opus, mp3 or whatever else libsndfile reads.
        start_seconds: where the clip begins.
        duration_seconds: how long it is; None reads to the end.

    Yields:
        Blocks `[T, C]` of float32, at most `BLOCK_FRAMES` long, and the sample rate in Hz. There
        is at least one, and none is empty.

    Raises:
        UserError: see `vqaudio.audio.read_audio`.
    """
    with _open(path) as file:
        _check_header(path, file)
        counted = _is_counted(path, file)
        start, end = _clip_frames(path, file, counted, start_seconds, duration_seconds)
        position, floats = start, not file.subtype.startswith("PCM")
        while position < end:
            try:
                if position == start > 0:
                    file.seek(start)
                block = file.read(min(BLOCK_FRAMES, end - position), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise UserError(
                    f"{path}: cut short or damaged ({reason(error)}); copy or download it again"
                ) from None
            if not len(block):
                if position > start and not counted:
                    return
                raise UserError(
                    f"{path}: truncated or damaged: ends after {position} samples; "
                    "copy or download it again"
                )
            position += len(block)
            if floats and not _is_finite(block):  # integers are
                raise UserError(f"{path}: holds NaN or infinite samples; write it again without")
            yield block, file.samplerate


def sound_seconds(path: AnyPath) -> float:
    """How long a sound file is: by its header, or by reading it where that does not say.

    Raises:
        UserError: it is missing, no sound, or cut short; other damage shows when it is read.
    """
    with _open(path) as file:
        _check_header(path, file)
        rate = file.samplerate
        if _is_counted(path, file):
            if file.format == "FLAC":  # its header does not tell that the rest is missing
                _check_end(path, file)
            return file.frames / rate
    return sum(len(block) for block, _ in read_blocks(path)) / rate


def native_name(path: AnyPath) -> AnyPath | bytes:
    """A path as soundfile takes it: where file names are bytes, they need not be those of a text."""
    return os.fsencode(path) if os.name == "posix" else path


def leads_back(path: AnyPath) -> bool:
    """Whether a path is a link to a folder that the link lies in, so that a search would go round."""
    if not os.path.islink(path):
        return False
    target = os.path.realpath(path)
    home = os.path.realpath(os.path.dirname(os.fspath(path)) or os.curdir)
    return os.path.commonpath([target, home]) == target


def reason(error: soundfile.LibsndfileError) -> str:
    """What libsndfile says, in plain words where its own are not."""
    said = str(error.error_string).rstrip(".")
    return _CLEARER.get(said, said)


class _Forward(soundfile.SoundFile):
    """A sound file that is read from front to back.

    After every read, `SoundFile` seeks to where it is already if the file can seek. That takes
    time, and makes the samples of an MP3 file depend on the length of the reads.
    """

    def seekable(self) -> bool:
        return False


def _open(path: AnyPath) -> _Forward:
    _check_file(path)
    try:
        return _Forward(native_name(path))
    except soundfile.LibsndfileError as error:
        try:
            open(path, "rb").close()
        except OSError as denied:
            raise UserError(_unreadable(path, denied)) from None
        raise UserError(
            f"{path}: not a sound file, or a damaged one ({reason(error)}); give wav, flac, ogg or mp3"
        ) from None
    except TypeError:  # a suffix such as .raw, which says nothing about rate and channels
        raise UserError(f"{path}: raw samples without a header; give wav, flac, ogg or mp3") from None


def _check_file(path: AnyPath) -> None:
    """Refuse what is no file with something in it: opening a pipe would wait for its writer."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            raise UserError(
                f"{path}: a link to {os.readlink(path)}, which is not there; mend the link"
            ) from None
        raise UserError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise UserError(_unreadable(path, error)) from None
    except ValueError:
        raise UserError(f"{path}: no file can have this name; check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise UserError(_why_no_search(path))
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: a pipe or a device, not a file; save the sound to a file first")
    if not status.st_size:
        raise UserError(f"{path}: empty; give a sound file")


def _why_no_search(folder: AnyPath) -> str:
    """Why a folder is where a sound file should be: most often it could not be searched for them."""
    if leads_back(folder):
        return f"{folder}: a link that leads back to a folder it lies in; leave it out"
    try:
        os.scandir(folder).close()
    except OSError as error:
        return _unreadable(folder, error)
    return f"{folder}: a folder, where a sound file is needed"


def _unreadable(path: AnyPath, error: OSError) -> str:
    return f"{path}: cannot be read ({error.strerror}); see that it can be, or leave it out"


def _is_finite(block: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        total = block.sum()  # of finite samples is finite, unless they are beyond all measure
    return bool(np.isfinite(total) or np.isfinite(block).all())


def _check_header(path: AnyPath, file: soundfile.SoundFile) -> None:
    if file.format == "RAW":  # a guess, by a suffix such as .au, about a file that has no header
        raise UserError(f"{path}: without the header of a sound file; give wav, flac, ogg or mp3")
    if _promises_more(file.extra_info):
        raise UserError(f"{path}: truncated; copy or download it again")
    if not file.frames:
        raise UserError(f"{path}: no samples, says its header; leave it out, or write it again")
    lowest, highest = SAMPLE_RATES
    if not lowest <= file.samplerate <= highest:
        raise UserError(
            f"{path}: {file.samplerate} Hz, says its header, which is not from {lowest} to {highest}; "
            "mend the header"
        )
    if file.channels > MOST_CHANNELS:
        raise UserError(
            f"{path}: {file.channels} channels, of which {MOST_CHANNELS} can be mixed down at most; "
            "choose from them"
        )


def _check_end(path: AnyPath, file: soundfile.SoundFile) -> None:
    """Refuse a file whose last sample cannot be reached."""
    try:
        file.seek(file.frames - 1)
        whole = len(file.read(1, dtype="float32")) == 1
    except soundfile.LibsndfileError:
        whole = False
    if not whole:
        raise UserError(f"{path}: truncated; copy or download it again")


def _promises_more(notes: str) -> bool:
    """Whether libsndfile's notes on a header say that the file was cut short."""
    for promised, found in _PROMISED.findall(notes):
        if int(found) < int(promised) < _UNKNOWN_LENGTH:
            return True
    # An Ogg stream may lack its end mark, but then it does not stop within a page.
    return "lacks an end-of-stream bit" in notes and "Junk after the last page" in notes


def _is_counted(path: AnyPath, file: soundfile.SoundFile) -> bool:
    """Whether `file.frames` is the truth.

    An MP3 file without the usual header only allows a guess; a FLAC file that was written into a
    pipe says nothing.
    """
    if file.format != "MP3":
        return bool(file.frames < _ENDLESS)
    with open(path, "rb") as raw:
        mark = raw.read(10)
        if mark[:3] == b"ID3":  # titles, or pictures of any size: skip four times 7 bits of bytes
            a, b, c, d = mark[6:]
            raw.seek(a << 21 | b << 14 | c << 7 | d, os.SEEK_CUR)
        return _MP3_COUNT.search(mark + raw.read(_MP3_HEAD_BYTES)) is not None


def _clip_frames(
    path: AnyPath,
    file: soundfile.SoundFile,
    counted: bool,
    start_seconds: float,
    duration_seconds: float | None,
) -> tuple[int, int]:
    """First frame of a clip and the one after its last."""
    rate = file.samplerate
    frames = file.frames if counted else _ENDLESS
    start, end = round(start_seconds * rate), frames
    if duration_seconds is not None:
        end = start + round(duration_seconds * rate)
        if end > frames + CLIP_SLACK_SECONDS * rate:
            raise UserError(
                f"{path}: lasts {frames / rate:.2f} s, but a clip of {duration_seconds:g} s "
                f"at {start_seconds:g} s is asked for"
            )
        end = min(end, frames)
    if not 0 <= start < end:
        raise UserError(f"{path}: no samples in the clip at {start_seconds:g} s")
    return start, end
