"""A client with a kernel of its own: User Mode Linux on the laboratory's file system and network, for kernel ESP and kernel PPP."""
