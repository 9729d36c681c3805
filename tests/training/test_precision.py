"""bf16 is computed where there are instructions for it, and left where there are none."""

from pathlib import Path

import pytest
import torch

from vqaudio.training.learner import computes_bf16, start_ranks

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(torch.cuda.is_available() or not CPUINFO.exists(), reason="asks the kernel of a CPU")
def test_the_kernel_sees_the_same_instructions() -> None:
    flags = set(CPUINFO.read_text().split())
    assert computes_bf16() == bool(flags & {"avx512_bf16", "amx_bf16"})


def test_auto_is_resolved_before_training() -> None:
    wanted = "bf16-mixed" if computes_bf16() else "32-true"
    assert start_ranks("auto")._precision.precision == wanted
    assert start_ranks("bf16-mixed")._precision.precision == "bf16-mixed"
