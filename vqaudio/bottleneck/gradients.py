"""How a gradient passes through a choice: estimators for what rounding has no derivative of."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

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
    `|quantized| / |x| (x - 2 r r^T x + 2 q e^T x)`, in which all but `x` are constants.

    Args:
        x: `[B, D, F]`; vectors lie along D.
        quantized: the same shape; no gradient flows into it.
    """
    constant, quantized = x.detach(), quantized.detach()
    e, q = F.normalize(constant, dim=1), F.normalize(quantized, dim=1)
    r = F.normalize(e + q, dim=1)
    scale = quantized.norm(dim=1, keepdim=True) / constant.norm(dim=1, keepdim=True).clamp(min=1e-12)
    along_r, along_e = ((v * x).sum(1, keepdim=True) for v in (r, e))
    turned = scale * (x - 2 * along_r * r + 2 * along_e * q)
    # the same vector but for rounding, and for an x of no length, which has no direction to turn
    return turned + (quantized - turned).detach()


ESTIMATORS: dict[GradientName, Callable[[Tensor, Tensor], Tensor]] = {
    "straight_through": straight_through,
    "rotation": rotate,
}
