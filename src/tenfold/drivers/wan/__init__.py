"""A network of its own for each region, with the distances of the real world between them. Stage: effects -> world, below the drivers.

`Wan` sets it up as root; a router process of the project carries the packets (drivers.wan.router), late, lossy or not at all.
"""
