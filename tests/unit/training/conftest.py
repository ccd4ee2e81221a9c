"""What the trainings of the tests share: a tiny model and its tokenizer, and arithmetic in float32."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from agentark.engines import local_models
from agentark.training import prm
from tests import tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.build(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return local_models.open_tokenizer(folder)


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_models, "multiplies_bf16", lambda: False)


@pytest.fixture(scope="module")
def prm_folder(folder: Path, tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("prm") / "model"
    target.mkdir()
    torch.manual_seed(0)
    model, stored = prm.open_backbone(folder)
    prm.save_prm(model, tokenizer, target, stored)
    return target
