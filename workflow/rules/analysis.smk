"""REQUIRED INPUTS: evaluation rows and debates. OUTPUTS: tables/{summary,comparisons,debates,sets,sft,prm,pad}.csv and figures/, those
of an experiment in folders of its name."""


rule summarise:
    """One row an arm and benchmark: accuracy, interval, cost; and every comparison between arms."""
    input:
        settings=lambda wildcards: settings_of_tables(wildcards),
        manifests=lambda wildcards: evaluations_of(part_of(wildcards), "manifest.json"),
    output:
        table=report(
            "results/{run}/tables/{part}summary.csv",
            caption="../report/summary.rst",
            category="Evaluation",
            labels={"run": "{run}", "part": "{part}", "what": "summary"},
        ),
        comparisons=report(
            "results/{run}/tables/{part}comparisons.csv",
            caption="../report/comparisons.rst",
            category="Evaluation",
            labels={"run": "{run}", "part": "{part}", "what": "comparisons"},
        ),
        text="results/{run}/tables/{part}summary.txt",
        manifest="results/{run}/tables/{part}manifest.json",
    log:
        "results/{run}/logs/summarise/{part}tables.log",
    benchmark:
        "results/{run}/benchmarks/summarise/{part}tables.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise"),
    shell:
        "python -m agentark.stages.summarise --config {input.settings:q} --run results/{wildcards.run:q}"
        " --out {output.table:q} --comparisons {output.comparisons:q} --text {output.text:q}"
        " --manifest {output.manifest:q} --log {log:q}"


rule summarise_debates:
    """What the debates tell, and a page of some to read."""
    input:
        files_of_all("debates/{teacher}/{dataset}/{shard}.manifest.json"),
        files_of_all(*scored_debates("manifest.json")),
        statistics=files_of_all(
            "traces/{teacher}/{dataset}/{shard}.debates.json",
            *scored_debates("debates.json"),
        ),
        evaluations=ancient(files_of_all(*scored_debates("jsonl"))),
        debates=ancient(files_of_all("debates/{teacher}/{dataset}/{shard}.jsonl.zst")),
    output:
        table=report(
            "results/{run}/tables/debates.csv",
            caption="../report/debates.rst",
            category="Debates",
            labels={"run": "{run}", "what": "table"},
        ),
        text="results/{run}/tables/debates.txt",
        samples=report(
            "results/{run}/figures/debates.html",
            caption="../report/debate_samples.rst",
            category="Debates",
            labels={"run": "{run}", "what": "samples"},
        ),
    log:
        "results/{run}/logs/summarise_debates.log",
    benchmark:
        "results/{run}/benchmarks/summarise_debates.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise_debates"),
    shell:
        "python -m agentark.stages.summarise_debates --statistics {input.statistics:q}"
        " --evaluations {input.evaluations:q} --debates {input.debates:q} --out {output.table:q}"
        " --text {output.text:q} --samples {output.samples:q} > {log:q} 2>&1"


rule summarise_sets:
    """What the training sets hold and what was left out on the way."""
    input:
        cards=files_of_all("sets/{teacher}/{dataset}/{kind}.card.json"),
    output:
        table=report(
            "results/{run}/tables/sets.csv",
            caption="../report/sets.rst",
            category="Sets",
            labels={"run": "{run}", "what": "table"},
        ),
        figure=report(
            "results/{run}/figures/sets.svg",
            caption="../report/sets.rst",
            category="Sets",
            labels={"run": "{run}", "what": "lengths"},
        ),
    log:
        "results/{run}/logs/summarise_sets.log",
    benchmark:
        "results/{run}/benchmarks/summarise_sets.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise_sets"),
    shell:
        "python -m agentark.stages.summarise_sets --cards {input.cards:q} --out {output.table:q}"
        " --figure {output.figure:q} > {log:q} 2>&1"


rule summarise_sft:
    """How R-SFT, DA and controls were trained, and on how much."""
    input:
        students=lambda wildcards: trained_students(by_pad=False),
    output:
        table=report(
            "results/{run}/tables/sft.csv",
            caption="../report/sft.rst",
            category="Students",
            labels={"run": "{run}", "what": "table"},
        ),
        curves="results/{run}/tables/sft_curves.csv",
        figure=report(
            "results/{run}/figures/sft.svg",
            caption="../report/sft.rst",
            category="Students",
            labels={"run": "{run}", "what": "figure"},
        ),
    log:
        "results/{run}/logs/summarise_sft.log",
    benchmark:
        "results/{run}/benchmarks/summarise_sft.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise_sft"),
    shell:
        "python -m agentark.stages.summarise_sft --students {input.students:q} --out {output.table:q}"
        " --curves {output.curves:q} --figure {output.figure:q} > {log:q} 2>&1"


rule summarise_prm:
    """What reward models know, beside judges that know nothing."""
    input:
        lambda wildcards: [
            file.replace(".jsonl.zst", ".manifest.json")
            for file in score_files(wildcards)
        ],
        scores=ancient(lambda wildcards: score_files(wildcards)),
    output:
        table=report(
            "results/{run}/tables/prm.csv",
            caption="../report/prm.rst",
            category="Reward models",
            labels={"run": "{run}", "what": "table"},
        ),
        text="results/{run}/tables/prm.txt",
        figure=report(
            "results/{run}/figures/prm.svg",
            caption="../report/prm.rst",
            category="Reward models",
            labels={"run": "{run}", "what": "figure"},
        ),
    log:
        "results/{run}/logs/summarise_prm.log",
    benchmark:
        "results/{run}/benchmarks/summarise_prm.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(4000),
        runtime=minutes(60),
    params:
        code=code_digest("summarise_prm"),
        published=[
            f"{name}={benchmark.published}"
            for name, benchmark in CONFIG.prm_evaluation.benchmarks.items()
            if benchmark.published
        ],
    shell:
        "python -m agentark.stages.summarise_prm --scores {input.scores:q} --published {params.published:q}"
        " --out {output.table:q} --text {output.text:q} --figure {output.figure:q} > {log:q} 2>&1"


rule summarise_pad:
    """How policies were trained: their curves, why they stopped, and what they said over time."""
    input:
        students=lambda wildcards: trained_students(by_pad=True),
    output:
        table=report(
            "results/{run}/tables/pad.csv",
            caption="../report/pad.rst",
            category="Policies",
            labels={"run": "{run}", "what": "table"},
        ),
        curves="results/{run}/tables/pad_curves.csv",
        text="results/{run}/tables/pad.txt",
        figure=report(
            "results/{run}/figures/pad.svg",
            caption="../report/pad.rst",
            category="Policies",
            labels={"run": "{run}", "what": "figure"},
        ),
        samples=report(
            "results/{run}/tables/pad_samples.html",
            caption="../report/pad.rst",
            category="Policies",
            labels={"run": "{run}", "what": "answers over time"},
        ),
    log:
        "results/{run}/logs/summarise_pad.log",
    benchmark:
        "results/{run}/benchmarks/summarise_pad.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise_pad"),
    shell:
        "python -m agentark.stages.summarise_pad --students {input.students:q} --out {output.table:q}"
        " --curves {output.curves:q} --text {output.text:q} --figure {output.figure:q} --samples {output.samples:q}"
        " > {log:q} 2>&1"


rule summarise_verification:
    """How far the verifier and the rules agree."""
    input:
        counts=where(
            lambda wildcards: any_verifier(),
            files_of_all("verdicts/{teacher}/{dataset}/{shard}.counts.json"),
        ),
    output:
        table=report(
            "results/{run}/tables/verification.csv",
            caption="../report/verification.rst",
            category="Debates",
            labels={"run": "{run}", "what": "verification"},
        ),
    log:
        "results/{run}/logs/summarise_verification.log",
    benchmark:
        "results/{run}/benchmarks/summarise_verification.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise_verification"),
    shell:
        "python -m agentark.stages.summarise_verification --verdicts {input.counts:q} --out {output.table:q}"
        " > {log:q} 2>&1"


rule summarise_cost:
    """What an answer of each arm costs, what making its student took, and when that has paid."""
    input:
        settings=lambda wildcards: settings_of_tables(wildcards),
        manifests=lambda wildcards: evaluations_of(part_of(wildcards), "manifest.json"),
    output:
        table=report(
            "results/{run}/tables/{part}cost.csv",
            caption="../report/cost.rst",
            category="Evaluation",
            labels={"run": "{run}", "part": "{part}", "what": "cost"},
        ),
        figure=report(
            "results/{run}/figures/{part}cost.svg",
            caption="../report/cost.rst",
            category="Evaluation",
            labels={"run": "{run}", "part": "{part}", "what": "cost"},
        ),
    log:
        "results/{run}/logs/summarise_cost/{part}cost.log",
    benchmark:
        "results/{run}/benchmarks/summarise_cost/{part}cost.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise_cost"),
    shell:
        "python -m agentark.stages.summarise_cost --config {input.settings:q} --run results/{wildcards.run:q}"
        " --out {output.table:q} --figure {output.figure:q} --log {log:q}"


rule summarise_reasoning:
    """What single answers do on their way, and how likely worked solutions are."""
    input:
        settings=lambda wildcards: settings_of_tables(wildcards),
        manifests=lambda wildcards: evaluations_of(part_of(wildcards), "manifest.json"),
        perplexities=lambda wildcards: perplexities_of(
            part_of(wildcards), "manifest.json"
        ),
    output:
        table=report(
            "results/{run}/tables/{part}reasoning_quality.csv",
            caption="../report/reasoning.rst",
            category="Evaluation",
            labels={"run": "{run}", "part": "{part}", "what": "reasoning"},
        ),
    log:
        "results/{run}/logs/summarise_reasoning/{part}reasoning_quality.log",
    benchmark:
        "results/{run}/benchmarks/summarise_reasoning/{part}reasoning_quality.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise_reasoning"),
    shell:
        "python -m agentark.stages.summarise_reasoning --config {input.settings:q} --run results/{wildcards.run:q}"
        " --out {output.table:q} --log {log:q}"


rule summarise_robustness:
    """What arms lose on questions that were changed where it does not matter."""
    input:
        settings=lambda wildcards: settings_of_tables(wildcards),
        manifests=lambda wildcards: evaluations_of(part_of(wildcards), "manifest.json"),
    output:
        table=report(
            "results/{run}/tables/{part}robustness.csv",
            caption="../report/robustness.rst",
            category="Evaluation",
            labels={"run": "{run}", "part": "{part}", "what": "robustness"},
        ),
    log:
        "results/{run}/logs/summarise_robustness/{part}robustness.log",
    benchmark:
        "results/{run}/benchmarks/summarise_robustness/{part}robustness.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("summarise_robustness"),
    shell:
        "python -m agentark.stages.summarise_robustness --config {input.settings:q} --run results/{wildcards.run:q}"
        " --out {output.table:q} --log {log:q}"


rule plot_accuracy:
    """Accuracy of every model with its interval."""
    input:
        table="results/{run}/tables/{part}summary.csv",
    output:
        figure=report(
            "results/{run}/figures/{part}accuracy.svg",
            caption="../report/accuracy.rst",
            category="Evaluation",
            labels={"run": "{run}", "part": "{part}", "what": "accuracy"},
        ),
    log:
        "results/{run}/logs/plot_accuracy/{part}accuracy.log",
    benchmark:
        "results/{run}/benchmarks/plot_accuracy/{part}accuracy.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory_mb(2000),
        runtime=minutes(30),
    params:
        code=code_digest("plot_accuracy"),
    shell:
        "python -m agentark.stages.plot_accuracy --table {input.table:q} --out {output.figure:q} > {log:q} 2>&1"
