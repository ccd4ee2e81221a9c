"""REQUIRED INPUTS: traces. OUTPUTS: sets/<teacher>/<dataset>/{rsft,da,prm,rl}.jsonl, each with a card of its counts."""


rule build_set:
    """Choose the {wildcards.kind} rows from {wildcards.teacher}'s traces on {wildcards.dataset}."""
    input:
        settings="results/{run}/settings/sets/{kind}.json",
        traces="results/{run}/traces/{teacher}/{dataset}.jsonl",
    output:
        rows="results/{run}/sets/{teacher}/{dataset}/{kind}.jsonl",
        card="results/{run}/sets/{teacher}/{dataset}/{kind}.card.json",
    log:
        "results/{run}/logs/build_set/{teacher}/{dataset}/{kind}.log",
    benchmark:
        "results/{run}/benchmarks/build_set/{teacher}/{dataset}/{kind}.tsv"
    conda:
        "../../envs/worker-cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(120),
    params:
        code=code_digest("sets"),
    shell:
        "python -m agentark.stages.sets --config {input.settings:q} --kind {wildcards.kind}"
        " --traces {input.traces:q} --out {output.rows:q} --card {output.card:q} --log {log:q}"


rule sets:
    """All training sets that the methods need."""
    input:
        in_run(
            "sets/{teacher}/{dataset}/{kind}.jsonl",
            teacher=CONFIG.teachers,
            dataset=CONFIG.train_sets,
            kind=set_kinds(),
        ),
