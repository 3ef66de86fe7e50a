//! What a client asks for inside the tunnel: DHCPINFORM (RFC 2131), Router Solicitation (RFC 4861), DHCPv6 Information-Request
//! (RFC 8415). Packets in, packets out; no IO.
#![forbid(unsafe_code)]
