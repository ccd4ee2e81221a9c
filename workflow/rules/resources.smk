"""What jobs ask for: by the size of their models, and more with each attempt."""


def needs(role, models, hours):
    """Resources of a job that loads models, after the size of the largest.

    Args:
        role: `generate` or `train`.
        models: their names, from the job's wildcards.
        hours: run time of the first attempt.
    """

    sizes = {CONFIG.hardware.of(CONFIG.billions(name)) for name in CONFIG.models}
    held = any(model.server for model in CONFIG.models.values())
    # Snakemake asks a function anew for every job: where all jobs ask for the same, a value is faster.
    only = sizes.pop() if len(sizes) == 1 and not held else None

    def size(wildcards):
        if only:
            return only
        largest = max(CONFIG.billions(name) for name in models(wildcards))
        return CONFIG.hardware.of(largest)

    def gpus(wildcards):
        # Models that only servers hold need no GPU of ours.
        if not only and all(CONFIG.models[name].server for name in models(wildcards)):
            return 0
        return getattr(size(wildcards), f"{role}_gpus")

    def nodes(wildcards):
        per_node = CONFIG.hardware.gpus_per_node
        return max(1, -(-gpus(wildcards) // per_node))

    def gres(wildcards):
        n_gpus = gpus(wildcards)
        return f"gpu:{-(-n_gpus // nodes(wildcards))}" if n_gpus else None

    def of_size(value):
        return value(None) if only else known(value)

    asked = dict(
        devices=of_size(gpus),
        nodes=of_size(nodes),
        zero=of_size(lambda wildcards: size(wildcards).zero),
        mem_mb=known(
            lambda wildcards, attempt: round(1024 * size(wildcards).memory_gb) * attempt
        ),
        # Twice at most: what is saved is not done again, and partitions have limits.
        runtime=known(lambda wildcards, attempt: 60 * hours * min(attempt, 2)),
    )
    by_gres = CONFIG.hardware.request == "gres"
    asked |= dict(gres=of_size(gres)) if by_gres else dict(gpu=of_size(gpus))

    def if_several_nodes(value):
        return lambda wildcards: value(wildcards) if nodes(wildcards) > 1 else None

    largest = CONFIG.hardware.of(max(map(CONFIG.billions, CONFIG.models), default=0))
    if getattr(largest, f"{role}_gpus") > CONFIG.hardware.gpus_per_node:
        # The Slurm plugin then leaves it to the job to start a process on each node.
        asked |= dict(
            mpi=if_several_nodes(lambda wildcards: "srun"),
            tasks=if_several_nodes(nodes),
            tasks_per_gpu=if_several_nodes(lambda wildcards: 0),
        )
    return asked


def memory_mb(megabytes):
    """A job that ran out of memory asks for more at its next attempt."""
    return known(lambda wildcards, attempt: megabytes * attempt)


def minutes(count):
    """A job that ran out of time asks for more at its next attempt."""
    return known(lambda wildcards, attempt: count * attempt)


def refuse_too_few_gpus():
    """On a cluster, Snakemake would silently cut what a job asks for down to the limit of the run."""
    limit = workflow.global_resources.get("gpu").value
    if workflow.local_exec or limit is None:
        return
    for role, names in (
        ("train", CONFIG.every("students")),
        ("generate", CONFIG.models),
    ):
        for name in names:
            model = CONFIG.models[name]
            wanted = getattr(CONFIG.hardware.of(CONFIG.billions(name)), f"{role}_gpus")
            if not model.server and wanted > limit:
                raise WorkflowError(
                    f"hardware.sizes asks for {wanted} GPUs to {role} {name}, and this run may use {limit} (resources: "
                    f"gpu); raise that, and give the cluster's profile with --workflow-profile, not --profile"
                )


# These take seconds, and run where Snakemake does.
localrules:
    freeze_settings,
    summarise,
    summarise_cost,
    summarise_reasoning,
    summarise_robustness,
    summarise_debates,
    summarise_sets,
    summarise_sft,
    summarise_prm,
    summarise_pad,
    summarise_verification,
    plot_accuracy,
