"""REQUIRED INPUTS: a model and step examples. OUTPUTS: prm/.../manifest.json, its folder beside it."""


rule train_prm:
    """Train a process reward model from {wildcards.backbone} on the steps of {wildcards.teacher}'s debates."""
    input:
        made("sets/{teacher}/{train_set}/prm.card.json"),
        settings=made("settings/prm.json"),
        model=made("models/{backbone}/manifest.json"),
        rows=ancient(made("sets/{teacher}/{train_set}/prm.jsonl")),
    output:
        manifest="results/{run}/prm/{teacher}/{train_set}/{backbone}/{seed}/manifest.json",
    log:
        "results/{run}/logs/train_prm/{teacher}/{train_set}/{backbone}/{seed}.log",
    benchmark:
        "results/{run}/benchmarks/train_prm/{teacher}/{train_set}/{backbone}/{seed}.tsv"
    priority: 20
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("train", the_backbone, hours=12),
    params:
        code=code_digest("prm"),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices} --nodes {resources.nodes} --zero {resources.zero}"
        " agentark.stages.prm --config {input.settings:q} --model {input.model:q} --set {input.rows:q}"
        " --seed {wildcards.seed} --manifest {output.manifest:q} --log {log:q}"


rule prm:
    """All process reward models."""
    input:
        files_of_all("prm/{teacher}/{train_set}/{backbone}/{seed}/manifest.json"),
