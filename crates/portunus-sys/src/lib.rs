//! The only unsafe code: sockets, netlink descriptors, clocks, confinement, careful files.
