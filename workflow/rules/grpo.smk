"""REQUIRED INPUTS: a policy, RL prompts and, but for a control, a PRM. OUTPUTS: students/{before}pad/.../manifest.json, its folder beside it;
where the config asks for it, how often the policy is right before, as pass_rates/{before}pad/.../<seed>.jsonl.
"""


rule measure_pass_rates:
    """Ask {wildcards.student}, before it is trained by GRPO, every question several times, seed {wildcards.seed}."""
    input:
        made("sets/{teacher}/{train_set}/rl.card.json"),
        settings=made("settings/pass_rates.json"),
        engine=made("settings/engine.json"),
        policy=made_by(lambda wildcards: [beginning(wildcards)]),
        rows=ancient(made("sets/{teacher}/{train_set}/rl.jsonl")),
    output:
        rows="results/{run}/pass_rates/{before}pad/{teacher}/{train_set}/{student}/{seed}.jsonl",
        manifest="results/{run}/pass_rates/{before}pad/{teacher}/{train_set}/{student}/{seed}.manifest.json",
    log:
        "results/{run}/logs/measure_pass_rates/{before}pad/{teacher}/{train_set}/{student}/{seed}.log",
    benchmark:
        "results/{run}/benchmarks/measure_pass_rates/{before}pad/{teacher}/{train_set}/{student}/{seed}.tsv"
    priority: 30
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", the_student, hours=12),
    params:
        code=code_digest("pass_rates"),
        work="results/{run}/kept/pass_rates/{before}pad/{teacher}/{train_set}/{student}/{seed}",
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.pass_rates --config {input.settings:q} --engine {input.engine:q}"
        " --policy {input.policy:q} --set {input.rows:q} --work {params.work:q} --out {output.rows:q}"
        " --manifest {output.manifest:q} --log {log:q}"


rule train_grpo:
    """Train {wildcards.student} by GRPO, seed {wildcards.seed}."""
    input:
        made("sets/{teacher}/{train_set}/rl.card.json"),
        made("questions/{train_set}/manifest.json"),
        made_by(pass_rates("manifest.json")),
        settings=made("settings/grpo.json"),
        policy=made_by(lambda wildcards: [beginning(wildcards)]),
        prm=made_by(reward_model),
        rates=ancient(made_by(pass_rates("jsonl"))),
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
        rollout_memory=CONFIG.hardware.rollout_memory,
    params:
        code=code_digest("grpo"),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices} --nodes {resources.nodes} --zero {resources.zero}"
        " agentark.stages.grpo --config {input.settings:q} --policy {input.policy:q} --prm {input.prm:q}"
        " --set {input.rows:q} --rates {input.rates:q} --validation {input.validation:q} --vllm-memory {resources.rollout_memory} --seed {wildcards.seed} --manifest {output.manifest:q} --log {log:q}"
