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
