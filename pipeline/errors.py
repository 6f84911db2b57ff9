"""The project's one exception hierarchy.

Each message is a single line that says what is wrong, where, and what to do. It never holds a secret.
"""

from __future__ import annotations


class PipelineError(Exception):
    """A run that failed for a reason that its message explains."""

    exit_code = 1


class UsageError(PipelineError):
    """A command that was called wrongly."""

    exit_code = 2


class SettingsError(PipelineError):
    """A setting that is missing or makes no sense."""

    exit_code = 2


class SourceError(PipelineError):
    """The S3 source cannot be read."""


class MissingObjectError(SourceError):
    """The S3 source has no such object, or does not tell whether it has."""


class ArchiveError(PipelineError):
    """A landed archive is damaged, or does not hold what it should."""


class DatabaseError(PipelineError):
    """The MySQL server refused, failed or could not be reached."""


class LoadError(PipelineError):
    """The staging load cannot go on without losing or doubling something."""


class RepeatedKeyError(LoadError):
    """Rows that have the key of others, whether of the same statement or of an earlier one."""


class ServiceError(PipelineError):
    """An embedded service cannot be provided, started or stopped."""
