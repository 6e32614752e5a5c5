#![no_main]

#[path = "../harness/config.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::files(data));
