"""The tools an app imports; of the rest it sees only `model` and `wire`. Floor 2."""
