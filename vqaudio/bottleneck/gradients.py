"""How a gradient passes through a choice: estimators for what rounding has no derivative of."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

SHORTEST = 1e-3  # of the length of its code: an input below it has no direction worth turning

GradientName = Literal["straight_through", "rotation"]


def straight_through(x: Tensor, quantized: Tensor) -> Tensor:
    """`quantized` going forward, the gradient of `x` going back (Bengio et al. 2013, arXiv 1308.3432).

    Args:
        x: `[B, D, F]`.
        quantized: the same shape; no gradient flows into it.
    """
    return x + (quantized - x).detach()


def rotate(x: Tensor, quantized: Tensor) -> Tensor:
    """`quantized` going forward; back, the gradient turned as `x` was turned to become it.

    The rotation trick (Fifty et al. 2024, arXiv 2410.06424, section 4.2): with unit
    vectors `e` of `x` and `q` of `quantized`, and `r` of `e + q`, the output is
    `|quantized| / |x| (x - 2 r r^T x + 2 q e^T x)`, in which all but `x` are constants. An `x` so
    short that the quotient would blow up the gradient gets that of `straight_through`.

    Args:
        x: `[B, D, F]`; vectors lie along D.
        quantized: the same shape; no gradient flows into it.
    """
    constant, quantized = x.detach(), quantized.detach()
    e, q = F.normalize(constant, dim=1), F.normalize(quantized, dim=1)
    r = F.normalize(e + q, dim=1)
    long, short = (v.norm(dim=1, keepdim=True) for v in (quantized, constant))
    along_r, along_e = ((v * x).sum(1, keepdim=True) for v in (r, e))
    turned = long / short.clamp(min=1e-12) * (x - 2 * along_r * r + 2 * along_e * q)
    turned = torch.where(short < SHORTEST * long, x, turned)
    # the same vector but for rounding
    return turned + (quantized - turned).detach()


ESTIMATORS: dict[GradientName, Callable[[Tensor, Tensor], Tensor]] = {
    "straight_through": straight_through,
    "rotation": rotate,
}
