"""One module per real engine; the only place that talks to it. Floor 3."""
