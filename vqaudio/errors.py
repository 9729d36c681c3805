"""The one exception that a user is meant to see."""


class UserError(ValueError):
    """What the user gave cannot be used.

    The message is one line that names the file or key and the mend. The command line prints it
    and exits with status 2; any other exception is a defect of this package.
    """
