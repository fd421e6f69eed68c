"""What apps and the control plane must agree on, versioned: keys, scripts, shard map, fence."""
