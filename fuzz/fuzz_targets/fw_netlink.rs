#![no_main]

#[path = "../harness/fw.rs"]
mod fw;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fw::netlink(data));
