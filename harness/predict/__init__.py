"""``azreach matrix --predict``: what a snapshot lets pass between all machines, as table, file or picture."""
