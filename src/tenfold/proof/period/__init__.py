"""A period that is over, from the journal alone: `gather` reads it, `targets` judges, `advice` thinks it over, `words` and `page` tell it.

Stage: journal -> report.
"""
