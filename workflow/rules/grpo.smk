"""REQUIRED INPUTS: a policy, a PRM and RL prompts. OUTPUTS: students/pad/.../manifest.json, its folder beside it."""


rule train_grpo:
    """Train {wildcards.student} by GRPO against the process reward model, seed {wildcards.seed}."""
    input:
        settings="results/{run}/settings/grpo.json",
        policy=policy_manifest,
        prm="results/{run}/prm/{teacher}/{train_set}/{student}/{seed}/manifest.json",
        rows="results/{run}/sets/{teacher}/{train_set}/rl.jsonl",
    output:
        manifest="results/{run}/students/pad/{teacher}/{train_set}/{student}/{seed}/manifest.json",
    log:
        "results/{run}/logs/train_grpo/{teacher}/{train_set}/{student}/{seed}.log",
    benchmark:
        "results/{run}/benchmarks/train_grpo/{teacher}/{train_set}/{student}/{seed}.tsv"
    priority: 30
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("train", the_student, hours=24),
    params:
        code=code_digest("grpo"),
        checkpoints=lambda wildcards, output: Path(output.manifest).with_name(
            "checkpoints"
        ),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices} --nodes {resources.nodes} --zero {resources.zero}"
        " agentark.stages.grpo --config {input.settings:q} --policy {input.policy:q} --prm {input.prm:q}"
        " --set {input.rows:q} --seed {wildcards.seed} --checkpoints {params.checkpoints:q}"
        " --manifest {output.manifest:q} --log {log:q}"
