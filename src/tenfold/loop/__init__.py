"""Observes, estimates, asks, acts under the lease; owns the journal. Floor 3."""
