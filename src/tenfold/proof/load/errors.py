"""The one error of the load engine that is meant for a person."""


class LoadError(ValueError):
    """The load can't be made as asked. The text is a sentence that says what is wrong and what to do next."""
