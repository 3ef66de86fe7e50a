"""First messages from many addresses, as fast as they go, until killed: strangers.py HOST FIRST-ADDRESS COUNT PER-SECOND [GROUP LENGTH]

The addresses need not be there: what comes back is of no interest.
"""

import ipaddress
import random
import socket
import sys
import time

from hostile import init_request

# Linux: send from an address that this host does not have.
IP_TRANSPARENT = 19


def main(host, first, count, rate, *value):
    dice, sockets = random.Random(1), []
    for number in range(count):
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        link.bind((str(ipaddress.IPv4Address(first) + number), 500))
        link.setblocking(False)
        sockets.append(link)
    print("ready", flush=True)
    sent, start = 0, time.monotonic()
    while True:
        try:
            sockets[sent % count].sendto(init_request(dice, *value), (host, 500))
        except OSError:
            time.sleep(0.001)
        sent += 1
        time.sleep(max(0, start + sent / rate - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), *(int(number) for number in sys.argv[5:]))
