"""REQUIRED INPUTS: evaluation rows. OUTPUTS: tables/summary.csv and figures/accuracy.svg."""


rule summarise:
    """One row a model, protocol and benchmark: accuracy, interval, paired difference to base, cost."""
    input:
        rows=evaluation_files(),
    output:
        table=report(
            "results/{run}/tables/summary.csv",
            caption="../report/summary.rst",
            category="Evaluation",
            labels={"run": "{run}", "what": "summary"},
        ),
        text="results/{run}/tables/summary.txt",
    log:
        "results/{run}/logs/summarise.log",
    benchmark:
        "results/{run}/benchmarks/summarise.tsv"
    conda:
        "../../envs/worker-cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise"),
    shell:
        "python -m agentark.stages.summarise --evaluations {input.rows:q} --out {output.table:q}"
        " --text {output.text:q} > {log:q} 2>&1"


rule plot_accuracy:
    """Accuracy of every model with its interval."""
    input:
        table="results/{run}/tables/summary.csv",
    output:
        figure=report(
            "results/{run}/figures/accuracy.svg",
            caption="../report/accuracy.rst",
            category="Evaluation",
            labels={"run": "{run}", "what": "accuracy"},
        ),
    log:
        "results/{run}/logs/plot_accuracy.log",
    benchmark:
        "results/{run}/benchmarks/plot_accuracy.tsv"
    conda:
        "../../envs/worker-cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("plot_accuracy"),
    shell:
        "python -m agentark.stages.plot_accuracy --table {input.table:q} --out {output.figure:q} > {log:q} 2>&1"
