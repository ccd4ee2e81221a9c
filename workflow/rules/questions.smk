"""REQUIRED INPUTS: a dataset source in the config. OUTPUTS: questions/<dataset>/{train,validation,test}.jsonl."""


rule make_questions:
    """Cut {wildcards.dataset} into train, validation and test parts that share no question."""
    input:
        settings=made("settings/questions/{dataset}.json"),
        files=question_files,
    output:
        train="results/{run}/questions/{dataset}/train.jsonl",
        validation="results/{run}/questions/{dataset}/validation.jsonl",
        test="results/{run}/questions/{dataset}/test.jsonl",
        manifest="results/{run}/questions/{dataset}/manifest.json",
    log:
        "results/{run}/logs/make_questions/{dataset}.log",
        rejected="results/{run}/logs/make_questions/{dataset}.rejected.jsonl",
    benchmark:
        "results/{run}/benchmarks/make_questions/{dataset}.tsv"
    wildcard_constraints:
        dataset=AS_THEY_ARE,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(60),
    params:
        code=code_digest("questions"),
        folder=subpath(output.manifest, parent=True),
        logs=lambda wildcards: (
            ["--logs", *CONFIG.debates.all_logs]
            if reads_logs(wildcards.dataset)
            else []
        ),
    shell:
        "python -m agentark.stages.questions --config {input.settings:q} --dataset {wildcards.dataset:q}"
        " --out {params.folder:q} {params.logs:q} --rejected {log.rejected:q} --log {log[0]:q}"


rule change_questions:
    """Change the held-out questions of another dataset where it does not matter, for {wildcards.dataset}."""
    input:
        settings=made("settings/questions/{dataset}.json"),
        clean=lambda wildcards: f"{folder_of(MAIN)}/questions/{CONFIG.datasets[wildcards.dataset].of}/manifest.json",
    output:
        train="results/{run}/questions/{dataset}/train.jsonl",
        validation="results/{run}/questions/{dataset}/validation.jsonl",
        test="results/{run}/questions/{dataset}/test.jsonl",
        manifest="results/{run}/questions/{dataset}/manifest.json",
    log:
        "results/{run}/logs/change_questions/{dataset}.log",
    benchmark:
        "results/{run}/benchmarks/change_questions/{dataset}.tsv"
    wildcard_constraints:
        dataset=CHANGED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("change_questions"),
        clean=subpath(input.clean, parent=True),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python -m agentark.stages.change_questions --config {input.settings:q} --dataset {wildcards.dataset:q}"
        " --clean {params.clean:q} --out {params.folder:q} --log {log:q}"


rule questions:
    """All questions."""
    input:
        files_of_all(
            "questions/{dataset}/manifest.json",
            "questions/{benchmark}/manifest.json",
        ),
