"""Worker processes that outlive what kills one of them, such as a sound that crashes a measure."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from multiprocessing.connection import wait as wait_for
from threading import Thread
from typing import Any, TypeVar

import torch

from vqaudio.corpus import processes

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2  # tasks a worker, so that none waits
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_tasks(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    begin: Callable[..., None],
    args: tuple[Any, ...],
    crashed: Callable[[Item], Result],
) -> Iterator[Result]:
    """Do something with each of some items in worker processes, one thread each.

    Args:
        work: what to do; a function of a module.
        items: to do it with.
        workers: how many.
        begin: called first in each worker, with `args`.
        args: for it.
        crashed: gives the result of an item that a worker dies of, in this process.

    Yields:
        Results, as they come.
    """
    for name in ONE_THREAD:  # before the first process starts that numpy is imported in
        os.environ.setdefault(name, "1")
    waiting = iter(items)

    def alone(item: Item) -> Result:
        with _pool(1, begin, args) as pool:
            try:
                return pool.submit(work, item).result()
            except BrokenProcessPool:
                return crashed(item)

    while True:
        lost: list[Item] = []
        with _pool(workers, begin, args) as pool:
            try:
                yield from _until_broken(pool, work, waiting, AHEAD * workers, lost)
            except BaseException:
                pool.shutdown(cancel_futures=True)  # what is at work is waited for
                raise
        if not lost:
            return
        for item in lost:  # one of those that were at work has killed the pool
            yield alone(item)


def _until_broken(
    pool: ProcessPoolExecutor,
    work: Callable[[Item], Result],
    waiting: Iterator[Item],
    most: int,
    lost: list[Item],
) -> Iterator[Result]:
    """Results until there are no more items, or a worker dies: then `lost` has what was begun."""
    running: dict[Future[Result], Item] = {}
    while not lost:
        while len(running) < most and not lost:
            try:
                item = next(waiting)
            except StopIteration:
                break
            try:
                running[pool.submit(work, item)] = item
            except BrokenProcessPool:
                lost.append(item)
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            item = running.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                lost.append(item)
            else:
                yield result
    lost += running.values()


def _pool(workers: int, begin: Callable[..., None], args: tuple[Any, ...]) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, processes.context(), _begin, (begin, args))


def _begin(begin: Callable[..., None], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    begin(*args)


def _end_with_parent() -> None:
    """End when the process that started this one was killed; the queue alone would not tell."""
    parent = parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)
