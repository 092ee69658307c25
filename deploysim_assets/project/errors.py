"""What is wrong with the project's files, said once."""


class ProjectError(Exception):
    """The project's files cannot be used as they are; the message names file, key, what is wrong
    and the mend."""
