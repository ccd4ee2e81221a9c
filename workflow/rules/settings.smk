"""REQUIRED INPUTS: the config. OUTPUTS: settings/<section>[/<name>].json, the slice that one stage reads."""


rule freeze_settings:
    """Freeze the settings of {wildcards.settings} in a file: a job that starts later must not read newer ones."""
    output:
        "results/{run}/settings/{settings}.json",
    log:
        "results/{run}/logs/freeze_settings/{settings}.log",
    benchmark:
        "results/{run}/benchmarks/freeze_settings/{settings}.tsv"
    threads: 1
    resources:
        mem_mb=memory_mb(500),
        runtime=minutes(5),
    params:
        settings=lambda wildcards: frozen_settings(
            variant_of(wildcards), wildcards.settings
        ),
    run:
        Path(output[0]).write_text(params.settings + "\n", encoding="utf-8")
