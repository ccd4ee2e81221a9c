"""REQUIRED INPUTS: train questions and a teacher, or debate logs. OUTPUTS: debates/<teacher>/<dataset>/<shard>.jsonl.zst."""


rule hold_debates:
    """Let the agents of {wildcards.teacher} debate one shard of {wildcards.dataset}."""
    input:
        made("questions/{dataset}/manifest.json"),
        settings=made("settings/debates.json"),
        engine=made("settings/engine.json"),
        team=made("settings/teams/{teacher}.json"),
        models=lambda wildcards: manifests(members(wildcards.teacher)),
        questions=ancient(made("questions/{dataset}/train.jsonl")),
    output:
        debates="results/{run}/debates/{teacher}/{dataset}/{shard}.jsonl.zst",
        table="results/{run}/debates/{teacher}/{dataset}/{shard}.parquet",
        manifest="results/{run}/debates/{teacher}/{dataset}/{shard}.manifest.json",
    log:
        "results/{run}/logs/hold_debates/{teacher}/{dataset}/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/hold_debates/{teacher}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        teacher=HOLDERS,
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", lambda wildcards: members(wildcards.teacher), hours=12),
    params:
        code=by_variant(debate_code),
        models=lambda wildcards: named(members(wildcards.teacher)),
        # Not an output: it must outlive a killed job, and a changed protocol.
        work="results/{run}/kept/debates/{teacher}/{dataset}/{shard}",
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.debates --config {input.settings:q} --engine {input.engine:q}"
        " --team {input.team:q} --models {params.models:q} --teacher {wildcards.teacher:q}"
        " --questions {input.questions:q} --shard {wildcards.shard} --work {params.work:q}"
        " --out {output.debates:q} --table {output.table:q} --manifest {output.manifest:q} --log {log:q}"


rule import_debates:
    """Read logged debates of {wildcards.teacher} about the questions of {wildcards.dataset}."""
    input:
        made("questions/{dataset}/manifest.json"),
        settings=made("settings/imports/{teacher}.json"),
        train=ancient(made("questions/{dataset}/train.jsonl")),
        held_out=ancient(
            made(
                lambda config: f"questions/{{dataset}}/{config.evaluation.split}.jsonl"
            )
        ),
        logs=lambda wildcards: log_files(CONFIG.debates.logs_of(wildcards.teacher)),
    output:
        debates="results/{run}/debates/{teacher}/{dataset}/0.jsonl.zst",
        held_out="results/{run}/debates/{teacher}/{dataset}/held_out.jsonl.zst",
        manifest="results/{run}/debates/{teacher}/{dataset}/0.manifest.json",
    log:
        "results/{run}/logs/import_debates/{teacher}/{dataset}.log",
        rejected="results/{run}/logs/import_debates/{teacher}/{dataset}.rejected.jsonl",
    benchmark:
        "results/{run}/benchmarks/import_debates/{teacher}/{dataset}.tsv"
    wildcard_constraints:
        teacher=LOGGERS,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(60),
    params:
        code=code_digest("import_debates"),
    shell:
        "python -m agentark.stages.import_debates --config {input.settings:q} --teacher {wildcards.teacher:q}"
        " --train {input.train:q} --held-out {input.held_out:q} --out {output.debates:q}"
        " --held-out-debates {output.held_out:q} --manifest {output.manifest:q} --rejected {log.rejected:q} --log {log[0]:q}"


rule debates:
    """All debates, held or imported."""
    input:
        files_of_all("debates/{teacher}/{dataset}/{shard}.manifest.json"),
