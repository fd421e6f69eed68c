"""What a proof says in the end, and the page that shows it. Stage: verdicts, load, journal, drills -> people."""

from tenfold.proof.report.page import page
from tenfold.proof.report.plot import Span
from tenfold.proof.report.report import Mark, Moment, Report, Series, Setting

__all__ = ["Mark", "Moment", "Report", "Series", "Setting", "Span", "page"]
