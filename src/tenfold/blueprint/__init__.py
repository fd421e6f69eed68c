"""Text becomes a `Model`, or problems that a person can fix. Floor 2."""
