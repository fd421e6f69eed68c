"""Speaks to other machines and shows people what is going on: the page, its API, metrics out and in. Floor 5; `cli` starts it."""
