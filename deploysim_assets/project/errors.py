"""What is wrong with the project's files, said once."""

from typing import ClassVar


class ProjectError(Exception):
    """The project's files cannot be used as they are; the message names file, key, what is wrong
    and the mend.

    `exit_code` is how a command ends that meets it (sysexits.h): usage or configuration.
    """

    exit_code: ClassVar[int] = 64


class SealError(ProjectError):
    """What the ledger vouches for is not as it was sealed."""

    exit_code: ClassVar[int] = 4
