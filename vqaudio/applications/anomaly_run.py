"""What is noticed in many sounds, by worker processes."""

import logging
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from vqaudio.applications.anomaly_features import Listener, Noticed
from vqaudio.corpus import processes
from vqaudio.corpus.encoding import source_of
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError

Waiting = deque[tuple[Sound, Future[tuple[Noticed | UserError, list[Any]]]]]

AHEAD = 4  # sounds a worker that are begun before the first result is asked for

log = logging.getLogger("vqaudio")


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

    Raises:
        UserError: a worker process died.
    """
    if workers == 1:
        for sound in sounds:
            yield sound, _listen(listener, sound)
        return
    waiting: Waiting = deque()
    pool = ProcessPoolExecutor(workers, processes.context(), _begin, (listener,))
    try:
        for sound in sounds:
            waiting.append((sound, pool.submit(_listen_in_worker, sound)))
            if len(waiting) > AHEAD * workers:
                yield _result(waiting)
        while waiting:
            yield _result(waiting)
    except BrokenProcessPool:
        raise UserError(
            f"{waiting[0][0].path}: a process that listened ended on this sound or one soon after; "
            "leave it out, or try with 1 worker"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _result(waiting: Waiting) -> tuple[Sound, Noticed | UserError]:
    """The first of what is waited for; what its worker logged is logged here."""
    sound, future = waiting[0]
    noticed, notices = future.result()
    waiting.popleft()
    for notice in notices:
        log.log(*notice)
    return sound, noticed


def _listen(listener: Listener, sound: Sound) -> Noticed | UserError:
    try:
        return listener.listen(source_of(listener.codec, sound))
    except UserError as error:
        return error


def _begin(listener: Listener) -> None:
    global _listener
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
    log.handlers, log.propagate = [_notices], False
    _listener = listener


def _listen_in_worker(sound: Sound) -> tuple[Noticed | UserError, list[Any]]:
    _notices.kept.clear()
    return _listen(_listener, sound), list(_notices.kept)
