"""REQUIRED INPUTS: a policy, RL prompts and, but for a control, a PRM. OUTPUTS: students/{before}pad/.../manifest.json, its folder beside it."""


rule train_grpo:
    """Train {wildcards.student} by GRPO, seed {wildcards.seed}."""
    input:
        made("sets/{teacher}/{train_set}/rl.card.json"),
        made("questions/{train_set}/manifest.json"),
        settings=made("settings/grpo.json"),
        policy=made_by(lambda wildcards: [beginning(wildcards)]),
        prm=made_by(reward_model),
        rows=ancient(made("sets/{teacher}/{train_set}/rl.jsonl")),
        validation=ancient(made("questions/{train_set}/validation.jsonl")),
    output:
        manifest="results/{run}/students/{before}pad/{teacher}/{train_set}/{student}/{seed}/manifest.json",
    log:
        "results/{run}/logs/train_grpo/{before}pad/{teacher}/{train_set}/{student}/{seed}.log",
    benchmark:
        "results/{run}/benchmarks/train_grpo/{before}pad/{teacher}/{train_set}/{student}/{seed}.tsv"
    priority: 30
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("train", the_student, hours=24),
    params:
        code=code_digest("grpo"),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices} --nodes {resources.nodes} --zero {resources.zero}"
        " agentark.stages.grpo --config {input.settings:q} --policy {input.policy:q} --prm {input.prm:q}"
        " --set {input.rows:q} --validation {input.validation:q} --seed {wildcards.seed} --manifest {output.manifest:q} --log {log:q}"
