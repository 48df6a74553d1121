"""The controller's side of real traffic: TCP, UDP, ICMP, captures, listeners. Typed, not judged."""
