"""What every mapping of a YAML file has in common."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]  # of a term of the loss
Decay = Annotated[float, Field(ge=0, lt=1)]  # of an average that follows what it averages


class Section(BaseModel):
    """A mapping of a YAML file; keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """What distinguishes it, for a hash: a key at its default counts as left out.

        So a key that a later version adds leaves the hash of what is there as it was; for the same
        reason a default, once published, stays what it is.
        """
        return self.model_dump(mode="json", exclude_defaults=True)
