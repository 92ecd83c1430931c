"""The models that are recommended, and which of them fits a machine. They are in `recommended.toml`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from core.available_memory import available_memory_bytes, memory_limit_bytes
from core.errors import InvalidRequest
from core.models.hub import Reference

#: Means, in place of a reference, the model that suits the machine best.
RECOMMENDED = "recommended"
DATA_FILE = Path(__file__).with_name("recommended.toml")
NVIDIA_SMI = ("nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits")
#: The share of main memory that a model may need: the rest is for the other processes, and for the system.
MEMORY_SHARE = 0.6


@dataclass(frozen=True)
class RecommendedModel:
    """A model on the hub, about whose sizes and purpose `recommended.toml` tells."""

    repo: str
    file: str
    #: About the size of the file.
    bytes: int
    #: About the memory that it needs with a context of 8,192 tokens.
    memory_bytes: int
    licence: str
    purpose: str
    #: Whether it is quick enough without a GPU.
    on_cpu: bool

    @property
    def reference(self) -> Reference:
        return Reference(self.repo, self.file)


@dataclass(frozen=True)
class Memory:
    """The memory of a machine that a model may take, in bytes."""

    main_bytes: int
    #: 0 if there is no GPU that is known of.
    gpu_bytes: int = 0

    @classmethod
    def of_this_machine(cls) -> Memory:
        """Return what is free now, of main memory at most MEMORY_SHARE. On macOS, the GPU shares it."""
        main = min(int(memory_limit_bytes() * MEMORY_SHARE), available_memory_bytes())
        return cls(main, main if sys.platform == "darwin" else _nvidia_bytes())

    def fits(self, model: RecommendedModel) -> bool:
        """Return whether a model fits and is quick enough."""
        return model.memory_bytes <= self.gpu_bytes or (model.on_cpu and model.memory_bytes <= self.main_bytes)


def recommended_models(path: Path = DATA_FILE) -> list[RecommendedModel]:
    """Return all recommended models, from the smallest to the largest."""
    return [RecommendedModel(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["models"]]


def best_for(memory: Memory, models: Sequence[RecommendedModel]) -> RecommendedModel | None:
    """Return the largest model that fits, or None if none does."""
    return next((model for model in reversed(models) if memory.fits(model)), None)


def recommended() -> Reference:
    """Return the reference of the recommended model that suits this machine best.

    Raises:
        InvalidRequest: none fits into its memory.
    """
    best = best_for(Memory.of_this_machine(), recommended_models())
    if best is None:
        raise InvalidRequest("No recommended model fits into the memory of this machine.", param="model")
    return best.reference


def _nvidia_bytes() -> int:
    """Return the free memory of the NVIDIA GPU that has most, or 0."""
    if which(NVIDIA_SMI[0]) is None:
        return 0
    try:
        output = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # the driver does not work
        return 0
    return max((int(line) * 2**20 for line in output.split() if line.isdecimal()), default=0)
