"""What to do when a loss or gradient is no longer a number."""

import logging
from dataclasses import dataclass

from vqaudio.errors import UserError

log = logging.getLogger("vqaudio")

PATIENCE = 3


@dataclass
class Guard:
    """Counts returns to a checkpoint, and gives up when they do not help.

    Args:
        attempt: returns so far in this run; the data of a step differ between attempts.
        returns: of them, since the last checkpoint was saved.
    """

    attempt: int = 0
    returns: int = 0

    def fail(self, step: int, checkpoint: int) -> None:
        """Note that `step` gave NaN or infinity and training goes back to step `checkpoint`.

        Raises:
            UserError: it has been back there three times before.
        """
        if self.returns == PATIENCE:
            raise UserError(
                f"step {step}: loss or gradient is not finite, after {PATIENCE} fresh starts from step "
                f"{checkpoint}; lower optimization.learning_rate or look at the data"
            )
        self.attempt += 1
        self.returns += 1
        log.warning(
            "step %d: loss or gradient is not finite; going back to step %d with other crops",
            step,
            checkpoint,
        )

    def saved(self) -> None:
        """Note that training got as far as another checkpoint."""
        self.returns = 0
