"""Model + snapshot + memory become a decision, with its reason. Floor 2, pure."""
