"""REQUIRED INPUTS: a model and an R-SFT or DA set. OUTPUTS: students/<method>/.../manifest.json, its folder beside it."""


rule train_sft:
    """Train {wildcards.student} by {wildcards.sft_method} on {wildcards.teacher}'s traces, seed {wildcards.seed}."""
    input:
        made_by(sets_of_traces("card.json")),
        settings=made("settings/sft.json"),
        model=made_by(lambda wildcards: [beginning(wildcards)]),
        rows=ancient(made_by(sets_of_traces("jsonl"))),
        validation=ancient(made("questions/{train_set}/validation.jsonl")),
    output:
        manifest="results/{run}/students/{before}{sft_method}/{teacher}/{train_set}/{student}/{seed}/manifest.json",
    log:
        "results/{run}/logs/train_sft/{before}{sft_method}/{teacher}/{train_set}/{student}/{seed}.log",
    benchmark:
        "results/{run}/benchmarks/train_sft/{before}{sft_method}/{teacher}/{train_set}/{student}/{seed}.tsv"
    priority: 10
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("train", the_student, hours=12),
    params:
        code=code_digest("sft"),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices} --nodes {resources.nodes} --zero {resources.zero}"
        " agentark.stages.sft --config {input.settings:q} --model {input.model:q} --set {input.rows:q}"
        " --validation {input.validation:q} --seed {wildcards.seed} --manifest {output.manifest:q} --log {log:q}"


rule students:
    """All students of all methods."""
    input:
        files_of_all(
            "students/{recipe}/{teacher}/{train_set}/{student}/{seed}/manifest.json"
        ),
