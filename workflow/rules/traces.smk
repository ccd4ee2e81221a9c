"""REQUIRED INPUTS: debates. OUTPUTS: traces/<teacher>/<dataset>/<shard>.jsonl.zst, every turn graded, its counts, and
what the debates tell."""


rule verify_answers:
    """Put what rules cannot decide in {wildcards.teacher}'s answers on {wildcards.dataset} to the verifier."""
    input:
        made("debates/{teacher}/{dataset}/{shard}.manifest.json"),
        settings=made("settings/traces.json"),
        engine=made("settings/engine.json"),
        model=lambda wildcards: manifests(the_verifier(wildcards)),
        debates=ancient(made("debates/{teacher}/{dataset}/{shard}.jsonl.zst")),
    output:
        verdicts="results/{run}/verdicts/{teacher}/{dataset}/{shard}.jsonl",
        counts="results/{run}/verdicts/{teacher}/{dataset}/{shard}.counts.json",
        audit="results/{run}/verdicts/{teacher}/{dataset}/{shard}.audit.csv",
        manifest="results/{run}/verdicts/{teacher}/{dataset}/{shard}.manifest.json",
    log:
        "results/{run}/logs/verify_answers/{teacher}/{dataset}/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/verify_answers/{teacher}/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", the_verifier, hours=12),
    params:
        code=code_digest("verify"),
        work="results/{run}/kept/verdicts/{teacher}/{dataset}/{shard}",
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.verify --config {input.settings:q} --engine {input.engine:q}"
        " --model {input.model:q} --debates {input.debates:q} --work {params.work:q} --out {output.verdicts:q}"
        " --counts {output.counts:q} --audit {output.audit:q} --manifest {output.manifest:q} --log {log:q}"


rule extract_traces:
    """Grade every turn of one shard of {wildcards.teacher}'s debates on {wildcards.dataset}."""
    input:
        made("debates/{teacher}/{dataset}/{shard}.manifest.json"),
        where(asks_verifier, made("verdicts/{teacher}/{dataset}/{shard}.manifest.json")),
        settings=made("settings/traces.json"),
        debates=ancient(made("debates/{teacher}/{dataset}/{shard}.jsonl.zst")),
        verdicts=ancient(
            where(asks_verifier, made("verdicts/{teacher}/{dataset}/{shard}.jsonl"))
        ),
    output:
        traces="results/{run}/traces/{teacher}/{dataset}/{shard}.jsonl.zst",
        counts="results/{run}/traces/{teacher}/{dataset}/{shard}.counts.json",
        statistics="results/{run}/traces/{teacher}/{dataset}/{shard}.debates.json",
        manifest="results/{run}/traces/{teacher}/{dataset}/{shard}.manifest.json",
    log:
        "results/{run}/logs/extract_traces/{teacher}/{dataset}/{shard}.log",
        rejected="results/{run}/logs/extract_traces/{teacher}/{dataset}/{shard}.rejected.jsonl",
    benchmark:
        "results/{run}/benchmarks/extract_traces/{teacher}/{dataset}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(120),
    params:
        code=code_digest("traces"),
        verdicts=lambda wildcards, input: (
            f"--verdicts {input.verdicts}" if input.verdicts else ""
        ),
    shell:
        "python -m agentark.stages.traces --config {input.settings:q} --debates {input.debates:q} {params.verdicts}"
        " --out {output.traces:q} --counts {output.counts:q} --statistics {output.statistics:q}"
        " --manifest {output.manifest:q} --rejected {log.rejected:q} --log {log[0]:q}"


rule traces:
    """All graded traces."""
    input:
        files_of_all("traces/{teacher}/{dataset}/{shard}.manifest.json"),
