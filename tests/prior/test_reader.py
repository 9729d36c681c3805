"""Reading on gives what reading whole gives, in any batch, on every path."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vqaudio.errors import UserError
from vqaudio.prior import native, reader
from vqaudio.prior.reader import CpuReader, Precision, Reader, TorchReader, open_reader
from vqaudio.prior.transformer import Transformer

ROWS, LENGTH = 5, 80
Make = Callable[[Transformer, list[Tensor]], Reader]
READERS: dict[str, Make] = {
    "torch": lambda transformer, heads: TorchReader(transformer, heads, ROWS, LENGTH),
    "cpu": lambda transformer, heads: CpuReader(transformer, heads, ROWS, LENGTH, "float32"),
}
EVERY: dict[str, Make] = {
    **READERS,
    "bfloat16": lambda transformer, heads: CpuReader(transformer, heads, ROWS, LENGTH, "bfloat16"),
    "int8": lambda transformer, heads: CpuReader(transformer, heads, ROWS, LENGTH, "int8"),
}
either = pytest.mark.parametrize("make", READERS.values(), ids=READERS.keys())


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def transformer(width: int, heads: int) -> Transformer:
    torch.manual_seed(width)
    made = Transformer(layers=2, width=width, heads=heads, dropout=0.0, context=100).eval()
    for parameter in made.parameters():
        if parameter.ndim == 2:
            parameter.mul_(5)
    return made


@either
@pytest.mark.parametrize(("width", "heads"), [(8, 1), (16, 2), (72, 3), (96, 4), (128, 2), (192, 1)])
def test_step_by_step_is_the_whole(make: Make, width: int, heads: int) -> None:
    model, head = transformer(width, heads), torch.randn(37, width)
    x = torch.randn(ROWS, LENGTH, width)
    whole = model(x)
    opened, rows = make(model, [torch.randn(4, width), head]), torch.arange(ROWS)
    pieces = x.split([33, 1, 6, *[1] * (LENGTH - 40)], dim=1)
    found = torch.cat([opened.read(piece, rows) for piece in pieces], dim=1)
    assert torch.allclose(found, whole, atol=1e-4)
    logits = opened.project(found[:, -1].contiguous(), 1)
    assert torch.allclose(logits, whole[:, -1] @ head.T, atol=1e-4)


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())
def test_a_row_gives_the_same_bits_alone(make: Make) -> None:
    model, head = transformer(84, 3), torch.randn(37, 84)
    x = torch.randn(ROWS, 40, 84)
    together, alone = make(model, [head]), make(model, [head])
    for step in x.split(1, dim=1):
        many = together.read(step, torch.arange(ROWS))
        one = alone.read(step[2:3], torch.tensor([2]))
        assert torch.equal(many[2:3], one)
        assert torch.equal(together.project(many[:, 0], 0)[2:3], alone.project(one[:, 0], 0))


@either
def test_rows_may_start_and_stop_apart_and_begin_again(make: Make) -> None:
    model = transformer(16, 2)
    x = torch.randn(ROWS, 40, 16)
    whole = model(x)
    opened = make(model, [])
    opened.read(x[1:3, :20], torch.tensor([1, 2]))
    found = opened.read(x[:1, :1], torch.tensor([0]))
    assert torch.allclose(found, whole[:1, :1], atol=1e-4)
    both = torch.cat([x[:1, 1:2], x[2:3, 20:21]])
    found = opened.read(both, torch.tensor([0, 2]))
    assert torch.allclose(found, torch.cat([whole[:1, 1:2], whole[2:3, 20:21]]), atol=1e-4)
    opened.forget()
    assert torch.allclose(opened.read(x, torch.arange(ROWS)), whole, atol=1e-4)


@pytest.mark.parametrize(("width", "heads"), [(12, 2), (72, 3), (96, 4), (128, 2), (104, 2)])
@pytest.mark.parametrize(("precision", "bound"), [("bfloat16", 0.02), ("int8", 0.05)])
def test_less_precision_costs_little(precision: Precision, bound: float, width: int, heads: int) -> None:
    model, head = transformer(width, heads), torch.randn(37, width)
    x = torch.randn(ROWS, LENGTH, width)
    whole = model(x)
    opened = CpuReader(model, [head], ROWS, LENGTH, precision)
    for room in opened.rooms:
        room.fill_(0x7F7F7F7F)  # what was there before must not matter
    found = torch.cat([opened.read(step, torch.arange(ROWS)) for step in x.split(1, dim=1)], dim=1)
    error = (found - whole).norm() / whole.norm()
    assert 1e-5 < error < bound  # it is another precision, and not another model
    logits, wanted = opened.project(found[:, -1], 0), whole[:, -1] @ head.T
    assert (logits - wanted).norm() / wanted.norm() < bound


def test_rounding_to_bfloat16_is_that_of_torch() -> None:
    """Keys and values of one position: attention gives back the value, rounded as torch rounds."""
    model = Transformer(layers=1, width=32, heads=1, dropout=0.0, context=4).eval()
    model.blocks[0].feed_forward.to_out.weight.zero_()
    model.blocks[0].attention.to_out.weight.copy_(torch.eye(32))
    model.blocks[0].attention.to_qkv.weight[64:].copy_(torch.eye(32))
    x = torch.randn(1, 1, 32) * 3
    opened = CpuReader(model, [], 1, 4, "bfloat16")
    values = model.blocks[0].attention_norm(x).bfloat16().float()
    wanted = model.norm(x + values)
    assert torch.allclose(opened.read(x, torch.tensor([0])), wanted, atol=1e-6)


def test_without_a_compiler_torch_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "library", lambda: None)
    model = transformer(16, 2)
    assert isinstance(open_reader(model, [], 1, 4, "float32"), TorchReader)
    with pytest.raises(UserError, match=r"precision int8: needs a C compiler"):
        open_reader(model, [], 1, 4, "int8")
    with pytest.raises(UserError, match="precision int4: must be float32, bfloat16, int8"):
        open_reader(model, [], 1, 4, "int4")  # type: ignore[arg-type]


def test_the_library_is_compiled_once_and_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("cache")
    code = "from vqaudio.prior.native import library; print(library()._name)"
    environment = {
        "XDG_CACHE_HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join(sys.path),
    }

    def load() -> str:
        ran = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        return ran.stdout.strip()

    load()
    [kept] = home.rglob("*.*")
    made = kept.stat().st_mtime_ns
    assert load() == str(kept)
    assert kept.stat().st_mtime_ns == made
    kept.write_bytes(b"damaged")
    load()
    assert load() == str(kept)
    assert kept.stat().st_size > 1000


def test_without_a_compiler_or_with_one_that_fails_there_is_no_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "bad.c").write_text("int main( {")
    monkeypatch.setattr(native, "SOURCE", tmp_path / "bad.c")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.library.__wrapped__() is None
    assert "bad.c" in caplog.text
    assert not list(tmp_path.rglob("*.so"))
    caplog.clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert native.library.__wrapped__() is None
    assert "no C compiler" in caplog.text
