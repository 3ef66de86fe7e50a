"""Sets how many packets an outbound SA of the kernel believes to have sent: what iproute2 cannot (XFRM_MSG_NEWAE, linux/xfrm.h)."""

import ipaddress
import os
import socket
import struct

NETLINK_XFRM = 6
NLMSG_ERROR = 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE = 0x01, 0x04, 0x100
XFRM_MSG_NEWAE = 0x1E
XFRMA_REPLAY_ESN_VAL = 23


class Xfrm:
    """The kernel's table of SAs."""

    def set_sent(self, destination, spi, sent):
        """The next packet of the SA with ESN to `destination` has the sequence number `sent` + 1 (64 bits)."""
        address = ipaddress.ip_address(destination)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        target = address.packed.ljust(16, b"\0") + struct.pack("=4sHBx", spi.to_bytes(4, "big"), family, socket.IPPROTO_ESP)
        # No source, flags and reqid: the SA is found by the target. It has a window of one packet, though it receives none.
        event = target + bytes(16) + struct.pack("=II", 0, 0)
        replay = struct.pack("=IIIIIII", 1, sent & 0xFFFFFFFF, 0, sent >> 32, 0, 1, 0)
        event += struct.pack("=HH", 4 + len(replay), XFRMA_REPLAY_ESN_VAL) + replay
        flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM) as link:
            link.bind((0, 0))
            link.send(struct.pack("=IHHII", 16 + len(event), XFRM_MSG_NEWAE, flags, 1, 0) + event)
            answer = link.recv(4096)
        kind, error = struct.unpack_from("=4xH10xi", answer)
        if kind != NLMSG_ERROR or error:
            raise OSError(-error, f"the kernel refuses to set the sequence number of SA {spi:08x}: {os.strerror(-error)}")
