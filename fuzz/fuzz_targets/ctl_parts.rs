#![no_main]

#[path = "../harness/ctl.rs"]
#[expect(dead_code, reason = "each target runs one function of its harness")]
mod ctl;

libfuzzer_sys::fuzz_target!(|data: &[u8]| ctl::parts(data));
