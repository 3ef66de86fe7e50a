//! Every system call: TUN, UDP with segmentation offload, raw ESP, routes and addresses.
