"""The stage programs, one for each rule; what libraries say while one imports them goes to its log as well."""

import sys

from agentark.running import output

# Python says `-m` while it looks for the module to run, and on the way it imports this package: before any library.
if sys.argv[0] == "-m" and (log := output.log_of(sys.argv[1:])):
    output.to_log_from_here(log)
