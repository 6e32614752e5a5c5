#![no_main]

#[path = "../harness/rx.rs"]
#[expect(dead_code, reason = "each target runs one function of its harness")]
mod rx;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rx::frame(data));
