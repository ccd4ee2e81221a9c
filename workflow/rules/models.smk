"""REQUIRED INPUTS: a model source in the config. OUTPUTS: models/<model>/manifest.json, its folder beside it."""


rule prepare_model:
    """Bring {wildcards.model} into the run as safetensors with its tokenizer."""
    input:
        settings=made("settings/models/{model}.json"),
        student=lambda wildcards: student_of(wildcards.model),
    output:
        manifest="results/{run}/models/{model}/manifest.json",
    log:
        "results/{run}/logs/prepare_model/{model}.log",
    benchmark:
        "results/{run}/benchmarks/prepare_model/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=memory_mb(8000),
        runtime=minutes(60),
    params:
        code=code_digest("models"),
        student=lambda wildcards, input: (
            f"--student {input.student}" if input.student else ""
        ),
    shell:
        "python -m agentark.stages.models --config {input.settings:q} {params.student}"
        " --manifest {output.manifest:q} --log {log:q}"


rule models:
    """All models from elsewhere: with `questions`, all that needs the network."""
    input:
        manifests(name for name, model in CONFIG.models.items() if not model.student),
