"""REQUIRED INPUTS: a model and step examples. OUTPUTS: prm/.../manifest.json, its folder beside it."""


rule train_prm:
    """Train a process reward model from {wildcards.student} on the steps of {wildcards.teacher}'s debates."""
    input:
        settings="results/{run}/settings/prm.json",
        model="results/{run}/models/{student}/manifest.json",
        rows="results/{run}/sets/{teacher}/{train_set}/prm.jsonl",
    output:
        manifest="results/{run}/prm/{teacher}/{train_set}/{student}/{seed}/manifest.json",
    log:
        "results/{run}/logs/train_prm/{teacher}/{train_set}/{student}/{seed}.log",
    benchmark:
        "results/{run}/benchmarks/train_prm/{teacher}/{train_set}/{student}/{seed}.tsv"
    priority: 20
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("train", the_student, hours=12),
    params:
        code=code_digest("prm"),
        checkpoints=lambda wildcards, output: Path(output.manifest).with_name(
            "checkpoints"
        ),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices} --nodes {resources.nodes} --zero {resources.zero}"
        " agentark.stages.prm --config {input.settings:q} --model {input.model:q} --set {input.rows:q}"
        " --seed {wildcards.seed} --checkpoints {params.checkpoints:q} --manifest {output.manifest:q} --log {log:q}"


rule prm:
    """All process reward models."""
    input:
        in_run(
            "prm/{teacher}/{train_set}/{student}/{seed}/manifest.json",
            **{
                axis: values
                for axis, values in STUDENT_AXES.items()
                if axis != "method"
            },
        ),
