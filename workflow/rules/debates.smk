"""REQUIRED INPUTS: train questions and a teacher, or debate logs. OUTPUTS: debates/<teacher>/<dataset>/<shard>.jsonl."""

if CONFIG.debates.source == "generate":

    rule hold_debates:
        """Let the agents of {wildcards.teacher} debate one shard of {wildcards.dataset}."""
        input:
            settings="results/{run}/settings/debates.json",
            engine="results/{run}/settings/engine.json",
            model="results/{run}/models/{teacher}/manifest.json",
            questions="results/{run}/questions/{dataset}/train.jsonl",
        output:
            debates="results/{run}/debates/{teacher}/{dataset}/{shard}.jsonl",
        log:
            "results/{run}/logs/hold_debates/{teacher}/{dataset}/{shard}.log",
        benchmark:
            "results/{run}/benchmarks/hold_debates/{teacher}/{dataset}/{shard}.tsv"
        conda:
            "../../envs/worker-cpu.yaml"
        threads: 8
        resources:
            gpu=1,
            mem_mb=memory_mb(16000),
            runtime=minutes(720),
        params:
            code=code_digest("debates"),
        shell:
            "python -m agentark.stages.debates --config {input.settings:q} --engine {input.engine:q}"
            " --model {input.model:q} --teacher {wildcards.teacher:q} --questions {input.questions:q}"
            " --shard {wildcards.shard} --out {output.debates:q} --log {log:q}"

else:

    rule import_debates:
        """Read logged debates of {wildcards.teacher} about the questions of {wildcards.dataset}."""
        input:
            settings="results/{run}/settings/debates.json",
            train="results/{run}/questions/{dataset}/train.jsonl",
            held_out=f"results/{{run}}/questions/{{dataset}}/{CONFIG.evaluation.split}.jsonl",
            logs=LOG_FILES,
        output:
            debates="results/{run}/debates/{teacher}/{dataset}/0.jsonl",
            held_out="results/{run}/debates/{teacher}/{dataset}/held_out.jsonl",
        log:
            "results/{run}/logs/import_debates/{teacher}/{dataset}.log",
        benchmark:
            "results/{run}/benchmarks/import_debates/{teacher}/{dataset}.tsv"
        conda:
            "../../envs/worker-cpu.yaml"
        threads: 1
        resources:
            mem_mb=memory_mb(4000),
            runtime=minutes(60),
        params:
            code=code_digest("import_debates"),
        shell:
            "python -m agentark.stages.import_debates --config {input.settings:q} --teacher {wildcards.teacher:q}"
            " --train {input.train:q} --held-out {input.held_out:q} --out {output.debates:q}"
            " --held-out-debates {output.held_out:q} --log {log:q}"


rule debates:
    """All debates, held or imported."""
    input:
        [
            shard
            for teacher in CONFIG.teachers
            for dataset in CONFIG.train_sets
            for shard in debate_shards(
                SimpleNamespace(teacher=teacher, dataset=dataset)
            )
        ],
