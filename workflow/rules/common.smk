"""What all rules share: the library, the validated config, and what wildcards stand for."""

import functools
import gc
import inspect
import os
import re
import shlex
import signal
import sys
from pathlib import Path

# A checkout's rules go with its own library, here and in every job, whatever else is installed; a job's own environment
# (conda, container) has none, and conda's would lose a variable that is set out here.
LIBRARY = workflow.current_basedir.join("../../scripts")
LIBRARY = str(Path(LIBRARY.get_path_or_uri(secret_free=True)).resolve())
if Path(LIBRARY).is_dir():
    sys.path.insert(0, LIBRARY)
    shell.prefix(
        f"set -euo pipefail; export PYTHONPATH={shlex.quote(LIBRARY)}"
        "${{PYTHONPATH:+:$PYTHONPATH}}; "
    )

# What a run keeps (debates, licensed questions) is for its user and group only.
os.umask(os.umask(0o077) | 0o007)

# Slurm's warning before a time limit goes to all that runs in a job's step. It is for the training, which saves; the
# Snakemake above it would die of it, and Slurm ends a step with its first process.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

from snakemake.common import overwrite_function_params
from snakemake.output_index import OutputIndex
from snakemake.resources import Resource

from agentark.config import study
from agentark.config.methods import METHODS, SUPERVISED
from agentark.config.section import NAME
from agentark.config.variants import FOLDER
from agentark.errors import UserError
from agentark.provenance import snakemake_records
from agentark.provenance.manifests import code_digest


def load_config():
    """The typed config, or one message that names the file and every wrong key."""
    try:
        return study.load(dict(config), workflow.configfiles)
    except UserError as error:
        raise WorkflowError(str(error)) from None


CONFIG = load_config()

# To trainings in the environment: as a parameter of theirs it would have them run again.
if CONFIG.tensorboard:
    os.environ.update(AGENTARK_TENSORBOARD="1")


def open_records():
    """Snakemake's records of this run, or one message that it has files without any."""
    try:
        snakemake_records.keep_with_results()
        snakemake_records.refuse_unknown(CONFIG.run)
    except UserError as error:
        raise WorkflowError(str(error)) from None


# A job reads this file as well, and finds them as they are.
if workflow.is_main_process:
    open_records()
    # Nearly all that a plan makes lives as long as the plan: looking for garbage in it, again and again, finds none.
    gc.set_threshold(100_000, 50, 50)


def known(function):
    """A function of wildcards, its parameters kept: Snakemake asks for them several times a job, and to find them takes
    longer than to call most of ours."""
    overwrite_function_params(function, inspect.signature(function).parameters)
    return function


# Snakemake's own, too: once for each resource of each job, and which rule makes a file, once for each job that reads it.
known(Resource.evaluate)
OutputIndex.match_producers = functools.cache(OutputIndex.match_producers)


ENVIRONMENT = f"../../envs/{CONFIG.hardware.environment}.yaml"
if CONFIG.hardware.container:

    container: CONFIG.hardware.container


wildcard_constraints:
    # The run itself, or one of its variants.
    run=f"{re.escape(CONFIG.run)}(/{FOLDER}/{NAME})?",
    settings=f"[a-z_]+(/{NAME})?",
    part=f"({NAME}/)?",
    dataset=NAME,
    benchmark=NAME,
    model=NAME,
    backbone=NAME,
    teacher=NAME,
    student=NAME,
    train_set=NAME,
    recipe=f"({'|'.join(METHODS)})(-({'|'.join(METHODS)}))*",
    # The trainings of a recipe before its last one: "rsft-", or nothing.
    before=f"(({'|'.join(METHODS)})-)*",
    sft_method="|".join(SUPERVISED),
    kind="|".join((*SUPERVISED, "prm", "rl")),
    seed=r"\d+",
    shard=r"\d+",
