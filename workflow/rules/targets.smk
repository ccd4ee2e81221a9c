"""REQUIRED INPUTS: evaluation rows. OUTPUTS: none; targets for parts of the grid, one for each value of an axis."""

for axis, values in STUDENT_AXES.items():
    for value in values:

        rule:
            name:
                part_name(axis, value)
            # Only when it is asked for: a grid of thousands of seeds has as many targets.
            input:
                partial(evaluations_of_part, axis, value),
