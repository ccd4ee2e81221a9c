"""Folders of local models, and what the hardware is good at."""

import pytest
import torch

from agentark.engines.local_models import multiplies_bf16


@pytest.mark.parametrize(
    ("capabilities", "faster"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, True),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False}, False),
        ({"architecture": "arm64"}, False),
    ],
    ids=["AMX", "Intel without AMX", "AMD with AVX512-BF16", "AMD without", "neither"],
)
def test_bfloat16_is_for_processors_that_are_faster_in_it(
    capabilities: dict[str, object], faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bf16() is faster
