"""A small Azure on this machine: real hosts, a real packet fabric; knows the network model, no diagnosis."""
