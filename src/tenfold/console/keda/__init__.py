"""KEDA asks, Tenfold answers: the brain beside an existing cluster, which keeps its own actuator and takes only the number."""
