"""The one exception whose message is meant for the user."""


class UserError(Exception):
    """One sentence that names the file, the line or key, and the cure. Shown without a traceback."""
