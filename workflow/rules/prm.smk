"""REQUIRED INPUTS: a model, step examples, held-out debates. OUTPUTS: prm/.../manifest.json, its folder beside it, and
scores/.../<shard>.jsonl.zst, a row a held-out trace."""


rule train_prm:
    """Train a process reward model from {wildcards.backbone} on the steps of {wildcards.teacher}'s debates."""
    input:
        made_by(step_sets("card.json")),
        settings=made("settings/prm.json"),
        model=made("models/{backbone}/manifest.json"),
        rows=ancient(made_by(step_sets("jsonl"))),
    output:
        manifest="results/{run}/prm/{teacher}/{train_set}/{backbone}/{seed}/manifest.json",
    log:
        "results/{run}/logs/train_prm/{teacher}/{train_set}/{backbone}/{seed}.log",
    benchmark:
        "results/{run}/benchmarks/train_prm/{teacher}/{train_set}/{backbone}/{seed}.tsv"
    priority: 20
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("train", the_backbone, hours=12),
    params:
        code=code_digest("prm"),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices} --nodes {resources.nodes} --zero {resources.zero}"
        " agentark.stages.prm --config {input.settings:q} --model {input.model:q} --set {input.rows:q}"
        " --seed {wildcards.seed} --manifest {output.manifest:q} --log {log:q}"


rule prm:
    """All process reward models."""
    input:
        files_of_all("prm/{teacher}/{train_set}/{backbone}/{seed}/manifest.json"),


rule make_step_benchmark:
    """Read the step benchmark {wildcards.benchmark}."""
    input:
        lambda wildcards: step_benchmark_file(wildcards.benchmark),
        settings=made("settings/steps/{benchmark}.json"),
    output:
        rows="results/{run}/steps/{benchmark}.jsonl",
        manifest="results/{run}/steps/{benchmark}.manifest.json",
    log:
        "results/{run}/logs/make_step_benchmark/{benchmark}.log",
        rejected="results/{run}/logs/make_step_benchmark/{benchmark}.rejected.jsonl",
    benchmark:
        "results/{run}/benchmarks/make_step_benchmark/{benchmark}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(60),
    params:
        code=code_digest("step_benchmark"),
    shell:
        "python -m agentark.stages.step_benchmark --config {input.settings:q} --name {wildcards.benchmark:q}"
        " --out {output.rows:q} --manifest {output.manifest:q} --rejected {log.rejected:q} --log {log[0]:q}"


rule score_untrained:
    """Ask {wildcards.backbone}, untrained, how likely the held-out steps of {wildcards.teacher}'s debates are."""
    input:
        made_by(held_out_debates("manifest.json")),
        made_by(step_benchmarks("manifest.json")),
        settings=made("settings/prm_evaluation.json"),
        model=made("models/{backbone}/manifest.json"),
        debates=ancient(made_by(held_out_debates("jsonl.zst"))),
        steps=ancient(made_by(step_benchmarks("jsonl"))),
    output:
        rows="results/{run}/likelihoods/{teacher}/{train_set}/{backbone}/{shard}.jsonl.zst",
        manifest="results/{run}/likelihoods/{teacher}/{train_set}/{backbone}/{shard}.manifest.json",
    log:
        "results/{run}/logs/score_untrained/{teacher}/{train_set}/{backbone}/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/score_untrained/{teacher}/{train_set}/{backbone}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", the_backbone, hours=12),
    params:
        code=code_digest("score_untrained"),
        work="results/{run}/kept/likelihoods/{teacher}/{train_set}/{backbone}/{shard}",
        debates=named_debates,
        steps=named_steps,
        n_shards=CONFIG.prm_evaluation.shards,
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.score_untrained --config {input.settings:q} --model {input.model:q}"
        " --debates {params.debates:q} --steps {params.steps:q} --shard {wildcards.shard}/{params.n_shards}"
        " --work {params.work:q} --out {output.rows:q} --manifest {output.manifest:q} --log {log:q}"


rule score_steps:
    """Score held-out steps by the reward model of {wildcards.teacher}'s debates on {wildcards.train_set}."""
    input:
        made_by(held_out_debates("manifest.json")),
        made_by(step_benchmarks("manifest.json")),
        made("likelihoods/{teacher}/{train_set}/{backbone}/{shard}.manifest.json"),
        settings=made("settings/prm_evaluation.json"),
        prm=made("prm/{teacher}/{train_set}/{backbone}/{seed}/manifest.json"),
        likelihoods=ancient(
            made("likelihoods/{teacher}/{train_set}/{backbone}/{shard}.jsonl.zst")
        ),
        debates=ancient(made_by(held_out_debates("jsonl.zst"))),
        steps=ancient(made_by(step_benchmarks("jsonl"))),
    output:
        rows="results/{run}/scores/{teacher}/{train_set}/{backbone}/{seed}/{shard}.jsonl.zst",
        manifest="results/{run}/scores/{teacher}/{train_set}/{backbone}/{seed}/{shard}.manifest.json",
    log:
        "results/{run}/logs/score_steps/{teacher}/{train_set}/{backbone}/{seed}/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/score_steps/{teacher}/{train_set}/{backbone}/{seed}/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", the_backbone, hours=12),
    params:
        code=code_digest("score"),
        work="results/{run}/kept/scores/{teacher}/{train_set}/{backbone}/{seed}/{shard}",
        variant=variant_name(),
        debates=named_debates,
        steps=named_steps,
        n_shards=CONFIG.prm_evaluation.shards,
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.score --config {input.settings:q} --prm {input.prm:q} --likelihoods {input.likelihoods:q}"
        " --debates {params.debates:q} --steps {params.steps:q} --variant {params.variant} --teacher {wildcards.teacher:q}"
        " --train-set {wildcards.train_set:q} --backbone {wildcards.backbone:q} --seed {wildcards.seed}"
        " --shard {wildcards.shard}/{params.n_shards} --work {params.work:q} --out {output.rows:q}"
        " --manifest {output.manifest:q} --log {log:q}"


rule scores:
    """The scores of all reward models, and their table."""
    input:
        f"{folder_of(MAIN)}/tables/prm.csv",
