"""REQUIRED INPUTS: traces, train questions, benchmarks. OUTPUTS: sets/<teacher>/<dataset>/<kind>.jsonl, each with a card
of what it holds, and questions/<dataset>/skip.jsonl."""


rule find_overlap:
    """Name the train questions of {wildcards.dataset} that a benchmark asks too, or that repeat one another."""
    input:
        made("questions/{dataset}/manifest.json"),
        made_by(lambda wildcards: benchmark_files("manifest.json")),
        settings=made("settings/sets/overlap.json"),
        train=ancient(made("questions/{dataset}/train.jsonl")),
        # Both parts, whichever is scored: who chose on validation must not get another set for the test.
        benchmarks=ancient(
            made_by(
                lambda wildcards: benchmark_files("validation.jsonl", "test.jsonl")
            )
        ),
    output:
        skip="results/{run}/questions/{dataset}/skip.jsonl",
        manifest="results/{run}/questions/{dataset}/overlap.manifest.json",
    log:
        "results/{run}/logs/find_overlap/{dataset}.log",
        found="results/{run}/logs/find_overlap/{dataset}.found.jsonl",
    benchmark:
        "results/{run}/benchmarks/find_overlap/{dataset}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(60),
    params:
        code=code_digest("overlap"),
    shell:
        "python -m agentark.stages.overlap --config {input.settings:q} --train {input.train:q}"
        " --benchmarks {input.benchmarks:q} --skip {output.skip:q} --manifest {output.manifest:q}"
        " --found {log.found:q} --log {log[0]:q}"


rule judge_traces:
    """Ask the judge which right traces of {wildcards.teacher} on {wildcards.dataset} differ."""
    input:
        made("traces/{teacher}/{dataset}/{shard}.manifest.json"),
        settings=made("settings/sets/judged.json"),
        engine=made("settings/engine.json"),
        model=lambda wildcards: manifests(the_judge(wildcards)),
        traces=ancient(made("traces/{teacher}/{dataset}/{shard}.jsonl.zst")),
    output:
        rows="results/{run}/judged/{teacher}/{dataset}/{shard}.jsonl",
        manifest="results/{run}/judged/{teacher}/{dataset}/{shard}.manifest.json",
    log:
        "results/{run}/logs/judge_traces/{teacher}/{dataset}/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/judge_traces/{teacher}/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", the_judge, hours=12),
    params:
        code=code_digest("judge"),
        work="results/{run}/kept/judged/{teacher}/{dataset}/{shard}",
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.judge --config {input.settings:q} --engine {input.engine:q}"
        " --model {input.model:q} --traces {input.traces:q} --work {params.work:q} --out {output.rows:q}"
        " --manifest {output.manifest:q} --log {log:q}"


rule label_steps:
    """Have a model label steps of {wildcards.teacher}'s traces on {wildcards.dataset}, by {wildcards.source}."""
    input:
        made("traces/{teacher}/{dataset}/{shard}.manifest.json"),
        settings=made("settings/sets/{source}.json"),
        engine=made("settings/engine.json"),
        model=lambda wildcards: manifests(the_labeller(wildcards)),
        traces=ancient(made("traces/{teacher}/{dataset}/{shard}.jsonl.zst")),
    output:
        rows="results/{run}/step_labels/{source}/{teacher}/{dataset}/{shard}.jsonl",
        manifest="results/{run}/step_labels/{source}/{teacher}/{dataset}/{shard}.manifest.json",
    log:
        "results/{run}/logs/label_steps/{source}/{teacher}/{dataset}/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/label_steps/{source}/{teacher}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        source="rollouts|judge",
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", the_labeller, hours=12),
    params:
        code=code_digest("label_steps"),
        work="results/{run}/kept/step_labels/{source}/{teacher}/{dataset}/{shard}",
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.label_steps --config {input.settings:q} --source {wildcards.source} --engine {input.engine:q}"
        " --model {input.model:q} --traces {input.traces:q} --work {params.work:q} --out {output.rows:q}"
        " --manifest {output.manifest:q} --log {log:q}"


rule build_set:
    """Choose the {wildcards.kind} rows from {wildcards.teacher}'s traces on {wildcards.dataset}."""
    input:
        shards_of("traces", "manifest.json"),
        made("questions/{dataset}/overlap.manifest.json"),
        where(asks_judge, shards_of("judged", "manifest.json")),
        made_by(labels_of_models("manifest.json")),
        where(is_control, made("sets/{teacher}/{dataset}/rsft.card.json")),
        settings=made("settings/sets/{kind}.json"),
        traces=ancient(shards_of("traces", "jsonl.zst")),
        skip=ancient(made("questions/{dataset}/skip.jsonl")),
        judged=ancient(where(asks_judge, shards_of("judged", "jsonl"))),
        values=ancient(made_by(labels_of_models("jsonl"))),
        rsft=ancient(where(is_control, made("sets/{teacher}/{dataset}/rsft.jsonl"))),
    output:
        rows="results/{run}/sets/{teacher}/{dataset}/{kind}.jsonl",
        card="results/{run}/sets/{teacher}/{dataset}/{kind}.card.json",
        page="results/{run}/sets/{teacher}/{dataset}/{kind}.card.md",
    log:
        "results/{run}/logs/build_set/{teacher}/{dataset}/{kind}.log",
    benchmark:
        "results/{run}/benchmarks/build_set/{teacher}/{dataset}/{kind}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(120),
    params:
        code=code_digest("sets"),
        more=lambda wildcards, input: " ".join(
            f"--{name} {input[name]}"
            for name in ("judged", "values", "rsft")
            if input[name]
        ),
    shell:
        "python -m agentark.stages.sets --config {input.settings:q} --kind {wildcards.kind}"
        " --traces {input.traces:q} --skip {input.skip:q} {params.more} --out {output.rows:q}"
        " --card {output.card:q} --page {output.page:q} --log {log:q}"


rule sets:
    """All training sets that the methods need."""
    input:
        files_of_all("sets/{teacher}/{dataset}/{kind}.card.json"),
