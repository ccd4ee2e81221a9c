"""REQUIRED INPUTS: a model and held-out questions. OUTPUTS: evaluations/.../<benchmark>.jsonl, one row a question."""


rule evaluate_base:
    """Score {wildcards.model} untrained; a teacher also debates and votes on a share of the questions."""
    input:
        made("questions/{benchmark}/manifest.json"),
        settings=made("settings/evaluation.json"),
        engine=made("settings/engine.json"),
        teacher=made_by(teacher_settings),
        models=lambda wildcards: manifests(members(wildcards.model)),
        questions=ancient(made(scored_questions)),
    output:
        rows="results/{run}/evaluations/base/{model}/{benchmark}.jsonl",
        debates="results/{run}/evaluations/base/{model}/{benchmark}.debates.jsonl.zst",
        statistics="results/{run}/evaluations/base/{model}/{benchmark}.debates.json",
        manifest="results/{run}/evaluations/base/{model}/{benchmark}.manifest.json",
    log:
        "results/{run}/logs/evaluate_base/{model}/{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/evaluate_base/{model}/{benchmark}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", lambda wildcards: members(wildcards.model), hours=12),
    params:
        code=lambda wildcards: evaluation_code(
            config_of(wildcards), is_teacher(wildcards)
        ),
        variant=variant_name(),
        models=lambda wildcards: named(members(wildcards.model)),
        teacher=lambda wildcards, input: (
            "--debates {} --team {}".format(*input.teacher) if input.teacher else ""
        ),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.evaluate --config {input.settings:q} --engine {input.engine:q}"
        " --models {params.models:q} --variant {params.variant} --name {wildcards.model:q}"
        " --questions {input.questions:q} --seed 0 {params.teacher} --out {output.rows:q} --held {output.debates:q}"
        " --statistics {output.statistics:q} --manifest {output.manifest:q} --log {log:q}"


rule evaluate_student:
    """Score the {wildcards.recipe} student of {wildcards.student} with the same prompt and budget as its base."""
    input:
        made("questions/{benchmark}/manifest.json"),
        settings=made("settings/evaluation.json"),
        engine=made("settings/engine.json"),
        model=made(
            "students/{recipe}/{teacher}/{train_set}/{student}/{seed}/manifest.json"
        ),
        questions=ancient(made(scored_questions)),
    output:
        rows="results/{run}/evaluations/{recipe}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.jsonl",
        manifest="results/{run}/evaluations/{recipe}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.manifest.json",
    log:
        "results/{run}/logs/evaluate_student/{recipe}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/evaluate_student/{recipe}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", the_student, hours=12),
    params:
        code=by_variant(lambda config: evaluation_code(config, teacher=False)),
        variant=variant_name(),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.evaluate --config {input.settings:q} --engine {input.engine:q}"
        " --models {wildcards.student}={input.model:q} --name {wildcards.student:q} --variant {params.variant} --recipe {wildcards.recipe}"
        " --teacher {wildcards.teacher:q} --train-set {wildcards.train_set:q} --questions {input.questions:q}"
        " --seed {wildcards.seed} --out {output.rows:q} --manifest {output.manifest:q} --log {log:q}"


rule evaluate_by_lm_eval:
    """Score {wildcards.model}, untrained, by tasks of lm-evaluation-harness."""
    input:
        settings=made("settings/lm_eval.json"),
        engine=made("settings/engine.json"),
        model=made("models/{model}/manifest.json"),
    output:
        rows="results/{run}/lm_eval/base/{model}.jsonl",
        manifest="results/{run}/lm_eval/base/{model}.manifest.json",
    log:
        "results/{run}/logs/evaluate_by_lm_eval/{model}.log",
    benchmark:
        "results/{run}/benchmarks/evaluate_by_lm_eval/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", lambda wildcards: [wildcards.model], hours=12),
    params:
        code=code_digest("evaluate_by_lm_eval"),
        variant=variant_name(),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.evaluate_by_lm_eval --config {input.settings:q} --engine {input.engine:q}"
        " --model {input.model:q} --name {wildcards.model:q} --variant {params.variant} --seed 0"
        " --out {output.rows:q} --manifest {output.manifest:q} --log {log:q}"


rule evaluate_student_by_lm_eval:
    """Score the {wildcards.recipe} student of {wildcards.student} by tasks of lm-evaluation-harness."""
    input:
        settings=made("settings/lm_eval.json"),
        engine=made("settings/engine.json"),
        model=made(
            "students/{recipe}/{teacher}/{train_set}/{student}/{seed}/manifest.json"
        ),
    output:
        rows="results/{run}/lm_eval/{recipe}/{teacher}/{train_set}/{student}/{seed}.jsonl",
        manifest="results/{run}/lm_eval/{recipe}/{teacher}/{train_set}/{student}/{seed}.manifest.json",
    log:
        "results/{run}/logs/evaluate_student_by_lm_eval/{recipe}/{teacher}/{train_set}/{student}/{seed}.log",
    benchmark:
        "results/{run}/benchmarks/evaluate_student_by_lm_eval/{recipe}/{teacher}/{train_set}/{student}/{seed}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", the_student, hours=12),
    params:
        code=code_digest("evaluate_by_lm_eval"),
        variant=variant_name(),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.evaluate_by_lm_eval --config {input.settings:q} --engine {input.engine:q}"
        " --model {input.model:q} --name {wildcards.student:q} --variant {params.variant} --recipe {wildcards.recipe}"
        " --teacher {wildcards.teacher:q} --train-set {wildcards.train_set:q} --seed {wildcards.seed}"
        " --out {output.rows:q} --manifest {output.manifest:q} --log {log:q}"


rule measure_perplexity:
    """How likely worked solutions of {wildcards.benchmark} are under {wildcards.model}, untrained."""
    input:
        made("questions/{benchmark}/manifest.json"),
        settings=made("settings/perplexity.json"),
        model=made("models/{model}/manifest.json"),
        questions=ancient(made(scored_questions)),
    output:
        rows="results/{run}/perplexity/base/{model}/{benchmark}.jsonl",
        manifest="results/{run}/perplexity/base/{model}/{benchmark}.manifest.json",
    log:
        "results/{run}/logs/measure_perplexity/{model}/{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/measure_perplexity/{model}/{benchmark}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", lambda wildcards: [wildcards.model], hours=4),
    params:
        code=code_digest("measure_perplexity"),
        variant=variant_name(),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.measure_perplexity --config {input.settings:q} --model {input.model:q}"
        " --name {wildcards.model:q} --variant {params.variant} --questions {input.questions:q} --seed 0"
        " --out {output.rows:q} --manifest {output.manifest:q} --log {log:q}"


rule measure_perplexity_of_student:
    """How likely worked solutions of {wildcards.benchmark} are under the {wildcards.recipe} student of {wildcards.student}."""
    input:
        made("questions/{benchmark}/manifest.json"),
        settings=made("settings/perplexity.json"),
        model=made(
            "students/{recipe}/{teacher}/{train_set}/{student}/{seed}/manifest.json"
        ),
        questions=ancient(made(scored_questions)),
    output:
        rows="results/{run}/perplexity/{recipe}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.jsonl",
        manifest="results/{run}/perplexity/{recipe}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.manifest.json",
    log:
        "results/{run}/logs/measure_perplexity_of_student/{recipe}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/measure_perplexity_of_student/{recipe}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **needs("generate", the_student, hours=4),
    params:
        code=code_digest("measure_perplexity"),
        variant=variant_name(),
    shell:
        "python -m agentark.running.launch --gpus {resources.devices}"
        " agentark.stages.measure_perplexity --config {input.settings:q} --model {input.model:q}"
        " --name {wildcards.student:q} --variant {params.variant} --recipe {wildcards.recipe}"
        " --teacher {wildcards.teacher:q} --train-set {wildcards.train_set:q} --seed {wildcards.seed}"
        " --questions {input.questions:q} --out {output.rows:q} --manifest {output.manifest:q} --log {log:q}"


rule evaluate_imported_debates:
    """Score the logged debates of {wildcards.teacher} on the held-out questions of {wildcards.benchmark}."""
    input:
        made("debates/{teacher}/{benchmark}/0.manifest.json"),
        settings=made("settings/evaluation.json"),
        debates=ancient(made("debates/{teacher}/{benchmark}/held_out.jsonl.zst")),
    output:
        rows="results/{run}/evaluations/debate/{teacher}/{benchmark}.jsonl",
        statistics="results/{run}/evaluations/debate/{teacher}/{benchmark}.debates.json",
        manifest="results/{run}/evaluations/debate/{teacher}/{benchmark}.manifest.json",
    log:
        "results/{run}/logs/evaluate_imported_debates/{teacher}/{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/evaluate_imported_debates/{teacher}/{benchmark}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(60),
    params:
        code=code_digest("evaluate_debates"),
        variant=variant_name(),
    shell:
        "python -m agentark.stages.evaluate_debates --config {input.settings:q} --debates {input.debates:q}"
        " --variant {params.variant} --teacher {wildcards.teacher:q} --out {output.rows:q} --statistics {output.statistics:q}"
        " --manifest {output.manifest:q} --log {log:q}"


rule evaluations:
    """All evaluation rows."""
    input:
        lambda wildcards: [
            file for part in CONFIG.parts.values() for file in evaluations_of(part)
        ],
