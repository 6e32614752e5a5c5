#![no_main]

#[path = "../harness/config.rs"]
#[expect(dead_code, reason = "each target runs one function of its harness")]
mod config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::theirs(data));
