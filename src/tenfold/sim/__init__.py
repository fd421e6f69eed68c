"""A false world on virtual time behind the same ports. Floor 3."""
