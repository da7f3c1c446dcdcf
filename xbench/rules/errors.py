"""The error and the warning of backward rules."""


class UnknownOperation(RuntimeError):
    """A model called an operation that the backward rule cannot pass through correctly.

    `operation` is the name of that operation, e.g. "lstm".
    """

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(f"{operation}: {reason}")
        self.operation, self.reason = operation, reason


class UnknownOperationWarning(UserWarning):
    """The same as a warning: the rule continues with the plain gradient of that operation."""
