"""What is noticed in many sounds, by worker processes."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vqaudio.applications.anomaly_features import Listener, Noticed
from vqaudio.corpus.encoding import source_of
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.pool import run_tasks
from vqaudio.errors import UserError

log = logging.getLogger("vqaudio")


class _Heard(NamedTuple):
    """What a worker found of the sound at a position, and what it logged meanwhile."""

    position: int
    noticed: Noticed | UserError
    notices: Sequence[tuple[Any, ...]] = ()


class _Notices(logging.Handler):
    """Keeps what a worker logs, for the process that started it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Any, ...]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append((record.levelno, record.msg, *(record.args or ())))


_listener: Listener  # of a worker process, as the next
_notices = _Notices()


def listen_to(
    listener: Listener, sounds: Sequence[Sound], workers: int = 1
) -> Iterator[tuple[Sound, Noticed | UserError]]:
    """Listen to sounds, each with what was noticed in it or the reason why it cannot be read.

    Args:
        listener: the same whatever the workers.
        sounds: in the order of the results.
        workers: processes; 1 means this one.
    """
    if workers == 1:
        for sound in sounds:
            yield sound, _listen(listener, sound)
        return
    found: dict[int, Noticed | UserError] = {}  # that came before an earlier one
    next_one = 0
    tasks = enumerate(sounds)
    for heard in run_tasks(_listen_in_worker, tasks, workers, _begin, (listener,), _crashed):
        for notice in heard.notices:
            log.log(*notice)
        found[heard.position] = heard.noticed
        while next_one in found:
            yield sounds[next_one], found.pop(next_one)
            next_one += 1


def _listen(listener: Listener, sound: Sound) -> Noticed | UserError:
    try:
        return listener.listen(source_of(listener.codec, sound))
    except UserError as error:
        return error


def _begin(listener: Listener) -> None:
    global _listener
    log.handlers, log.propagate = [_notices], False
    _listener = listener


def _listen_in_worker(task: tuple[int, Sound]) -> _Heard:
    position, sound = task
    _notices.kept.clear()
    return _Heard(position, _listen(_listener, sound), list(_notices.kept))


def _crashed(task: tuple[int, Sound]) -> _Heard:
    position, sound = task
    return _Heard(
        position, UserError(f"{sound.path}: ends the process that listens to it; leave it out")
    )
