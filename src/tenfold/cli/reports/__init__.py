"""`tenfold report`: what happened, from the journal alone. Gathered (`gather`), thought over (`advice`), and told (`text`, `html`)."""
