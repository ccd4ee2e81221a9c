"""REQUIRED INPUTS: debates. OUTPUTS: traces/<teacher>/<dataset>.jsonl, every turn graded, its counts, and what
the debates tell."""


rule extract_traces:
    """Grade every turn of {wildcards.teacher}'s debates on {wildcards.dataset}."""
    input:
        settings="results/{run}/settings/debates.json",
        debates=debate_shards,
    output:
        traces="results/{run}/traces/{teacher}/{dataset}.jsonl",
        counts="results/{run}/traces/{teacher}/{dataset}.counts.json",
        statistics="results/{run}/traces/{teacher}/{dataset}.debates.json",
    log:
        "results/{run}/logs/extract_traces/{teacher}/{dataset}.log",
    benchmark:
        "results/{run}/benchmarks/extract_traces/{teacher}/{dataset}.tsv"
    conda:
        "../../envs/worker-cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(120),
    params:
        code=code_digest("traces"),
    shell:
        "python -m agentark.stages.traces --config {input.settings:q} --debates {input.debates:q}"
        " --out {output.traces:q} --counts {output.counts:q} --statistics {output.statistics:q}"
        " --log {log:q}"


rule traces:
    """All graded traces."""
    input:
        in_run(
            "traces/{teacher}/{dataset}.jsonl",
            teacher=CONFIG.teachers,
            dataset=CONFIG.train_sets,
        ),
