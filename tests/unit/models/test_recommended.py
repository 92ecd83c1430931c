"""The list of recommended models, and which of them is the best for a machine."""

from __future__ import annotations

from core.models.hub import Reference
from core.models.recommended import Memory, best_for, recommended_models

GB = 10**9


def test_the_list_is_in_order_and_names_models_on_the_hub() -> None:
    models = recommended_models()
    assert len(models) >= 5 and models == sorted(models, key=lambda model: model.bytes)
    for model in models:
        assert Reference.parse(str(model.reference)) == model.reference
        assert model.file.endswith(".gguf") and model.licence and model.purpose
        assert model.bytes < model.memory_bytes < 3 * model.bytes + GB


def test_the_largest_that_fits_is_the_best() -> None:
    models = recommended_models()
    assert best_for(Memory(GB // 2), models) is None
    small, large = best_for(Memory(2 * GB), models), best_for(Memory(64 * GB), models)
    assert small is not None and small.memory_bytes <= 2 * GB
    # Without a GPU, large models are too slow, however much memory there is
    assert large is not None and large.on_cpu
    assert best_for(Memory(64 * GB, gpu_bytes=64 * GB), models) == models[-1]
    assert best_for(Memory(2 * GB, gpu_bytes=9 * GB), models) not in (small, large)
