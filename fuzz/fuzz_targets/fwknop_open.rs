#![no_main]

#[path = "../harness/fwknop.rs"]
#[expect(dead_code, reason = "each target runs one function of its harness")]
mod fwknop;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fwknop::open(data));
