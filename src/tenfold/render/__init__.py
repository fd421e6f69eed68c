"""The model becomes foreign text: Envoy resources first. Floor 2, pure."""
