#![no_main]

#[path = "../harness/native.rs"]
#[expect(dead_code, reason = "each target runs one function of its harness")]
mod native;

libfuzzer_sys::fuzz_target!(|data: &[u8]| native::said(data));
