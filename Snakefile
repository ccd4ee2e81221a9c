"""AgentArk: questions to evaluation tables. Settings: one config (default: config/demo.yaml); hardware: a profile."""

from snakemake.utils import min_version

min_version("9.20")


if "run" not in config:

    configfile: workflow.current_basedir.join("config/demo.yaml").get_path_or_uri(secret_free=True)


include: "workflow/rules/common.smk"
include: "workflow/rules/paths.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/outputs.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/settings.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/questions.smk"
include: "workflow/rules/debates.smk"
include: "workflow/rules/traces.smk"
include: "workflow/rules/sets.smk"
include: "workflow/rules/sft.smk"
include: "workflow/rules/prm.smk"
include: "workflow/rules/grpo.smk"
include: "workflow/rules/evaluations.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/targets.smk"


rule all:
    """Everything a user opens."""
    default_target: True
    input:
        result_files,


onstart:
    refuse_too_few_gpus()


onsuccess:
    show_summary()


onerror:
    tell_where_to_look(log)
