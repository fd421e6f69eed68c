"""History becomes facts about what is coming or odd. Floor 2, pure."""

from tenfold.estimators.anomaly import ALERT_SCORE, Detector, Score
from tenfold.estimators.routes import RouteTimes, prefix_of

__all__ = ["ALERT_SCORE", "Detector", "RouteTimes", "Score", "prefix_of"]
