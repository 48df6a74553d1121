"""azreach: network reachability tests for Azure VMs. The library and the pytest plugin.

Knows Azure's network and its guests; knows nothing of the local lab.
"""

__version__ = "0.1.0"
