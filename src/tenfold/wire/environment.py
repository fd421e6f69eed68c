"""The environment variables that every instance gets. Written by drivers, read by the sdk; a rename is a new version of the wire."""

VERSION = 1

PREFIX = "TENFOLD_"
"""What all of them begin with; no other variable may."""
PROJECT = "TENFOLD_PROJECT"
"""Id of the project; with KIND and ID the tag by which a process is found again."""
KIND = "TENFOLD_KIND"
ID = "TENFOLD_ID"
INSTANCE = "TENFOLD_INSTANCE"
SERVICE = "TENFOLD_SERVICE"
REGION = "TENFOLD_REGION"
RELEASE = "TENFOLD_RELEASE"
PORT = "TENFOLD_PORT"
ENVIRONMENT = "TENFOLD_ENVIRONMENT"
URL = "TENFOLD_URL"
"""Base URL of the control plane's console, where the app posts its own metrics."""
