"""History becomes facts about what is coming or odd. Floor 2, pure."""
