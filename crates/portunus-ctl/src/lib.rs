//! Messages between the processes, and between the daemon and its tools.
