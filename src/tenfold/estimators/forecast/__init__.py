"""What is to come: the minutes of a series become its quantiles up to an hour ahead. A package of estimators, one thing from outside."""

from tenfold.estimators.forecast.forecaster import Forecaster
from tenfold.estimators.forecast.forecasts import Forecasts, series_of

__all__ = ["Forecaster", "Forecasts", "series_of"]
