"""A VPN laboratory in network namespaces: gateway, RADIUS server, LAN host, a NAT router, two strongSwan clients and an SSTP client.

`deploy/lab` is its command line; the interoperability tests and the benches use the modules directly.
Python's standard library only.
"""
