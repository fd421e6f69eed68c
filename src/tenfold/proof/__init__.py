"""Makes load and harm, measures from outside, judges against the targets. Floor 4."""
