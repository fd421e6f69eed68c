"""Tenfold runs a web app at ten times its size: it deploys, scales, heals, proves, and says why."""
