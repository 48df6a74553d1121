"""What runs inside a lab VM: its files, sshd, services."""
