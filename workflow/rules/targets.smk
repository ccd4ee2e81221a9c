"""REQUIRED INPUTS: the config. OUTPUTS: none; a target for each value of an axis, and for each experiment."""

from agentark.config.experiments import AXES

for axis in AXES:
    for value in getattr(CONFIG, axis):

        rule:
            name:
                part_name(axis.removesuffix("s"), value)
            input:
                evaluations_with(axis, value),


for name in CONFIG.experiments:

    rule:
        name:
            part_name("experiment", name)
        input:
            tables_of_part(name),


# Snakemake makes a function of each rule, by two global names, and copies all global names for every shell command that it
# shows: hundreds of rules, and thousands of targets, would make that slow. By one of them it runs a rule that does anything.
for each in workflow.rules:
    globals().pop(f"__rule_{each.name}", None)
    if each.norun:
        globals().pop(f"__{each.name}", None)
